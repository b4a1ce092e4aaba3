"""Rounding budgets: by how much may correct code in another precision differ?

Monte Carlo arithmetic (Parker 1997): the float64 function runs in replicates, along a leading axis,
with every *operation* perturbed at random by its rounding in the target's dtype. The spread about
the exact run bounds the error of correct code. The noise lives in the array type, so the function
needs no change.

Half of an error's variance is drawn at every operation, half is *systematic*: drawn once for each
operation of a step and repeated in the next. Where a state creeps, as under an update gate of 1e-7,
real rounding is the same at every step and grows with T, not with √T. It repeats because the same
numbers are rounded, so an entry of a sum or product that has moved by more than an ulp since the
last step gets a new error. A step begins where an array is indexed by an integer, as in ``x[t]``.
The systematic half of an approximated function is itself a smooth function of the argument: units
or steps with nearly the same argument have the same error, and so have all arguments beyond the end
of its range, where XLA's and ONNX Runtime's tanh are constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.errors import LostNoiseError, UsageError

Function = Callable[[dict[str, Array]], Mapping[str, Array]]

N_REPLICATES = 16
"""Number of replicates.

With 8 replicates correct code failed in millions of values, with 16 never.
"""

BUDGET_MULTIPLE = 8
"""Number of spreads in a budget.

The largest error of PyTorch in ten million values was 4.4 spreads, that of any correct formulation
6.0.
"""


class Precision(NamedTuple):
    """Unit roundoff ``u`` and smallest normal number ``tiny`` of a dtype.

    ``tiny`` is the absolute error of an operation that underflows.
    """

    u: float
    tiny: float


PRECISIONS = {
    "float32": Precision(2.0**-24, 2.0**-126),
    "float64": Precision(2.0**-53, 2.0**-1022),
}

_EXACT_UFUNCS = {
    np.negative,
    np.absolute,
    np.maximum,
    np.minimum,
    np.greater,
    np.less,
    np.isfinite,
    np.conjugate,
    np.positive,
    np.sign,
}
# In units of u times the result; every other operation is correctly rounded: 1 unit, half an ulp.
_HALF_WIDTHS: Mapping[np.ufunc, float] = {np.tanh: 4.0, np.exp: 2.0}


CORRELATION_WIDTH = 0.125
"""Width of argument intervals with similar errors of an approximated function.

The error of a polynomial changes sign some ten times over the range of sigmoid or tanh.
"""

_SATURATION: Mapping[np.ufunc, Callable[[float], float]] = {
    np.tanh: lambda u: math.atanh(1 - 4 * u),
    expit: lambda u: 2 * math.atanh(1 - 4 * u),
}
"""Arguments at which tanh is 1, and sigmoid 0 or 1, to four roundoffs.

Approximations are constant beyond them; XLA's constant is off by 3 roundoffs, that of ONNX
Runtime's GRU by 8.
"""


SQUARES_LIMIT = 1e-280
"""Bound below which, and above whose inverse, sums of squares need scaling."""

BLOCK_SIZE = 2**16
"""Number of random numbers drawn at a time."""


@lru_cache(maxsize=32)
def _draw_block(seed: int, block: int) -> Array:
    """Return random numbers of a seed, uniform in ±√½.

    They are the same in every run, so the first ones are drawn once a process.
    """
    return np.random.default_rng((seed, block)).uniform(-math.sqrt(0.5), math.sqrt(0.5), BLOCK_SIZE)


class Noise:
    """Relative errors of one noisy run, each the sum of two parts uniform in ±√½."""

    def __init__(self, precision: Precision, seed: int) -> None:
        self.precision = precision
        self._seed, self._block, self._used = seed, 0, 0
        self._systematic: list[Array] = []
        self._before: list[Array] = []
        self._position = 0
        self._of_argument = {
            function: self._random_numbers(
                N_REPLICATES, math.ceil(end(precision.u) / CORRELATION_WIDTH)
            )
            for function, end in _SATURATION.items()
        }

    def begin_step(self) -> None:
        """Mark the next operation as the first of a step."""
        self._position = 0

    def draw_errors(self, values: Array, max_change: Array | float) -> Array:
        """Draw the relative errors of one sum or product.

        Parameters
        ----------
        values, max_change
            The values, and by how much each may have moved since the last step for its systematic
            error to repeat.
        """
        k, shape = self._position, values.shape
        self._position += 1
        systematic, independent = self._random_numbers(2, *shape)
        if k == len(self._systematic):
            self._systematic.append(systematic)
            self._before.append(values)
        else:
            if self._systematic[k].shape == shape:
                moved = values - self._before[k]
                systematic = np.where(
                    np.abs(moved, out=moved) <= max_change, self._systematic[k], systematic
                )
            self._systematic[k], self._before[k] = systematic, values
        both: Array = systematic + independent
        return both

    def draw_function_errors(self, function: np.ufunc, arguments: Array) -> Array:
        """Draw the relative errors of an odd function at arguments ``(REPLICATES, ...)``.

        A function odd about ½ is treated alike.
        """
        errors = self._of_argument[function]
        interval = np.fmin(np.abs(arguments) / CORRELATION_WIDTH, errors.shape[1] - 1).astype(int)
        replicate = np.arange(N_REPLICATES).reshape(-1, *[1] * (arguments.ndim - 1))
        both: Array = errors[replicate, interval] * np.sign(arguments) + self._random_numbers(
            *arguments.shape
        )
        return both

    def _random_numbers(self, *shape: int) -> Array:
        """Return random numbers that were not used before."""
        size = math.prod(shape)
        start, self._used = self._used, self._used + size
        if self._used <= BLOCK_SIZE:
            numbers = _draw_block(self._seed, self._block)[start : self._used]
        else:
            blocks = -(-size // BLOCK_SIZE)
            drawn = [_draw_block(self._seed, self._block + 1 + i) for i in range(blocks)]
            numbers = (drawn[0] if blocks == 1 else np.concatenate(drawn))[:size]
            self._block, self._used = self._block + blocks, size - (blocks - 1) * BLOCK_SIZE
        return numbers.reshape(shape)


class NoisyArray(np.ndarray[Any, Any]):
    """Array whose every operation draws its rounding.

    The class holds the noise, so every view, slice and stack keeps it.
    """

    noise: ClassVar[Noise]
    is_gate = False
    """True if this is the value of a sigmoid or its complement."""
    n_terms = 0
    """Number of products that it is the sum of; 0 if it is anything else."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            self.noise.begin_step()
        return super().__getitem__(index)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [i.view(np.ndarray) if isinstance(i, NoisyArray) else i for i in inputs]
        value = (
            _matmul(*raw)
            if ufunc is np.matmul and not kwargs
            else getattr(ufunc, method)(*raw, **kwargs)
        )
        terms = (
            [getattr(i, "n_terms", 0) for i in inputs]
            if ufunc is np.add and method == "__call__"
            else [0]
        )
        if ufunc not in _EXACT_UFUNCS and value.dtype.kind == "f":
            noise = self.noise
            width = _half_width(noise.precision, ufunc, method, value, raw, kwargs)
            if ufunc in _SATURATION:
                error = noise.draw_function_errors(ufunc, raw[0])
            else:
                if (
                    ufunc is np.multiply
                    and len(gates := [i for i in (0, 1) if getattr(inputs[i], "gate", False)]) == 1
                ):
                    # Code that stores the complement computes z v as v - (1 - z) v: an absolute
                    # error of u |v| at every use.
                    width = width + noise.precision.u * np.abs(raw[1 - gates[0]])
                elif all(terms):
                    width = np.maximum(
                        width, noise.precision.u * _continued_sum_width(terms, raw, value)
                    )
                error = noise.draw_errors(value, width + width)
            error *= width
            error += value
            value = error
        noisy = value.view(type(self))
        if ufunc is np.matmul:
            noisy.n_terms = raw[0].shape[-1]
        elif all(terms):
            noisy.n_terms = sum(terms)
        elif ufunc is expit or (
            ufunc is np.subtract
            and getattr(inputs[1], "gate", False)
            and np.ndim(raw[0]) == 0
            and raw[0] == 1
        ):
            noisy.is_gate = True
        return noisy

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        value = super().__array_function__(func, types, args, kwargs)
        # np.stack and similar functions drop the class, and with it the noise.
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def _half_width(
    precision: Precision,
    ufunc: np.ufunc,
    method: str,
    value: Array,
    raw: list[Any],
    kwargs: dict[str, Any],
) -> Array:
    """Return the half-width of one operation's rounding error, which is uniform."""
    u, tiny = precision
    if ufunc is np.matmul:
        a, b = raw
        return _matmul_half_width(precision, a, b, value)
    if method == "reduce":
        (a,) = raw
        axis = kwargs.get("axis", 0)
        scale = _scale_along(a, axis)
        squares = ((a / scale) ** 2).sum(axis, keepdims=True)
        width = (
            u * scale * _sum_width(a.shape[axis], squares, np.reshape(value, squares.shape) / scale)
        )
        return np.reshape(width, value.shape)
    if ufunc is expit:
        # 1 - sigmoid(-a) and (1 + tanh(a / 2)) / 2 are correct too, so below ½ the error is
        # absolute. Above ½ the error of 1 / (1 + exp(-a)) is 1.5 u: u for the sum, which is above
        # 1, and u / 2 for the quotient; ONNX Runtime's is 2.6 u.
        return np.full_like(value, 2 * u)
    width = np.abs(value)
    width *= u * _HALF_WIDTHS.get(ufunc, 1.0)
    width += tiny
    return width


def _matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``, in one product where all replicates share b.

    Starting a small product takes as long as computing it.
    """
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        flat: Array = np.matmul(a.reshape(-1, a.shape[-1]), b)
        return flat.reshape(*a.shape[:-1], b.shape[-1])
    product: Array = np.matmul(a, b)
    return product


def _matmul_half_width(precision: Precision, a: Array, b: Array, value: Array) -> Array:
    """Return the half-width of the error of a matrix product."""
    n, u = a.shape[-1], precision.u
    squares = _matmul(a * a, b * b)
    # Squares of products of normal numbers in single precision are normal in double precision.
    # Those of double precision itself may underflow or overflow.
    if precision.tiny**4 > 0 or (
        squares.min(initial=1) > SQUARES_LIMIT and squares.max(initial=1) < 1 / SQUARES_LIMIT
    ):
        return u * _sum_width(n, squares, value)
    rows, columns = _scale_along(a, -1), _scale_along(b, -2)
    scale = rows * columns
    width: Array = u * scale * _sum_width(n, (a / rows) ** 2 @ (b / columns) ** 2, value / scale)
    return width


def _sum_width(n: int, squares: Array, value: Array) -> Array:
    """Return √3 times the standard deviation of a sum of n products.

    Its partial sums are a random walk that drifts towards the result.
    """
    if n == 1:
        return np.abs(value)
    width: Array = value * value
    width *= n / 3
    width += squares * (n / 3 + 1)
    return np.sqrt(width, out=width)


def _continued_sum_width(terms: list[int], parts: list[Array], value: Array) -> Array:
    """Return √3 times the standard deviation of a sum that continues another.

    [x, h] times [W; U] is x W + h U in one sum.
    """
    (n, m), (a, b) = terms, parts
    walks = np.maximum(
        m * (a * a + a * value + value * value), n * (b * b + b * value + value * value)
    )
    width: Array = np.sqrt(walks / 3 + value * value)
    return width


def _scale_along(a: Array, axis: int) -> Array:
    size: Array = np.abs(a).max(axis, keepdims=True, initial=0)
    return np.where((size > 0) & np.isfinite(size), size, 1.0)


def rms(a: Array, axis: int) -> Array:
    """Return the root mean square along an axis, without underflow of the squares."""
    scale = _scale_along(a, axis)
    size: Array = scale * np.sqrt(np.mean((a / scale) ** 2, axis=axis, keepdims=True))
    return np.squeeze(size, axis)


def dtype_precision(dtype: str) -> Precision:
    """Return the precision of a calibrated dtype.

    Raises
    ------
    UsageError
        If the dtype is not calibrated.
    """
    if dtype not in PRECISIONS:
        raise UsageError(
            f"there is no rounding model for {dtype}; there are {', '.join(PRECISIONS)}"
        )
    return PRECISIONS[dtype]


def run_replicates(
    fn: Function, inputs: Mapping[str, Array], shared: Mapping[str, Array], dtype: str, seed: int
) -> dict[str, Array]:
    """Run `fn` in :data:`N_REPLICATES` noisy replicates along a leading axis.

    Parameters
    ----------
    fn
        A function of a dict of arrays that broadcasts over leading axes.
    inputs
        float64 arrays that get the leading axis; replicates are equal until the first operation.
    shared
        float64 arrays that every replicate shares.
    dtype
        The dtype whose rounding is drawn.
    seed
        Seed of the noise.

    Raises
    ------
    LostNoiseError
        If a result has lost its noise.
    """
    model = dtype_precision(dtype)
    kind = type("Noisy", (NoisyArray,), {"noise": Noise(model, seed)})
    noisy: dict[str, Array] = {
        k: np.broadcast_to(v, (N_REPLICATES, *v.shape)).view(kind) for k, v in inputs.items()
    }
    out: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for name, value in fn({**shared, **noisy}).items():
            if not isinstance(value, kind):
                raise LostNoiseError(f"{name} is a {type(value).__name__} without rounding noise")
            out[name] = value.view(np.ndarray)
    return out


@dataclass(frozen=True)
class Budget:
    """Rounding budget of one case in one dtype.

    Attributes
    ----------
    exact
        The float64 results by name.
    spread
        Root mean square of the noisy replicates about them, of the same shapes.
    dtype
        The dtype of the code that is judged.
    """

    exact: Mapping[str, Array]
    spread: Mapping[str, Array]
    dtype: str

    @cached_property
    def tolerance(self) -> dict[str, Array]:
        """Largest error allowed, entry by entry."""
        tiny = PRECISIONS[self.dtype].tiny
        return {k: BUDGET_MULTIPLE * s + tiny for k, s in self.spread.items()}


def measure_budget(
    fn: Function,
    inputs: Mapping[str, Array],
    shared: Mapping[str, Array],
    dtype: str,
    *,
    seed: int = 0,
) -> Budget:
    """Measure the budget of `fn` for one case, from :func:`run_replicates`."""
    with np.errstate(all="ignore"):
        exact = {k: np.asarray(v, float) for k, v in fn({**shared, **inputs}).items()}
        noisy = run_replicates(fn, inputs, shared, dtype, seed)
        spread = {k: _floored_spread(dtype, rms(noisy[k] - exact[k], 0), exact[k]) for k in exact}
    return Budget(exact, spread, dtype)


def _floored_spread(dtype: str, spread: Array, exact: Array) -> Array:
    """Return the spread, in float64 at least that of one rounding.

    The replicates' own arithmetic is no finer than that noise: a perturbation of half an ulp is
    mostly rounded away, and sixteen replicates of a short sum may all be equal.
    """
    u = PRECISIONS[dtype].u
    if u > np.finfo(np.float64).eps / 2:
        return spread
    least: Array = np.maximum(spread, u * np.abs(exact) / math.sqrt(3))
    return least


def is_conclusive(exact: Array, tolerance: Array) -> NDArray[np.bool_]:
    """Mark blocks that can be judged: their tolerance is at most half of their size.

    Both are root mean squares. An exactly zero block, as under a closed gate, is judged by its
    absolute tolerance.

    Parameters
    ----------
    exact, tolerance
        One row a block, ``(blocks, entries)``, with at least one entry.
    """
    size, allowed = (np.einsum("ij,ij->i", a, a) for a in (exact, tolerance))
    if (
        size.min() > SQUARES_LIMIT
        and allowed.min() > SQUARES_LIMIT
        and max(size.max(), allowed.max()) < 1 / SQUARES_LIMIT
    ):
        judged: NDArray[np.bool_] = allowed <= size / 4
        return judged
    with np.errstate(invalid="ignore"):
        size, allowed = rms(exact, 1), rms(tolerance, 1)
    finite = np.isfinite(exact).all(1) & np.isfinite(tolerance).all(1)
    mask: NDArray[np.bool_] = finite & ((size == 0) | (allowed <= size / 2))
    return mask
