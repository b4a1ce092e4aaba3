"""Certified results of a case, where they can be proven in reasonable time."""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.errors import MissingExtraError

MAX_MULTIPLICATIONS = 10**9
"""Largest number of multiplications of balls, some 50 ns each.

A case that comes from elsewhere may have any size.
"""

MAX_BITS = 512
"""Largest precision; ordinary cases take 128 bits.

Going up to ten times as many takes minutes, and a value that needs it lies on a kink or a tie.
"""


def certified_results(case: Case) -> tuple[dict[str, Array] | None, str]:
    """Return the float64 numbers nearest to the exact results of a case.

    Returns
    -------
    results
        By canonical names; None where they are not known.
    reason
        Why they are not, in one sentence; empty if they are.
    """
    try:
        from gatecheck.certified.cells import certify, estimated_products
    except MissingExtraError as error:
        return None, str(error)
    if (needed := estimated_products(case)) > MAX_MULTIPLICATIONS:
        return (
            None,
            f"certified values would take {needed:.1g} multiplications, "
            f"which is more than {MAX_MULTIPLICATIONS:.1g}",
        )
    result = certify(case, max_bits=MAX_BITS)
    if result.undecided:
        return (
            None,
            f"{MAX_BITS} bits are not enough to round {result.undecided[0]}: "
            "it lies on a kink or a tie",
        )
    return dict(result.values["float64"]), ""
