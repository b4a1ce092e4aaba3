"""The rounding budget: by how much may correct code in another precision differ?

Monte Carlo arithmetic (Parker 1997): the float64 function runs in replicates, along a leading axis,
with every *operation* perturbed at random by its own rounding in the target's dtype. The spread
about the exact run says what correct code may differ by. The noise lives in the array type, so the
function does not know.

Half of an error's variance is drawn anew at every operation, half is *systematic*: drawn once for
each operation of a step and kept to the next. Where a state creeps, as under an update gate of
1e-7, real rounding is the same at every step and grows with T, not with √T. It is the same because
what is rounded is the same, so an entry of a sum or product that has moved by more than an ulp
since the step before gets an error of its own. A step begins where an array is indexed by an
integer, as ``x[t]`` is. The systematic half of an approximated function is a function too, smooth
in the argument: where two units or steps have nearly the same argument they have the same error,
and beyond the end of its range, where XLA's and ONNX Runtime's tanh are one number, all have.
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

REPLICATES = 16
"""With 8 replicates correct code raised an alarm in millions of values, with 16 none."""

MULTIPLE = 8
"""A budget is this many spreads; the largest error of PyTorch in ten million values was 4.4, that
of any correct spelling 6.0.
"""


class Precision(NamedTuple):
    """Unit roundoff, and the smallest normal number: the absolute error of an operation that
    underflows.
    """

    u: float
    tiny: float


PRECISIONS = {
    "float32": Precision(2.0**-24, 2.0**-126),
    "float64": Precision(2.0**-53, 2.0**-1022),
}

_EXACT = {
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
# In units of u times the result; every other operation is correctly rounded, half an ulp.
_HALF_WIDTH: Mapping[np.ufunc, float] = {np.tanh: 4.0, np.exp: 2.0}


SMOOTH = 0.125
"""How far apart the arguments of an approximated function may be whose errors are alike: a
polynomial's change sign some ten times over the range of sigmoid or tanh."""

_END: Mapping[np.ufunc, Callable[[float], float]] = {
    np.tanh: lambda u: math.atanh(1 - 4 * u),
    expit: lambda u: 2 * math.atanh(1 - 4 * u),
}
"""Where tanh is 1, and sigmoid 0 or 1, to four roundoffs. Approximations stop there at some number;
XLA's is off by 3, that of ONNX Runtime's GRU by 8."""


SMALLEST = 1e-280
"""Sums of squares beyond this, or its inverse, are had from numbers that were scaled before."""

BLOCK = 2**16
"""How many random numbers are drawn at a time."""


@lru_cache(maxsize=32)
def _drawn(seed: int, block: int) -> Array:
    """Random numbers of a seed, uniform in ±√½; the same in every run, so the first ones are drawn
    once a process.
    """
    return np.random.default_rng((seed, block)).uniform(-math.sqrt(0.5), math.sqrt(0.5), BLOCK)


class Noise:
    """The errors of one noisy run, uniform in ±1 but for the factor of two equal parts."""

    def __init__(self, precision: Precision, seed: int) -> None:
        self.precision = precision
        self._seed, self._block, self._used = seed, 0, 0
        self._systematic: list[Array] = []
        self._before: list[Array] = []
        self._position = 0
        self._of_argument = {
            function: self._some(REPLICATES, math.ceil(end(precision.u) / SMOOTH))
            for function, end in _END.items()
        }

    def begin_step(self) -> None:
        """The next operation is the first of a step."""
        self._position = 0

    def draw(self, at: Array, near: Array | float) -> Array:
        """The relative size of the errors of one sum or product.

        Parameters
        ----------
        at, near
            Its values, and by how much each may move if its error is to stay what it was a step
            before.
        """
        k, shape = self._position, at.shape
        self._position += 1
        systematic, anew = self._some(2, *shape)
        if k == len(self._systematic):
            self._systematic.append(systematic)
            self._before.append(at)
        else:
            if self._systematic[k].shape == shape:
                moved = at - self._before[k]
                systematic = np.where(
                    np.abs(moved, out=moved) <= near, self._systematic[k], systematic
                )
            self._systematic[k], self._before[k] = systematic, at
        both: Array = systematic + anew
        return both

    def of_function(self, function: np.ufunc, at: Array) -> Array:
        """The relative size of the errors of an odd function (or one that is odd about ½) at its
        arguments ``(REPLICATES, ...)``.
        """
        errors = self._of_argument[function]
        interval = np.fmin(np.abs(at) / SMOOTH, errors.shape[1] - 1).astype(int)
        replicate = np.arange(REPLICATES).reshape(-1, *[1] * (at.ndim - 1))
        both: Array = errors[replicate, interval] * np.sign(at) + self._some(*at.shape)
        return both

    def _some(self, *shape: int) -> Array:
        """Random numbers that were not used before."""
        size = math.prod(shape)
        start, self._used = self._used, self._used + size
        if self._used <= BLOCK:
            found = _drawn(self._seed, self._block)[start : self._used]
        else:
            blocks = -(-size // BLOCK)
            whole = [_drawn(self._seed, self._block + 1 + i) for i in range(blocks)]
            found = (whole[0] if blocks == 1 else np.concatenate(whole))[:size]
            self._block, self._used = self._block + blocks, size - (blocks - 1) * BLOCK
        return found.reshape(shape)


class Noisy(np.ndarray[Any, Any]):
    """An array on which every operation draws its rounding. The class holds the noise, so every
    view, slice and stack keeps it.
    """

    noise: ClassVar[Noise]
    gate = False
    """Whether this is a sigmoid's value or its complement."""
    terms = 0
    """Of how many products it is the sum, where it is nothing else; or 0."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            self.noise.begin_step()
        return super().__getitem__(index)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [i.view(np.ndarray) if isinstance(i, Noisy) else i for i in inputs]
        value = (
            _product(*raw)
            if ufunc is np.matmul and not kwargs
            else getattr(ufunc, method)(*raw, **kwargs)
        )
        terms = (
            [getattr(i, "terms", 0) for i in inputs]
            if ufunc is np.add and method == "__call__"
            else [0]
        )
        if ufunc not in _EXACT and value.dtype.kind == "f":
            noise = self.noise
            width = _half_width(noise.precision, ufunc, method, value, raw, kwargs)
            if ufunc in _END:
                error = noise.of_function(ufunc, raw[0])
            else:
                if (
                    ufunc is np.multiply
                    and len(gates := [i for i in (0, 1) if getattr(inputs[i], "gate", False)]) == 1
                ):
                    # Whoever holds the complement writes z v as v - (1 - z) v: an absolute error of
                    # u |v|, anew at every use.
                    width = width + noise.precision.u * np.abs(raw[1 - gates[0]])
                elif all(terms):
                    width = np.maximum(width, noise.precision.u * _continued(terms, raw, value))
                error = noise.draw(value, width + width)
            error *= width
            error += value
            value = error
        noisy = value.view(type(self))
        if ufunc is np.matmul:
            noisy.terms = raw[0].shape[-1]
        elif all(terms):
            noisy.terms = sum(terms)
        elif ufunc is expit or (
            ufunc is np.subtract
            and getattr(inputs[1], "gate", False)
            and np.ndim(raw[0]) == 0
            and raw[0] == 1
        ):
            noisy.gate = True
        return noisy

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        value = super().__array_function__(func, types, args, kwargs)
        # np.stack and its relatives forget the class, and with it the noise.
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def _half_width(
    precision: Precision,
    ufunc: np.ufunc,
    method: str,
    value: Array,
    raw: list[Any],
    kwargs: dict[str, Any],
) -> Array:
    """The largest rounding error of one operation; the error is uniform within."""
    u, tiny = precision
    if ufunc is np.matmul:
        a, b = raw
        return _of_products(precision, a, b, value)
    if method == "reduce":
        (a,) = raw
        axis = kwargs.get("axis", 0)
        scale = _largest(a, axis)
        squares = ((a / scale) ** 2).sum(axis, keepdims=True)
        width = (
            u
            * scale
            * _accumulated(a.shape[axis], squares, np.reshape(value, squares.shape) / scale)
        )
        return np.reshape(width, value.shape)
    if ufunc is expit:
        # 1 - sigmoid(-a) and (1 + tanh(a / 2)) / 2 are correct too, so below ½ the error is
        # absolute. Above it that of 1 / (1 + exp(-a)) is 1.5 u, u for the sum, which lies above 1,
        # and u / 2 for the quotient; ONNX Runtime's is 2.6 u.
        return np.full_like(value, 2 * u)
    width = np.abs(value)
    width *= u * _HALF_WIDTH.get(ufunc, 1.0)
    width += tiny
    return width


def _product(a: Array, b: Array) -> Array:
    """``a @ b``, in one product where all replicates share b: small ones take as long to begin as
    to compute.
    """
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        flat: Array = np.matmul(a.reshape(-1, a.shape[-1]), b)
        return flat.reshape(*a.shape[:-1], b.shape[-1])
    product: Array = np.matmul(a, b)
    return product


def _of_products(precision: Precision, a: Array, b: Array, value: Array) -> Array:
    """The half-width of a product of matrices."""
    n, u = a.shape[-1], precision.u
    squares = _product(a * a, b * b)
    # The squares of products of normal numbers in single precision are normal in double. In double
    # itself they may be lost.
    if precision.tiny**4 > 0 or (
        squares.min(initial=1) > SMALLEST and squares.max(initial=1) < 1 / SMALLEST
    ):
        return u * _accumulated(n, squares, value)
    rows, columns = _largest(a, -1), _largest(b, -2)
    scale = rows * columns
    width: Array = u * scale * _accumulated(n, (a / rows) ** 2 @ (b / columns) ** 2, value / scale)
    return width


def _accumulated(n: int, squares: Array, value: Array) -> Array:
    """√3 times the standard deviation of a sum of n products whose partial sums walk at random and
    drift towards the result.
    """
    if n == 1:
        return np.abs(value)
    width: Array = value * value
    width *= n / 3
    width += squares * (n / 3 + 1)
    return np.sqrt(width, out=width)


def _continued(terms: list[int], parts: list[Array], value: Array) -> Array:
    """√3 times that of a sum of products that goes on from the value of another: [x, h] times [W;
    U] is x W + h U in one sum.
    """
    (n, m), (a, b) = terms, parts
    walks = np.maximum(
        m * (a * a + a * value + value * value), n * (b * b + b * value + value * value)
    )
    width: Array = np.sqrt(walks / 3 + value * value)
    return width


def _largest(a: Array, axis: int) -> Array:
    size: Array = np.abs(a).max(axis, keepdims=True, initial=0)
    return np.where((size > 0) & np.isfinite(size), size, 1.0)


def rms(a: Array, axis: int) -> Array:
    """The root mean square along an axis, without underflow of the squares."""
    scale = _largest(a, axis)
    size: Array = scale * np.sqrt(np.mean((a / scale) ** 2, axis=axis, keepdims=True))
    return np.squeeze(size, axis)


def precision(dtype: str) -> Precision:
    """The precision of a dtype that has been calibrated.

    Raises
    ------
    UsageError
        If there is no calibration for it.
    """
    if dtype not in PRECISIONS:
        raise UsageError(
            f"there is no rounding model for {dtype}; there are {', '.join(PRECISIONS)}"
        )
    return PRECISIONS[dtype]


def replicate(
    fn: Function, inputs: Mapping[str, Array], held: Mapping[str, Array], dtype: str, seed: int
) -> dict[str, Array]:
    """`fn` in :data:`REPLICATES` noisy replicates along a leading axis.

    Parameters
    ----------
    fn
        A function of a dict of arrays that broadcasts over leading axes.
    inputs
        float64 arrays that get the leading axis; they start equal and part at the first operation.
    held
        float64 arrays that every replicate shares.
    dtype
        Whose rounding to draw.
    seed
        Of the noise.

    Raises
    ------
    LostNoiseError
        If a result came back without noise.
    """
    model = precision(dtype)
    kind = type("Noisy", (Noisy,), {"noise": Noise(model, seed)})
    noisy: dict[str, Array] = {
        k: np.broadcast_to(v, (REPLICATES, *v.shape)).view(kind) for k, v in inputs.items()
    }
    out: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for name, value in fn({**held, **noisy}).items():
            if not isinstance(value, kind):
                raise LostNoiseError(f"{name} is a {type(value).__name__} without rounding noise")
            out[name] = value.view(np.ndarray)
    return out


@dataclass(frozen=True)
class Budget:
    """What correct code in one dtype may return for one case.

    Attributes
    ----------
    exact
        The float64 results by name.
    spread
        Root mean square of the noisy replicates about them, of the same shapes.
    dtype
        The dtype it is for.
    """

    exact: Mapping[str, Array]
    spread: Mapping[str, Array]
    dtype: str

    @cached_property
    def tolerance(self) -> dict[str, Array]:
        """The largest error allowed, entry by entry."""
        tiny = PRECISIONS[self.dtype].tiny
        return {k: MULTIPLE * s + tiny for k, s in self.spread.items()}


def budget(
    fn: Function,
    inputs: Mapping[str, Array],
    held: Mapping[str, Array],
    dtype: str,
    *,
    seed: int = 0,
) -> Budget:
    """Measure the budget of `fn` for one case; see :func:`replicate` for the parameters."""
    with np.errstate(all="ignore"):
        exact = {k: np.asarray(v, float) for k, v in fn({**held, **inputs}).items()}
        noisy = replicate(fn, inputs, held, dtype, seed)
        spread = {k: _seen(dtype, rms(noisy[k] - exact[k], 0), exact[k]) for k in exact}
    return Budget(exact, spread, dtype)


def _seen(dtype: str, spread: Array, exact: Array) -> Array:
    """The spread, at least that of one rounding where the replicates' own arithmetic is no finer
    than the noise.

    In float64 a perturbation of half an ulp is mostly rounded away, and sixteen replicates of a
    short sum may all come out equal.
    """
    u = PRECISIONS[dtype].u
    if u > np.finfo(np.float64).eps / 2:
        return spread
    least: Array = np.maximum(spread, u * np.abs(exact) / math.sqrt(3))
    return least


def conclusive(exact: Array, tolerance: Array) -> NDArray[np.bool_]:
    """Whether blocks can be judged: their tolerance is less than half of their own size (both root
    mean square).

    A block that is exactly zero, as where a gate is shut, is judged by its absolute tolerance.

    Parameters
    ----------
    exact, tolerance
        One row a block ``(blocks, entries)``, of one entry at least.
    """
    size, allowed = (np.einsum("ij,ij->i", a, a) for a in (exact, tolerance))
    if (
        size.min() > SMALLEST
        and allowed.min() > SMALLEST
        and max(size.max(), allowed.max()) < 1 / SMALLEST
    ):
        judged: NDArray[np.bool_] = allowed <= size / 4
        return judged
    with np.errstate(invalid="ignore"):
        size, allowed = rms(exact, 1), rms(tolerance, 1)
    finite = np.isfinite(exact).all(1) & np.isfinite(tolerance).all(1)
    found: NDArray[np.bool_] = finite & ((size == 0) | (allowed <= size / 2))
    return found
