"""Correctly rounded values from ball arithmetic.

The precision is raised until every ball rounds to one float. Derivatives come from forward mode
through the function itself, so no formula is shared with any backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import InputError, UsageError
from gatecheck.oracles.ball_arithmetic import (
    Ball,
    arb,
    as_ball,
    as_constants,
    as_variables,
    ctx,
    object_array,
)
from gatecheck.oracles.flattening import as_numbers

Enclosures = dict[str, Array]
"""Arrays of balls that hold the exact outputs ``NAME`` and gradients ``dINPUT``."""

Function = Callable[[dict[str, Array]], Mapping[str, Array]]

FIRST_BITS = 128
"""Bits of the first try: more bits cost more, fewer do not cost less."""

MAX_BITS = 4096
"""Bits of the last try.

A sigmoid of -1000 differs from 0 only with 1443 bits or more; values that 4096 bits do not decide
lie on a kink or a tie.
"""


class Format(NamedTuple):
    """A binary floating-point format.

    ``bits`` is the width of the significand, ``least`` the exponent of the smallest number,
    ``overflow_exponent`` the first exponent that overflows.
    """

    bits: int
    min_exponent: int
    overflow_exponent: int


FORMATS = {"float32": Format(24, -149, 128), "float64": Format(53, -1074, 1024)}


def round_to_dtype(mantissa: int, exponent: int, dtype: str) -> float:
    """Round ``man * 2**exp`` to the nearest number of a dtype, ties to even.

    Numbers beyond the largest become infinity; zero has no sign. Python and NumPy round twice on
    the way to a subnormal float32 and do not always return the nearest.
    """
    form, size, sign = FORMATS[dtype], abs(mantissa), -1 if mantissa < 0 else 1
    drop = max(size.bit_length() - form.bits, form.min_exponent - exponent)
    # Less than half of the smallest number, perhaps millions of bits below it.
    if not mantissa or drop > size.bit_length():
        return 0.0
    if drop > 0:
        size, rest = divmod(size, 1 << drop)
        half = 1 << (drop - 1)
        size += rest > half or (rest == half and size & 1)
        exponent += drop
    if size.bit_length() + exponent > form.overflow_exponent:
        return sign * math.inf
    return sign * math.ldexp(size, exponent) + 0.0  # the sum turns -0.0 into 0.0


def round_ball(ball: Any, dtype: str) -> float:
    """Return the float to which every number in a ball rounds, or NaN if they differ.

    The working precision should be that at which the ball was computed.
    """
    if not ball.is_finite():
        return math.nan
    (low, down), (high, up) = ball.lower().man_exp(), ball.upper().man_exp()
    low, high = (
        round_to_dtype(int(low), int(down), dtype),
        round_to_dtype(int(high), int(up), dtype),
    )
    return low if low == high else math.nan


def enclose(
    function: Function, inputs: Mapping[str, Any], cotangents: Mapping[str, Any] | None = None
) -> Enclosures:
    """Enclose outputs and gradients of a function in balls of the working precision.

    Parameters
    ----------
    function
        Maps arrays of balls by name to arrays of balls by name. It may use ``+ - * / @``, NumPy's
        indexing and reshaping, and the functions of :mod:`gatecheck.oracles.ball_arithmetic`.
    inputs
        Finite float64 or float32 numbers, taken as exact.
    cotangents
        Cotangents of some outputs, by name and of their shapes; None for the outputs alone.

    Returns
    -------
    dict
        The outputs and, if there are cotangents, the gradient of the sum of outputs times
        cotangents with respect to every input.

    Raises
    ------
    InputError
        If an array is not finite, or cotangents do not fit the outputs.
    """
    exact_inputs = {name: _as_finite(name, a) for name, a in inputs.items()}
    numbers = as_constants(exact_inputs) if cotangents is None else as_variables(exact_inputs)
    outputs = {name: np.asarray(a, object) for name, a in function(numbers).items()}
    values = {
        name: object_array([as_ball(v).value for v in a.ravel()], a.shape)
        for name, a in outputs.items()
    }
    if cotangents is None:
        return values
    total: Any = Ball(0)
    for name, cotangent in cotangents.items():
        weights = _as_finite(name, cotangent)
        if name not in outputs or weights.shape != outputs[name].shape:
            expected = (
                f"shape {outputs[name].shape}"
                if name in outputs
                else f"the name of an output: {', '.join(outputs)}"
            )
            raise InputError(
                f"the cotangent {name} has shape {weights.shape}, but should have {expected}"
            )
        for weight, output in zip(weights.ravel().tolist(), outputs[name].ravel(), strict=True):
            total = total + output * weight
    slopes = iter([total.slope(k) for k in range(sum(a.size for a in exact_inputs.values()))])
    return values | {
        f"d{name}": object_array([next(slopes) for _ in range(a.size)], a.shape)
        for name, a in exact_inputs.items()
    }


def _as_finite(name: str, array: Any) -> Array:
    numbers: Array = as_numbers(array, name)
    if not np.isfinite(numbers).all():
        raise InputError(f"{name} holds {numbers[~np.isfinite(numbers)][0]}, but should be finite")
    return numbers


@dataclass(frozen=True, eq=False)
class CertifiedValues:
    """Enclosures and the floats that they round to.

    Attributes
    ----------
    enclosures
        Balls that hold the exact numbers.
    values
        By dtype and name: float64 arrays of correctly rounded numbers of that dtype, ties to even.
        NaN where undecided, as at a kink; zeros have no sign.
    bits
        The working precision that was needed.
    """

    enclosures: Enclosures
    values: Mapping[str, Mapping[str, Array]]
    bits: int

    @property
    def undecided(self) -> list[str]:
        """Entries that no precision could round, such as ``dW[0, 3]``."""
        places = {
            f"{name}[{', '.join(map(str, at))}]": None
            for arrays in self.values.values()
            for name, array in arrays.items()
            for at in np.argwhere(np.isnan(array))
        }
        return list(places)

    def absolute_errors(self, name: str, computed: Any) -> Array:
        """Return the absolute error of each computed number, free of cancellation."""
        exact = self.enclosures[name]

        def off(number: float, ball: Any) -> float:
            return float(abs(arb(number) - ball).mid()) if math.isfinite(number) else math.nan

        errors = [off(float(f), e) for f, e in zip(np.ravel(computed), exact.ravel(), strict=True)]
        return np.array(errors, float).reshape(exact.shape)


def refine(
    compute: Callable[[], Enclosures],
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    first_bits: int = FIRST_BITS,
    max_bits: int = MAX_BITS,
) -> CertifiedValues:
    """Raise the working precision until every enclosure rounds to one float.

    Parameters
    ----------
    compute
        Computes the enclosures; called at each precision.
    dtypes
        The dtypes to round to.
    first_bits, max_bits
        Bits of the first and the last try; each try has twice as many as the one before.

    Raises
    ------
    UsageError
        If a dtype is unknown.
    """
    if unknown := [d for d in dtypes if d not in FORMATS]:
        raise UsageError(
            f"there is no dtype {unknown[0]!r} in which values are certified; "
            f"there are {', '.join(FORMATS)}"
        )
    bits = first_bits
    while True:
        with ctx.workprec(bits):
            enclosures = compute()
            values = {
                dtype: {
                    name: np.array([round_ball(v, dtype) for v in a.ravel()], float).reshape(
                        a.shape
                    )
                    for name, a in enclosures.items()
                }
                for dtype in dtypes
            }
        certified = CertifiedValues(enclosures, values, bits)
        if bits >= max_bits or not certified.undecided:
            return certified
        bits = min(2 * bits, max_bits)


def certify(
    function: Function,
    inputs: Mapping[str, Any],
    cotangents: Mapping[str, Any] | None = None,
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    max_bits: int = MAX_BITS,
) -> CertifiedValues:
    """Return correctly rounded outputs of a function, and gradients by forward mode.

    Parameters
    ----------
    function, inputs, cotangents
        As for :func:`enclose`.
    dtypes, max_bits
        As for :func:`refine`.

    Examples
    --------
    >>> import numpy as np
    >>> from gatecheck.oracles.ball_arithmetic import tanh
    >>> x, dy = np.array([0.5, 1e-310]), np.array([1.0, 1.0])
    >>> values = certify(lambda a: {"y": tanh(a["x"])}, {"x": x}, {"y": dy}).values["float64"]
    >>> values["y"].tolist(), values["dx"].tolist()
    ([0.46211715726000974, 1e-310], [0.7864477329659274, 1.0])
    """
    return refine(lambda: enclose(function, inputs, cotangents), dtypes=dtypes, max_bits=max_bits)
