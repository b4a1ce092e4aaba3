"""Known faults that given cases do not detect."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gatecheck.cases import Case
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.faults.catalogue import faults
from gatecheck.faults.edits import Edit, apply
from gatecheck.faults.fault import Fault
from gatecheck.reference import equations, run


def undetected_faults(cases: Iterable[Case]) -> list[Fault]:
    """Return the known faults in a cell's equations that none of its cases detects.

    A case detects a fault that moves an output or a gradient out of its rounding budget. Equal
    weights, a zero state, one step or equal sizes hide many. Faults around a call (memory, layouts,
    lengths) are left out, since one case alone cannot detect them.

    Parameters
    ----------
    cases
        Cases of one cell.
    """
    undetected: list[tuple[Fault, Edit]] | None = None
    for case in cases:
        if undetected is None:
            undetected = [
                (fault, fault.edit)
                for fault in faults(case.cell.name)
                if fault.edit and not fault.equivalent
            ]
        undetected = [(fault, edit) for fault, edit in undetected if not _detects(case, edit)]
    return [fault for fault, _ in undetected or []]


def _detects(case: Case, edit: Edit) -> bool:
    budget = case_budget(case)
    with np.errstate(all="ignore"):
        results = run(apply(equations(case.cell), edit), case.as_float64())
    try:
        check_agreement(case.cell, results, budget.exact, budget.tolerance)
    except Violation:
        return True
    return False
