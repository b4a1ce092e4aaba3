"""Errors in units in the last place.

One ulp of a real number x, in a format of p bits, is 2^(e-p+1) where 2^e <= |x| < 2^(e+1): the
distance between the floats around x, and no less than that between the smallest floats (Goldberg
1991; Muller et al. 2018, "Handbook of Floating-Point Arithmetic", section 2.3). It is that of the
exact number, not of the computed one, so a correctly rounded result is off by half an ulp at most,
and zero instead of a normal number by at least 2^(p-1) ulps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gatecheck._util.typing import Array


def ulp(exact: Array, dtype: str) -> Array:
    """Return one ulp of every number, in float64."""
    info = np.finfo(np.dtype(dtype))
    _, exponent = np.frexp(np.maximum(np.abs(exact), float(info.smallest_normal)))
    ulp_size: Array = np.ldexp(1.0, exponent - 1 - info.nmant)
    return ulp_size


def absolute_errors(computed: Array, nearest: Array, rest: Any = 0.0) -> Array:
    """Return absolute errors, infinite where a finite number is missing.

    Parameters
    ----------
    computed
        Computed values of any real dtype.
    nearest, rest
        Exact values: the unevaluated sum of two float64.
    """
    with np.errstate(all="ignore"):
        difference: Array = np.abs((computed.astype(float) - nearest) - rest)
    return np.where(np.isfinite(nearest) & ~np.isfinite(difference), np.inf, difference)


def ulp_errors(computed: Array, nearest: Array, dtype: str, rest: Any = 0.0) -> Array:
    """Return :func:`absolute_errors` in ulps of the exact numbers."""
    with np.errstate(all="ignore"):
        ratio: Array = absolute_errors(computed, nearest, rest) / ulp(nearest, dtype)
    return ratio


def quantiles(values: Array) -> dict[str, float | None]:
    """Return median, 99.9 % and worst, to four digits."""
    if not values.size:
        return dict.fromkeys(("median", "p999", "worst"))
    figures = (*np.quantile(values, [0.5, 0.999]), values.max())
    return {
        name: float(f"{value:.4g}")
        for name, value in zip(("median", "p999", "worst"), figures, strict=True)
    }
