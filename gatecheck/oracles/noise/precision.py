"""Precisions of the dtypes that have a model of rounding."""

from __future__ import annotations

from typing import NamedTuple

from gatecheck.errors import UsageError


class Precision(NamedTuple):
    """Unit roundoff ``u`` and smallest normal number ``tiny`` of a dtype.

    ``tiny`` is the absolute error of an operation that underflows.
    """

    u: float
    tiny: float


PRECISIONS = {
    "float32": Precision(2.0**-24, 2.0**-126),
    "float64": Precision(2.0**-53, 2.0**-1022),
}


def dtype_precision(dtype: str) -> Precision:
    """Return the precision of a calibrated dtype.

    Raises
    ------
    UsageError
        If the dtype is not calibrated.
    """
    if dtype not in PRECISIONS:
        raise UsageError(
            f"there is no rounding model for {dtype}; there are {', '.join(PRECISIONS)}"
        )
    return PRECISIONS[dtype]
