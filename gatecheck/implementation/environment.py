"""The numerical environment of this process, in which exact values are computed.

A target in this process may replace a function of NumPy, or change how the processor rounds: a
library compiled with ``-ffast-math`` flushes subnormal numbers to zero for everyone. What is judged
then is no longer judged by the equations.
"""

from __future__ import annotations

import math
from operator import is_, itemgetter

import numpy as np
import scipy.special

from gatecheck.errors import TargetError

_NAMES = tuple(
    name
    for name in np.__all__
    if callable(vars(np).get(name)) and not isinstance(vars(np)[name], type)
)
_functions = itemgetter(*_NAMES)
_ORIGINAL = _functions(vars(np))
_EXPIT = scipy.special.expit

_ONE, _HALF_ULP, _SUBNORMAL = 1.0, 2.0**-60, 5e-324
"""Numbers that show the rounding mode and the flushing of subnormal numbers."""

REMEDY = (
    "exact values cannot be computed in this process any more; `gatecheck audit` calls it in a "
    "process of its own"
)


def changed_functions() -> list[str]:
    """Return functions of NumPy and SciPy that were replaced since the import."""
    if all(map(is_, _functions(vars(np)), _ORIGINAL)) and scipy.special.expit is _EXPIT:
        return []
    replaced = sorted(
        f"numpy.{name}"
        for name, before, now in zip(_NAMES, _ORIGINAL, _functions(vars(np)), strict=True)
        if now is not before
    )
    return replaced + ["scipy.special.expit"] * (scipy.special.expit is not _EXPIT)


def changed_arithmetic() -> str:
    """Return how this thread's arithmetic departs from IEEE 754's default, if it does."""
    if _ONE + _HALF_ULP != _ONE or -_ONE - _HALF_ULP != -_ONE or _ONE - _HALF_ULP != _ONE:
        return "it rounds in another direction than to nearest"
    if _SUBNORMAL * _ONE == 0.0 or not _SUBNORMAL > 0.0:
        return "it flushes subnormal numbers to zero"
    return ""


def check_environment(method: str) -> None:
    """Check that this process computes as it did when gatecheck was imported.

    Parameters
    ----------
    method
        The method of a target that was called last.

    Raises
    ------
    TargetError
        If it does not: names what was changed.
    """
    if names := changed_functions():
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise TargetError(f"after {method}, {listed} is no longer the original: {REMEDY}")
    if change := changed_arithmetic():
        raise TargetError(
            f"after {method}, the processor's arithmetic has changed: {change}; {REMEDY}"
        )


def check_original_functions() -> None:
    """Check NumPy's functions by their values.

    One may have been replaced before gatecheck was imported.

    Raises
    ------
    TargetError
        If one is wrong.
    """
    x = np.linspace(-3.0, 3.0, 61)
    for name in ("tanh", "exp", "expm1", "sin", "cos"):
        exact = np.array([getattr(math, name)(v) for v in x.tolist()])
        with np.errstate(all="ignore"):
            error = abs(getattr(np, name)(x) - exact).max()
        if not error <= 1e-14 * max(1.0, abs(exact).max()):
            raise TargetError(f"numpy.{name} is wrong by {error:.1e} in this process: {REMEDY}")
