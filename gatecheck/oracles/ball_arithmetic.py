"""Forward-mode differentiation over ball arithmetic (Johansson 2017, "Arb").

A result computed from balls encloses the exact result at any precision; only its radius varies.
Where a ball straddles a kink, the slope is the ball of all slopes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import MissingExtraError

try:
    from flint import arb as arb
    from flint import arb_mat
    from flint import ctx as ctx
except ImportError as missing:
    raise MissingExtraError(
        'certified values need python-flint: pip install "gatecheck[certified]"'
    ) from missing


Slopes = Any
"""Derivatives along all directions: a one-row matrix, or a dict of nonzero ones.

Variables and their multiples use the dict.
"""

ANY_SLOPE = (0.5, 0.5)
"""Midpoint and radius of the ball of all slopes of a clip at its kink."""


class Ball:
    """A number in a ball and its derivatives along several directions.

    Parameters
    ----------
    value
        A ball, or a float, which is taken as exact.
    slopes, width
        The derivatives and the number of directions; a constant has none.
    """

    __slots__ = ("slopes", "value", "width")

    def __init__(self, value: Any, slopes: Slopes = None, width: int = 0) -> None:
        self.value = (
            value
            if isinstance(value, arb)
            else arb(value.item() if isinstance(value, np.generic) else value)
        )
        self.slopes = {} if slopes is None else slopes
        self.width = width

    def slope(self, direction: int) -> Any:
        """Return the derivative along one direction, a ball."""
        return (
            self.slopes.get(direction, arb(0))
            if isinstance(self.slopes, dict)
            else self.slopes[0, direction]
        )

    def _apply(self, value: Any, slope: Any) -> Ball:
        """Apply the chain rule to a function of this number with that value and slope."""
        return Ball(value, _scale_slopes(self.slopes, slope), self.width)

    def __add__(self, other: Any) -> Ball:
        b = as_ball(other)
        width = max(self.width, b.width)
        return Ball(self.value + b.value, _add_slopes(self.slopes, b.slopes, width), width)

    __radd__ = __add__

    def __neg__(self) -> Ball:
        return self._apply(-self.value, arb(-1))

    def __sub__(self, other: Any) -> Ball:
        return self + -as_ball(other)

    def __rsub__(self, other: Any) -> Ball:
        return -self + as_ball(other)

    def __mul__(self, other: Any) -> Ball:
        b = as_ball(other)
        width = max(self.width, b.width)
        slopes = _add_slopes(
            _scale_slopes(self.slopes, b.value), _scale_slopes(b.slopes, self.value), width
        )
        return Ball(self.value * b.value, slopes, width)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Ball:
        b = as_ball(other)
        return self * b._apply(1 / b.value, -1 / b.value**2)

    def __rtruediv__(self, other: Any) -> Ball:
        return as_ball(other) / self

    def __repr__(self) -> str:
        return f"Ball({self.value}, {self.width} directions)"

    def exp(self) -> Ball:
        """Return the exponential; NumPy's exp calls it in an array of objects."""
        value = self.value.exp()
        return self._apply(value, value)

    def tanh(self) -> Ball:
        """Return the hyperbolic tangent; NumPy's tanh calls it in an array of objects."""
        # 1 - tanh² would lose every digit of the slope in a saturated unit.
        return self._apply(self.value.tanh(), self.value.sech() ** 2)

    def sigmoid(self) -> Ball:
        """Return the logistic function."""
        # Of the two formulations, the one that does not overflow; s(a) s(-a) avoids the
        # cancellation of 1 - s.
        e = (-abs(self.value)).exp()
        value = e / (1 + e) if self.value < 0 else 1 / (1 + (-self.value).exp())
        return self._apply(value, e / (1 + e) ** 2)

    def clip(self, low: float, high: float) -> Ball:
        """Return the number clipped to two bounds, which may be infinite."""
        v = self.value
        slope = arb(0) if v < low or v > high else arb(1) if low < v < high else arb(*ANY_SLOPE)
        return self._apply(v.max(arb(low)).min(arb(high)), slope)


def as_ball(number: Any) -> Ball:
    """Return a ball as it is, and any other number as a ball without slopes."""
    return number if isinstance(number, Ball) else Ball(number)


def _scale_slopes(slopes: Slopes, factor: Any) -> Slopes:
    return (
        {k: v * factor for k, v in slopes.items()} if isinstance(slopes, dict) else slopes * factor
    )


def _add_slopes(a: Slopes, b: Slopes, width: int) -> Slopes:
    if a == {} or b == {}:
        return b if a == {} else a
    if isinstance(a, dict):
        a, b = b, a
    if not isinstance(b, dict):
        return a + b
    total = arb_mat(1, width) if isinstance(a, dict) else arb_mat(a)
    for k, v in (*(a.items() if isinstance(a, dict) else ()), *b.items()):
        total[0, k] = total[0, k] + v
    return total


def as_constants(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Convert arrays of floats to arrays of balls without slopes."""
    return {
        name: object_array([Ball(v) for v in np.ravel(a)], np.shape(a))
        for name, a in arrays.items()
    }


def as_variables(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Convert arrays of floats to arrays of balls, one direction for each entry."""
    width = sum(np.size(a) for a in arrays.values())
    numbers = iter(range(width))
    return {
        name: object_array(
            [Ball(v, {next(numbers): arb(1)}, width) for v in np.ravel(a)], np.shape(a)
        )
        for name, a in arrays.items()
    }


def object_array(items: list[Any], shape: tuple[int, ...]) -> Array:
    """Return an array of these objects."""
    out = np.empty(len(items), object)
    out[:] = items
    return out.reshape(shape)


_sigmoid = np.frompyfunc(Ball.sigmoid, 1, 1)
_tanh = np.frompyfunc(Ball.tanh, 1, 1)
_clip = np.frompyfunc(Ball.clip, 3, 1)


def sigmoid(a: Array) -> Array:
    """Return the logistic function of an array of balls."""
    return np.asarray(_sigmoid(a))


def tanh(a: Array) -> Array:
    """Return the hyperbolic tangent of an array of balls."""
    return np.asarray(_tanh(a))


def clip(a: Array, low: float, high: float) -> Array:
    """Clip an array of balls to two bounds, which may be infinite."""
    return np.asarray(_clip(a, low, high))
