"""Claims about gradients: what backward returns is the derivative of what forward computes."""

from __future__ import annotations

from gatecheck.budgets import case_budget
from gatecheck.cases import Case
from gatecheck.claims import claim
from gatecheck.evidence import Evidence, agree
from gatecheck.implementation import Subject


def _gradients_agree(implementation: Subject, case: Case) -> Evidence:
    budget = case_budget(case)
    expected = {k: v for k, v in budget.exact.items() if k.startswith("d")}
    # A chaotic forward makes every gradient inconclusive, so y is judged along.
    tolerance = budget.tolerance
    return agree(case.cell, implementation.backward(case), expected, tolerance)


@claim(needs={"backward"}, cases="any")
def gradients_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Every gradient is that of the cell's equations, within the rounding that correct code may show.

    For cotangents of y, h_T and c_T, any of which may be absent; with respect to every parameter, x, h_0 and c_0. Each block is
    judged by its own size: gate by gate, and for x step by step.
    """
    return _gradients_agree(implementation, case)


@claim(needs={"backward"}, cases="long")
def long_gradients_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Over a hundred steps, with gates that keep, the gradient reaches the first step as the equations say.

    The cotangent is that of the last state alone. The gates are slow, so that the gradient at the longest lag is not lost in rounding:
    a backward that is truncated half-way is then wrong in every step before.
    """
    return _gradients_agree(implementation, case.having(dy=None))
