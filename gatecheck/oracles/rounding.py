"""The rounding budget: by how much may correct code in another precision differ?

Monte Carlo arithmetic (Parker 1997): the float64 function runs in replicates, along a leading axis, with every *operation*
perturbed at random by its own rounding in the target's dtype. The spread about the exact run says what correct code may differ by.
The noise lives in the array type, so the function does not know.

Half of an error's variance is drawn anew at every operation, half is *systematic*: drawn once for each operation of a step and kept to the
next. Where a state creeps, as under an update gate of 1e-7, real rounding is the same at every step and grows with T, not with √T. It is
the same because what is rounded is the same, so an entry of a sum or product that has moved by more than an ulp since the step before gets
an error of its own. A step begins where an array is indexed by an integer, as ``x[t]`` is.
The systematic half of an approximated function is a function too, smooth in the argument: where two units or steps have nearly the same
argument they have the same error, and beyond the end of its range, where XLA's and ONNX Runtime's tanh are one number, all have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from gatecheck.errors import LostNoiseError, UsageError

Array = NDArray[Any]
Function = Callable[[dict[str, Array]], Mapping[str, Array]]

REPLICATES = 16
"""With 8 replicates correct code raised an alarm in millions of values, with 16 none."""

MULTIPLE = 8
"""A budget is this many spreads; the largest error of PyTorch in ten million values was 4.4, that of any correct spelling 6.0."""


class Precision(NamedTuple):
    """Unit roundoff, and the smallest normal number: the absolute error of an operation that underflows."""

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
"""How far apart the arguments of an approximated function may be whose errors are alike: a polynomial's change sign some ten times over
the range of sigmoid or tanh."""

_END: Mapping[np.ufunc, Callable[[float], float]] = {np.tanh: lambda u: math.atanh(1 - 4 * u), expit: lambda u: 2 * math.atanh(1 - 4 * u)}
"""Where tanh is 1, and sigmoid 0 or 1, to four roundoffs. Approximations stop there at some number; XLA's is off by 3, that of ONNX
Runtime's GRU by 8."""


class Noise:
    """The errors of one noisy run, uniform in ±1 but for the factor of two equal parts."""

    def __init__(self, precision: Precision, seed: int) -> None:
        self.precision = precision
        self._rng = np.random.default_rng(seed)
        self._systematic: list[Array] = []
        self._before: list[Array] = []
        self._position = 0
        self._of_argument = {
            function: self._rng.uniform(-1, 1, (REPLICATES, math.ceil(end(precision.u) / SMOOTH))) for function, end in _END.items()
        }

    def begin_step(self) -> None:
        """The next operation is the first of a step."""
        self._position = 0

    def draw(self, at: Array, near: Array | float) -> Array:
        """The relative size of the errors of one sum or product.

        Parameters
        ----------
        at, near
            Its values, and by how much each may move if its error is to stay what it was a step before.
        """
        k, shape = self._position, at.shape
        self._position += 1
        if k == len(self._systematic):
            self._systematic.append(self._rng.uniform(-1, 1, shape))
            self._before.append(at)
        elif self._systematic[k].shape != shape:
            self._systematic[k] = self._rng.uniform(-1, 1, shape)
        else:
            moved = ~(np.abs(at - self._before[k]) <= near)
            self._systematic[k] = np.where(moved, self._rng.uniform(-1, 1, shape), self._systematic[k])
        self._before[k] = at
        return self._with_fresh(self._systematic[k])

    def of_function(self, function: np.ufunc, at: Array) -> Array:
        """The relative size of the errors of an odd function (or one that is odd about ½) at its arguments ``(REPLICATES, ...)``."""
        errors = self._of_argument[function]
        interval = np.fmin(np.abs(at) / SMOOTH, errors.shape[1] - 1).astype(int)
        replicate = np.arange(REPLICATES).reshape(-1, *[1] * (at.ndim - 1))
        return self._with_fresh(errors[replicate, interval] * np.sign(at))

    def _with_fresh(self, systematic: Array) -> Array:
        both: Array = (systematic + self._rng.uniform(-1, 1, systematic.shape)) * math.sqrt(0.5)
        return both


class Noisy(np.ndarray[Any, Any]):
    """An array on which every operation draws its rounding. The class holds the noise, so every view, slice and stack keeps it."""

    noise: ClassVar[Noise]
    gate: bool
    """Whether this is a sigmoid's value or its complement."""
    terms: int
    """Of how many products it is the sum, where it is nothing else; or 0."""

    def __array_finalize__(self, parent: Any) -> None:
        self.gate = getattr(parent, "gate", False)
        self.terms = getattr(parent, "terms", 0)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            self.noise.begin_step()
        return super().__getitem__(index)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [i.view(np.ndarray) if isinstance(i, Noisy) else i for i in inputs]
        gates = [getattr(i, "gate", False) for i in inputs]
        terms = [getattr(i, "terms", 0) for i in inputs]
        value = getattr(ufunc, method)(*raw, **kwargs)
        one_sum = ufunc is np.add and method == "__call__" and all(terms)
        if ufunc not in _EXACT and value.dtype.kind == "f":
            width = _half_width(self.noise.precision, ufunc, method, value, raw, kwargs)
            if ufunc is np.multiply and sum(gates) == 1:
                # Whoever holds the complement writes z v as v - (1 - z) v: an absolute error of u |v|, anew at every use.
                width = width + self.noise.precision.u * np.abs(raw[gates.index(False)])
            if one_sum:
                width = np.maximum(width, self.noise.precision.u * _continued(terms, raw, value))
            noise = self.noise
            value = value + width * (noise.of_function(ufunc, raw[0]) if ufunc in _END else noise.draw(value, 2 * width))
        noisy = value.view(type(self))
        noisy.terms = raw[0].shape[-1] if ufunc is np.matmul else sum(terms) if one_sum else 0
        noisy.gate = ufunc is expit or (ufunc is np.subtract and gates[1] and np.ndim(raw[0]) == 0 and raw[0] == 1)
        return noisy

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        value = super().__array_function__(func, types, args, kwargs)
        # np.stack and its relatives forget the class, and with it the noise.
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def _half_width(precision: Precision, ufunc: np.ufunc, method: str, value: Array, raw: list[Any], kwargs: dict[str, Any]) -> Array:
    """The largest rounding error of one operation; the error is uniform within."""
    u, tiny = precision
    if ufunc is np.matmul:
        a, b = raw
        # Squares of less than 1e-154 would be lost.
        rows, columns = _largest(a, -1), _largest(b, -2)
        scale = rows * columns
        return u * scale * _accumulated(a.shape[-1], (a / rows) ** 2 @ (b / columns) ** 2, value / scale)
    if method == "reduce":
        (a,) = raw
        axis = kwargs.get("axis", 0)
        scale = _largest(a, axis)
        squares = ((a / scale) ** 2).sum(axis, keepdims=True)
        width = u * scale * _accumulated(a.shape[axis], squares, np.reshape(value, squares.shape) / scale)
        return np.reshape(width, value.shape)
    width = u * _HALF_WIDTH.get(ufunc, 1.0) * np.abs(value) + tiny
    # 1 - sigmoid(-a) and (1 + tanh(a / 2)) / 2 are correct too, so below ½ the error is absolute. Above it that of 1 / (1 + exp(-a)) is
    # 1.5 u, u for the sum, which lies above 1, and u / 2 for the quotient; ONNX Runtime's is 2.6 u.
    return np.full_like(value, 2 * u) if ufunc is expit else width


def _accumulated(n: int, squares: Array, value: Array) -> Array:
    """√3 times the standard deviation of a sum of n products whose partial sums walk at random and drift towards the result."""
    if n == 1:
        return np.abs(value)
    width: Array = np.sqrt(n * (squares + value * value) / 3 + squares)
    return width


def _continued(terms: list[int], parts: list[Array], value: Array) -> Array:
    """√3 times that of a sum of products that goes on from the value of another: [x, h] times [W; U] is x W + h U in one sum."""
    (n, m), (a, b) = terms, parts
    walks = np.maximum(m * (a * a + a * value + value * value), n * (b * b + b * value + value * value))
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
        raise UsageError(f"there is no rounding model for {dtype}; there are {', '.join(PRECISIONS)}")
    return PRECISIONS[dtype]


def replicate(fn: Function, inputs: Mapping[str, Array], held: Mapping[str, Array], dtype: str, seed: int) -> dict[str, Array]:
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
    noisy: dict[str, Array] = {k: np.broadcast_to(v, (REPLICATES, *v.shape)).view(kind) for k, v in inputs.items()}
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


def budget(fn: Function, inputs: Mapping[str, Array], held: Mapping[str, Array], dtype: str, *, seed: int = 0) -> Budget:
    """Measure the budget of `fn` for one case; see :func:`replicate` for the parameters."""
    with np.errstate(all="ignore"):
        exact = {k: np.asarray(v, float) for k, v in fn({**held, **inputs}).items()}
        noisy = replicate(fn, inputs, held, dtype, seed)
        spread = {k: _seen(dtype, rms(noisy[k] - exact[k], 0), exact[k]) for k in exact}
    return Budget(exact, spread, dtype)


def _seen(dtype: str, spread: Array, exact: Array) -> Array:
    """The spread, at least that of one rounding where the replicates' own arithmetic is no finer than the noise.

    In float64 a perturbation of half an ulp is mostly rounded away, and sixteen replicates of a short sum may all come out equal.
    """
    u = PRECISIONS[dtype].u
    if u > np.finfo(np.float64).eps / 2:
        return spread
    least: Array = np.maximum(spread, u * np.abs(exact) / math.sqrt(3))
    return least


def conclusive(exact: Array, tolerance: Array) -> bool:
    """Whether a block can be judged: its tolerance is less than half of its own size (both root mean square).

    A block that is exactly zero, as where a gate is shut, is judged by its absolute tolerance.
    """
    if not np.isfinite(tolerance).all() or not np.isfinite(exact).all():
        return False
    if not exact.size:
        return True
    size = float(rms(exact.ravel(), 0))
    return size == 0 or float(rms(tolerance.ravel(), 0)) <= size / 2
