"""Errors in units in the last place.

One ulp of a real number x, in a format of p bits, is 2^(e-p+1) where 2^e <= |x| < 2^(e+1): the
distance of the floats about x, and no less than that of the smallest floats (Goldberg 1991; Muller
et al. 2018, "Handbook of Floating-Point Arithmetic", section 2.3). It is that of the exact number,
whatever was found, so a correctly rounded result is off by half an ulp at most, and zero instead of
a normal number by 2^(p-1) of them at least.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gatecheck._util.typing import Array


def unit(exact: Array, dtype: str) -> Array:
    """One ulp of every number, in float64."""
    form = np.finfo(np.dtype(dtype))
    _, exponent = np.frexp(np.maximum(np.abs(exact), float(form.smallest_normal)))
    one: Array = np.ldexp(1.0, exponent - 1 - form.nmant)
    return one


def errors(found: Array, nearest: Array, rest: Any = 0.0) -> Array:
    """Absolute errors; infinity where a number belongs and none is.

    Parameters
    ----------
    found
        Of any real dtype.
    nearest, rest
        What it should be, in float64: their unevaluated sum.
    """
    with np.errstate(all="ignore"):
        off: Array = np.abs((found.astype(float) - nearest) - rest)
    return np.where(np.isfinite(nearest) & ~np.isfinite(off), np.inf, off)


def ulps(found: Array, nearest: Array, dtype: str, rest: Any = 0.0) -> Array:
    """Errors in ulps of the exact numbers in a dtype; parameters as in :func:`errors`."""
    with np.errstate(all="ignore"):
        many: Array = errors(found, nearest, rest) / unit(nearest, dtype)
    return many


def quantiles(many: Array) -> dict[str, float | None]:
    """Median, 99.9 % and worst, to four digits."""
    if not many.size:
        return dict.fromkeys(("median", "p999", "worst"))
    found = (*np.quantile(many, [0.5, 0.999]), many.max())
    return {
        name: float(f"{value:.4g}")
        for name, value in zip(("median", "p999", "worst"), found, strict=True)
    }
