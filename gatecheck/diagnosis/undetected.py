"""What cases could not have told: the faults that leave every one of their results within budget."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gatecheck.cases import Case
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, agree
from gatecheck.faults.catalogue import faults
from gatecheck.faults.edits import Edit, apply
from gatecheck.faults.fault import Fault
from gatecheck.reference import equations, run


def untold(cases: Iterable[Case]) -> list[Fault]:
    """The known faults in the equations of a cell that none of these cases of it could tell from
    the truth.

    A case tells a fault if it moves an output or a gradient out of its rounding budget. Equal
    weights, a zero state, one step or equal sizes hide many; faults around a call (memory, layouts,
    lengths) are not looked at, since one case alone cannot tell them.

    Parameters
    ----------
    cases
        All of one cell.
    """
    left: list[tuple[Fault, Edit]] | None = None
    for case in cases:
        if left is None:
            left = [
                (fault, fault.edit)
                for fault in faults(case.cell.name)
                if fault.edit and not fault.equivalent
            ]
        left = [(fault, edit) for fault, edit in left if not _tells(case, edit)]
    return [fault for fault, _ in left or []]


def _tells(case: Case, edit: Edit) -> bool:
    budget = case_budget(case)
    with np.errstate(all="ignore"):
        got = run(apply(equations(case.cell), edit), case.doubles())
    try:
        agree(case.cell, got, budget.exact, budget.tolerance)
    except Violation:
        return True
    return False
