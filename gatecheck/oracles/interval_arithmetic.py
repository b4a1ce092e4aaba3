"""Every value that a formula takes on a box: interval arithmetic whose ends are computed by ball
arithmetic and rounded outwards.

An interval that is computed from intervals holds whatever is computed from numbers in them (Moore
1966), so a bound that it keeps is proven for all of them at once. What a formula loses is
correlation: ``z - z`` is wider than zero. Ends may be infinite: the box is then that of all real
numbers. A monotone function is taken at the two ends, which loses nothing.

The working precision is that of :data:`gatecheck.oracles.ball_arithmetic.ctx`; more of it tells apart from 1
what is nearer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.oracles.ball_arithmetic import arb, objects


class Interval:
    """All numbers between two ends, which are exact; an infinite end is not among them.

    Parameters
    ----------
    low, high
        The ends: floats, which are taken as they are, or balls, of which the outer end counts.
    """

    __slots__ = ("high", "low")

    def __init__(self, low: Any, high: Any) -> None:
        self.low = arb(low).lower()
        self.high = arb(high).upper()

    def __add__(self, other: Any) -> Interval:
        b = as_interval(other)
        return Interval(self.low + b.low, self.high + b.high)

    __radd__ = __add__

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __sub__(self, other: Any) -> Interval:
        return self + -as_interval(other)

    def __rsub__(self, other: Any) -> Interval:
        return -self + as_interval(other)

    def __mul__(self, other: Any) -> Interval:
        b = as_interval(other)
        return _around(_product(p, q) for p in (self.low, self.high) for q in (b.low, b.high))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        b = as_interval(other)
        if not (b.low > 0 or b.high < 0):
            raise ZeroDivisionError(f"{b} may be zero")
        return self * _around((1 / b.low, 1 / b.high))

    def __rtruediv__(self, other: Any) -> Interval:
        return as_interval(other) / self

    def __pow__(self, power: int) -> Interval:
        if power != 2:
            raise TypeError(f"of an interval there are squares, but no power {power}")
        size = abs(self)
        return Interval(size.low**2, size.high**2)

    def __abs__(self) -> Interval:
        return self.maximum(-self).maximum(0.0)

    def __bool__(self) -> bool:
        raise TypeError("whether an interval is zero is not one question")

    def __repr__(self) -> str:
        return f"[{_shown(self.low)}, {_shown(self.high)}]"

    def tanh(self) -> Interval:
        """The hyperbolic tangent, which rises; NumPy's tanh calls it in an array of objects."""
        return Interval(self.low.tanh(), self.high.tanh())

    def sigmoid(self) -> Interval:
        """The logistic function, which rises."""
        return Interval(_sigmoid(self.low), _sigmoid(self.high))

    def maximum(self, other: Any) -> Interval:
        """The larger of two numbers."""
        b = as_interval(other)
        return Interval(self.low.max(b.low), self.high.max(b.high))

    def minimum(self, other: Any) -> Interval:
        """The smaller of two numbers."""
        b = as_interval(other)
        return Interval(self.low.min(b.low), self.high.min(b.high))

    def within(self, low: Any, high: Any, *, strict: bool) -> bool:
        """Whether all of it lies between two bounds, numbers or intervals; strictly, if that is
        asked.
        """
        a, b = as_interval(low), as_interval(high)
        return (
            bool(self.low > a.high and self.high < b.low)
            if strict
            else bool(self.low >= a.high and self.high <= b.low)
        )

    def beyond(self, low: Any, high: Any, *, strict: bool) -> bool:
        """Whether none of it lies between two bounds, which refutes that a number in it does."""
        a, b = as_interval(low), as_interval(high)
        return (
            bool(self.high <= a.low or self.low >= b.high)
            if strict
            else bool(self.high < a.low or self.low > b.high)
        )


def as_interval(number: Any) -> Interval:
    """A number as an interval of itself alone, unless it is one."""
    if isinstance(number, Interval):
        return number
    value = number.item() if isinstance(number, np.generic) else number
    return Interval(value, value)


def _around(values: Iterable[Any]) -> Interval:
    first, *rest = values
    low = high = first
    for v in rest:
        low, high = low.min(v), high.max(v)
    return Interval(low, high)


def _product(a: Any, b: Any) -> Any:
    # An infinite end stands for numbers without bound, none of which is infinite: times zero they
    # are zero.
    return arb(0) if a == 0 or b == 0 else a * b


def _sigmoid(a: Any) -> Any:
    e = (-abs(a)).exp()
    return e / (1 + e) if a < 0 else 1 / (1 + e)


def _shown(end: Any) -> str:
    return f"{float(end):.9g}"


_ELEMENTWISE: dict[Any, Callable[..., Any]] = {
    expit: np.frompyfunc(Interval.sigmoid, 1, 1),
    np.maximum: np.frompyfunc(lambda a, b: as_interval(a).maximum(b), 2, 1),
    np.minimum: np.frompyfunc(lambda a, b: as_interval(a).minimum(b), 2, 1),
}


class Ranges(np.ndarray[Any, Any]):
    """An array of intervals on which NumPy's functions do what they do to numbers, so that
    equations written for arrays need not know.
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [np.asarray(i) if isinstance(i, np.ndarray) else i for i in inputs]
        compute = _ELEMENTWISE.get(ufunc) or getattr(ufunc, method)
        value = compute(*raw, **kwargs)
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def ranges(low: float, high: float, shape: tuple[int, ...]) -> Array:
    """An array of which every entry is the same interval."""
    return objects([Interval(low, high)] * int(np.prod(shape)), shape).view(Ranges)


def points(numbers: Array) -> Array:
    """An array of floats as intervals of one number each."""
    return objects([as_interval(v) for v in np.ravel(numbers).tolist()], np.shape(numbers)).view(
        Ranges
    )
