"""Jobs: points prepared by contestants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gatecheck._util.typing import Array
from gatecheck.cases import Case

Results = dict[str, Array]


class Job(NamedTuple):
    """A point prepared by one contestant.

    Attributes
    ----------
    call
        The timed call, with all arguments in place and all compiling done.
    results
        The same computation, with the results as canonical arrays by name: ``y``, ``hT``, ``cT``,
        or ``dW``, ``dx`` and the other gradients.
    """

    call: Callable[[], Any]
    results: Callable[[], Results]


def states(case: Case) -> list[Array]:
    """Return fresh copies of the initial states, h before c."""
    return [case[f"{k}0"].copy() for k in case.cell.state]


def cotangents(case: Case) -> list[Array]:
    """Return fresh copies of the cotangents of y, hT and (cT)."""
    return [case["dy"].copy(), *(case[f"d{k}T"].copy() for k in case.cell.state)]


def outputs(case: Case, values: Any) -> Results:
    """Return y, hT and (cT) by name."""
    return dict(zip(["y", *(f"{k}T" for k in case.cell.state)], values, strict=True))
