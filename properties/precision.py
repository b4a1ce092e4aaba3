"""Claims about values: what is computed is what the equations say, to the precision of the arithmetic."""

from __future__ import annotations

from gatecheck.budgets import case_budget
from gatecheck.cases import Case
from gatecheck.claims import claim
from gatecheck.evidence import Evidence, agree
from gatecheck.implementation import Subject


@claim(cases="any")
def forward_within_budget(implementation: Subject, case: Case) -> Evidence:
    """y, h_T and c_T are those of the cell's equations, within the rounding that correct code may show.

    The equations run in float64, and once more in replicates with every operation perturbed by its own rounding in the dtype of
    the case; the budget is eight times the spread of the replicates.
    """
    budget = case_budget(case)
    return agree(case.cell, implementation.forward(case), budget.exact, budget.tolerance)
