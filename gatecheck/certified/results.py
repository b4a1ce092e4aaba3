"""The results of a case as near as floats come, where that can be proven in reasonable time."""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.errors import MissingExtraError

MOST_WORK = 10**9
"""Multiplications of balls, some 50 ns each: a case that comes from elsewhere may be of any size.
"""

MOST_BITS = 512
"""Ordinary cases take 128. A ladder to ten times as many takes minutes, and what needs it lies on a
kink or a tie.
"""


def certified_results(case: Case) -> tuple[dict[str, Array] | None, str]:
    """The float64 numbers that are nearest to the exact results of a case, by canonical names.

    Returns
    -------
    results
        None where they are not known.
    reason
        Why they are not, in one sentence; empty if they are.
    """
    try:
        from gatecheck.certified.cells import certified, work
    except MissingExtraError as error:
        return None, str(error)
    if (much := work(case)) > MOST_WORK:
        return (
            None,
            f"certified values would take {much:.1g} multiplications, which is more than {MOST_WORK:.1g}",
        )
    found = certified(case, most=MOST_BITS)
    if found.undecided:
        return (
            None,
            f"{MOST_BITS} bits do not say how to round {found.undecided[0]}: it lies on a kink or a tie",
        )
    return dict(found.values["float64"]), ""
