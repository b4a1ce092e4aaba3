"""The rounding budget: by how much may correct code in another precision differ?

Monte Carlo arithmetic (Parker 1997): the float64 function runs in replicates, along a leading axis, with every *operation*
perturbed at random by its own rounding in the target's dtype. The spread about the exact run says what correct code may differ by.
The noise lives in the array type, so the function does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
"""A budget is this many spreads; the largest error of correct code seen in calibration was 5.9."""


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
_HALF_WIDTH = {np.tanh: 4.0, expit: 4.0, np.exp: 2.0}


class Noisy(np.ndarray[Any, Any]):
    """An array on which every operation draws its rounding. The class holds the noise, so every view, slice and stack keeps it."""

    precision: ClassVar[Precision]
    rng: ClassVar[np.random.Generator]
    gate: bool
    """Whether this is a sigmoid's value or its complement."""

    def __array_finalize__(self, parent: Any) -> None:
        self.gate = getattr(parent, "gate", False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [i.view(np.ndarray) if isinstance(i, Noisy) else i for i in inputs]
        gates = [getattr(i, "gate", False) for i in inputs]
        value = getattr(ufunc, method)(*raw, **kwargs)
        if ufunc not in _EXACT and value.dtype.kind == "f":
            width = _half_width(self.precision, ufunc, method, value, raw, kwargs)
            if ufunc is np.multiply and sum(gates) == 1:
                # Whoever holds the complement writes z v as v - (1 - z) v: an absolute error of u |v|, anew at every use.
                width = width + self.precision.u * np.abs(raw[gates.index(False)])
            value = value + width * self.rng.uniform(-1, 1, value.shape)
        noisy = value.view(type(self))
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
        return u * _accumulated(a.shape[-1], (a * a) @ (b * b), value)
    if method == "reduce":
        (a,) = raw
        axis = kwargs.get("axis", 0)
        return u * _accumulated(a.shape[axis], (a * a).sum(axis, keepdims=kwargs.get("keepdims", False)), value)
    width = u * _HALF_WIDTH.get(ufunc, 1.0) * np.abs(value) + tiny
    # 1 - sigmoid(-a) and (1 + tanh(a / 2)) / 2 are correct too. Their error is absolute, and near 1 that of 1 / (1 + exp(-a)) is 1.5 u:
    # u for the sum, which lies above 1, and u / 2 for the quotient.
    return np.maximum(width, 2 * u) if ufunc is expit else width


def _accumulated(n: int, squares: Array, value: Array) -> Array:
    """√3 times the standard deviation of a sum of n products whose partial sums walk at random and drift towards the result."""
    if n == 1:
        return np.abs(value)
    width: Array = np.sqrt(n * (squares + value * value) / 3 + squares)
    return width


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
    kind = type("Noisy", (Noisy,), {"precision": model, "rng": np.random.default_rng(seed)})
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

    @property
    def tolerance(self) -> dict[str, Array]:
        """The largest error allowed, entry by entry."""
        tiny = PRECISIONS[self.dtype].tiny
        return {k: MULTIPLE * s + tiny for k, s in self.spread.items()}


def budget(fn: Function, inputs: Mapping[str, Array], held: Mapping[str, Array], dtype: str, *, seed: int = 0) -> Budget:
    """Measure the budget of `fn` for one case; see :func:`replicate` for the parameters."""
    with np.errstate(all="ignore"):
        exact = {k: np.asarray(v, float) for k, v in fn({**held, **inputs}).items()}
        noisy = replicate(fn, inputs, held, dtype, seed)
        spread = {k: np.sqrt(((noisy[k] - exact[k]) ** 2).mean(0)) for k in exact}
    return Budget(exact, spread, dtype)


def conclusive(exact: Array, tolerance: Array) -> bool:
    """Whether a block can be judged: its tolerance is less than half of its own size (both root mean square).

    A block that is exactly zero, as where a gate is shut, is judged by its absolute tolerance.
    """
    if not np.isfinite(tolerance).all() or not np.isfinite(exact).all():
        return False
    size = float(np.sqrt(np.mean(exact**2))) if exact.size else 0.0
    return size == 0 or float(np.sqrt(np.mean(tolerance**2))) <= size / 2
