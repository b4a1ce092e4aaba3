"""What a correct implementation may return for a case: the reference's results and their rounding budget."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from gatecheck.cases import COTANGENTS, Case
from gatecheck.oracles.rounding import Budget, Function, budget
from gatecheck.reference import Results, ahead, equations, run

R = TypeVar("R")

KEPT = 16384
"""How many results a process remembers, the newest. A cell has some thousand budgets at profile ci, of about 10 kB, and all have to fit:
a matrix of faults asks for them again with every fault."""


def remembered(function: Callable[[Case], R]) -> Callable[[Case], R]:
    """A function that is asked once about equal cases, whoever is under audit.

    It knows them by their digests, since a case may be far larger than its budget: half a megabyte where 121 units show an activation.
    """
    found: dict[str, R] = {}

    @wraps(function)
    def asked_once(case: Case) -> R:
        if case.key not in found:
            if len(found) >= KEPT:
                found.pop(next(iter(found)))
            found[case.key] = function(case)
        return found[case.key]

    return asked_once


def _measured(function: Function, case: Case, *without: str) -> Budget:
    arrays = {k: v for k, v in case.doubles().items() if k not in without}
    held = {k: arrays.pop(k) for k in (*case.params, "lengths") if k in arrays}
    return budget(function, arrays, held, case.dtype.name)


@remembered
def case_budget(case: Case) -> Budget:
    """The budget of a case in its own dtype, outputs and gradients."""
    mathematics = equations(case.cell)
    return _measured(lambda arrays: run(mathematics, arrays), case)


@remembered
def forward_budget(case: Case) -> Budget:
    """The budget of y, hT and (cT) alone, for a third of the time.

    It is to the last bit that of :func:`case_budget`, since noise is drawn in the order of evaluation, and backward comes after forward.
    """
    mathematics = equations(case.cell)
    return _measured(lambda arrays: ahead(mathematics, arrays)[0], case, *COTANGENTS)


def exact(case: Case) -> Results:
    """The reference's float64 results for a case."""
    return run(equations(case.cell), case.doubles())
