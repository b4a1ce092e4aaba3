"""Values whose last bit is proven: ball arithmetic at a precision that is raised until every ball
rounds to one float.

Derivatives are by forward mode through the function itself, so nothing here shares a formula with
any backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import InputError, UsageError
from gatecheck.oracles.ball_arithmetic import Ball, arb, as_ball, constants, ctx, objects, variables
from gatecheck.oracles.flattening import as_numbers

Enclosures = dict[str, Array]
"""Outputs by name, and gradients as ``d`` and the name of their input: arrays of objects, each a
ball that holds the exact number.
"""

Function = Callable[[dict[str, Array]], Mapping[str, Array]]

FIRST = 128
"""Bits of the first try: more cost more, fewer do not cost less."""

MOST = 4096
"""Bits of the last try. A sigmoid of -1000 is as far from 0 as 1443 bits reach; what these do not
decide lies on a kink or a tie.
"""


class Format(NamedTuple):
    """A binary floating-point format: bits of the significand, the exponent of its smallest number,
    and the one that overflows.
    """

    bits: int
    least: int
    top: int


FORMATS = {"float32": Format(24, -149, 128), "float64": Format(53, -1074, 1024)}


def rounded(man: int, exp: int, dtype: str) -> float:
    """``man * 2**exp`` to the nearest number of a dtype, ties to even; infinity beyond the largest,
    and zero without a sign.

    Python and NumPy round twice on the way to a subnormal float32, which is not always the nearest.
    """
    form, size, sign = FORMATS[dtype], abs(man), -1 if man < 0 else 1
    drop = max(size.bit_length() - form.bits, form.least - exp)
    # less than half of the smallest number, and perhaps millions of bits below it
    if not man or drop > size.bit_length():
        return 0.0
    if drop > 0:
        size, rest = divmod(size, 1 << drop)
        half = 1 << (drop - 1)
        size += rest > half or (rest == half and size & 1)
        exp += drop
    if size.bit_length() + exp > form.top:
        return sign * math.inf
    return sign * math.ldexp(size, exp) + 0.0  # the sum makes 0.0 of -0.0


def nearest(ball: Any, dtype: str) -> float:
    """The float to which every number in a ball rounds, or NaN where they round to several.

    The working precision should be that at which the ball was computed.
    """
    if not ball.is_finite():
        return math.nan
    (low, down), (high, up) = ball.lower().man_exp(), ball.upper().man_exp()
    low, high = rounded(int(low), int(down), dtype), rounded(int(high), int(up), dtype)
    return low if low == high else math.nan


def enclose(
    function: Function, inputs: Mapping[str, Any], cotangents: Mapping[str, Any] | None = None
) -> Enclosures:
    """Outputs and gradients of a function in balls, at the working precision.

    Parameters
    ----------
    function
        From arrays of balls by name to arrays of balls by name. It may use ``+ - * / @``, indexing
        and reshaping of NumPy, and the functions of :mod:`gatecheck.oracles.ball_arithmetic`.
    inputs
        Finite float64 or float32 numbers, which are taken as they are: exactly.
    cotangents
        For some of the outputs, by name and of their shapes; None for the outputs alone.

    Returns
    -------
    dict
        The outputs, and with cotangents the gradient of the sum of outputs times cotangents with
        respect to every input.

    Raises
    ------
    InputError
        If an array is not finite, or cotangents do not fit the outputs.
    """
    given = {name: _finite(name, a) for name, a in inputs.items()}
    numbers = constants(given) if cotangents is None else variables(given)
    outputs = {name: np.asarray(a, object) for name, a in function(numbers).items()}
    values = {
        name: objects([as_ball(v).value for v in a.ravel()], a.shape) for name, a in outputs.items()
    }
    if cotangents is None:
        return values
    total: Any = Ball(0)
    for name, cotangent in cotangents.items():
        weights = _finite(name, cotangent)
        if name not in outputs or weights.shape != outputs[name].shape:
            what = (
                f"shape {outputs[name].shape}"
                if name in outputs
                else f"the name of an output: {', '.join(outputs)}"
            )
            raise InputError(
                f"the cotangent {name} has shape {weights.shape}, but should have {what}"
            )
        for weight, output in zip(weights.ravel().tolist(), outputs[name].ravel(), strict=True):
            total = total + output * weight
    slopes = iter([total.slope(k) for k in range(sum(a.size for a in given.values()))])
    return values | {
        f"d{name}": objects([next(slopes) for _ in range(a.size)], a.shape)
        for name, a in given.items()
    }


def _finite(name: str, array: Any) -> Array:
    numbers: Array = as_numbers(array, name)
    if not np.isfinite(numbers).all():
        raise InputError(f"{name} holds {numbers[~np.isfinite(numbers)][0]}, but should be finite")
    return numbers


@dataclass(frozen=True, eq=False)
class Certified:
    """What was enclosed, and what it rounds to.

    Attributes
    ----------
    enclosures
        Balls that hold the exact numbers.
    values
        By dtype and name: float64 arrays of correctly rounded numbers of that dtype, ties to even.
        NaN where that is undecided, as beside a kink; zeros have no sign.
    bits
        The precision that it took.
    """

    enclosures: Enclosures
    values: Mapping[str, Mapping[str, Array]]
    bits: int

    @property
    def undecided(self) -> list[str]:
        """The places of what no precision up to the last one could round, such as ``dW[0, 3]``."""
        places = {
            f"{name}[{', '.join(map(str, at))}]": None
            for arrays in self.values.values()
            for name, array in arrays.items()
            for at in np.argwhere(np.isnan(array))
        }
        return list(places)

    def errors(self, name: str, found: Any) -> Array:
        """By how much numbers that somebody found are off: the absolute error of each, free of
        cancellation.
        """
        exact = self.enclosures[name]

        def off(number: float, ball: Any) -> float:
            return float(abs(arb(number) - ball).mid()) if math.isfinite(number) else math.nan

        errors = [off(float(f), e) for f, e in zip(np.ravel(found), exact.ravel(), strict=True)]
        return np.array(errors, float).reshape(exact.shape)


def settle(
    compute: Callable[[], Enclosures],
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    first: int = FIRST,
    most: int = MOST,
) -> Certified:
    """Raise the working precision until everything that is computed rounds to one float.

    Parameters
    ----------
    compute
        What to enclose; it is called at each precision.
    dtypes
        In each of which it should.
    first, most
        Bits of the first and of the last try; each has twice as many as the one before.

    Raises
    ------
    UsageError
        If there is no such dtype.
    """
    if unknown := [d for d in dtypes if d not in FORMATS]:
        raise UsageError(
            f"there is no dtype {unknown[0]!r} in which values are certified; there are {', '.join(FORMATS)}"
        )
    bits = first
    while True:
        with ctx.workprec(bits):
            enclosures = compute()
            values = {
                dtype: {
                    name: np.array([nearest(v, dtype) for v in a.ravel()], float).reshape(a.shape)
                    for name, a in enclosures.items()
                }
                for dtype in dtypes
            }
        found = Certified(enclosures, values, bits)
        if bits >= most or not found.undecided:
            return found
        bits = min(2 * bits, most)


def certify(
    function: Function,
    inputs: Mapping[str, Any],
    cotangents: Mapping[str, Any] | None = None,
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    most: int = MOST,
) -> Certified:
    """Correctly rounded outputs of a function, and gradients by forward mode.

    Parameters
    ----------
    function, inputs, cotangents
        As for :func:`enclose`.
    dtypes, most
        As for :func:`settle`.

    Examples
    --------
    >>> import numpy as np
    >>> from gatecheck.oracles.ball_arithmetic import tanh
    >>> found = certify(lambda a: {"y": tanh(a["x"])}, {"x": np.array([0.5, 1e-310])}, {"y": np.array([1.0, 1.0])})
    >>> found.values["float64"]["y"].tolist(), found.values["float64"]["dx"].tolist()
    ([0.46211715726000974, 1e-310], [0.7864477329659274, 1.0])
    """
    return settle(lambda: enclose(function, inputs, cotangents), dtypes=dtypes, most=most)
