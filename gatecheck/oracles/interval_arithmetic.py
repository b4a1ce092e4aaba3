"""Interval arithmetic with ends computed by ball arithmetic and rounded outwards.

An interval computed from intervals contains every result computed from numbers in them (Moore
1966), so a bound on it is proven for all of them at once. Correlation is lost: ``z - z`` is wider
than zero. Ends may be infinite; the box is then all real numbers. A monotone function is evaluated
at the two ends, which loses nothing.

The working precision is that of :data:`gatecheck.oracles.ball_arithmetic.ctx`; a higher one
distinguishes numbers closer to 1 from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.oracles.ball_arithmetic import arb, object_array


class Interval:
    """Closed interval with exact ends; an infinite end is not part of it.

    Parameters
    ----------
    low, high
        The ends: floats, taken as exact, or balls, whose outer ends are used.
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
        return _hull(_product(p, q) for p in (self.low, self.high) for q in (b.low, b.high))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        b = as_interval(other)
        if not (b.low > 0 or b.high < 0):
            raise ZeroDivisionError(f"{b} may be zero")
        return self * _hull((1 / b.low, 1 / b.high))

    def __rtruediv__(self, other: Any) -> Interval:
        return as_interval(other) / self

    def __pow__(self, power: int) -> Interval:
        if power != 2:
            raise TypeError(f"an interval cannot be raised to the power {power}, only squared")
        size = abs(self)
        return Interval(size.low**2, size.high**2)

    def __abs__(self) -> Interval:
        return self.maximum(-self).maximum(0.0)

    def __bool__(self) -> bool:
        raise TypeError("the truth value of an interval is ambiguous")

    def __repr__(self) -> str:
        return f"[{_format_end(self.low)}, {_format_end(self.high)}]"

    def tanh(self) -> Interval:
        """Return the hyperbolic tangent; NumPy's tanh calls it in an array of objects."""
        return Interval(self.low.tanh(), self.high.tanh())

    def sigmoid(self) -> Interval:
        """Return the logistic function."""
        return Interval(_sigmoid(self.low), _sigmoid(self.high))

    def maximum(self, other: Any) -> Interval:
        """Return the larger of two numbers."""
        b = as_interval(other)
        return Interval(self.low.max(b.low), self.high.max(b.high))

    def minimum(self, other: Any) -> Interval:
        """Return the smaller of two numbers."""
        b = as_interval(other)
        return Interval(self.low.min(b.low), self.high.min(b.high))

    def lies_within(self, low: Any, high: Any, *, strict: bool) -> bool:
        """True if all of it lies between two bounds, numbers or intervals."""
        a, b = as_interval(low), as_interval(high)
        return (
            bool(self.low > a.high and self.high < b.low)
            if strict
            else bool(self.low >= a.high and self.high <= b.low)
        )

    def lies_outside(self, low: Any, high: Any, *, strict: bool) -> bool:
        """True if none of it lies between two bounds, so every number in it is outside."""
        a, b = as_interval(low), as_interval(high)
        return (
            bool(self.high <= a.low or self.low >= b.high)
            if strict
            else bool(self.high < a.low or self.low > b.high)
        )


def as_interval(number: Any) -> Interval:
    """Return an interval as it is, and any other number as an interval of that number."""
    if isinstance(number, Interval):
        return number
    value = number.item() if isinstance(number, np.generic) else number
    return Interval(value, value)


def _hull(values: Iterable[Any]) -> Interval:
    first, *rest = values
    low = high = first
    for v in rest:
        low, high = low.min(v), high.max(v)
    return Interval(low, high)


def _product(a: Any, b: Any) -> Any:
    # An infinite end stands for unbounded but finite numbers: times zero they are zero.
    return arb(0) if a == 0 or b == 0 else a * b


def _sigmoid(a: Any) -> Any:
    e = (-abs(a)).exp()
    return e / (1 + e) if a < 0 else 1 / (1 + e)


def _format_end(end: Any) -> str:
    return f"{float(end):.9g}"


_ELEMENTWISE: dict[Any, Callable[..., Any]] = {
    expit: np.frompyfunc(Interval.sigmoid, 1, 1),
    np.maximum: np.frompyfunc(lambda a, b: as_interval(a).maximum(b), 2, 1),
    np.minimum: np.frompyfunc(lambda a, b: as_interval(a).minimum(b), 2, 1),
}


class IntervalArray(np.ndarray[Any, Any]):
    """Array of intervals that NumPy's functions accept like an array of numbers."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [np.asarray(i) if isinstance(i, np.ndarray) else i for i in inputs]
        compute = _ELEMENTWISE.get(ufunc) or getattr(ufunc, method)
        value = compute(*raw, **kwargs)
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def interval_array(low: float, high: float, shape: tuple[int, ...]) -> Array:
    """Return an array whose entries are all the same interval."""
    return object_array([Interval(low, high)] * int(np.prod(shape)), shape).view(IntervalArray)


def point_intervals(numbers: Array) -> Array:
    """Convert an array of floats to intervals of one number each."""
    return object_array(
        [as_interval(v) for v in np.ravel(numbers).tolist()], np.shape(numbers)
    ).view(IntervalArray)
