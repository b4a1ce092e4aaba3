"""Claims about values: what is computed is what the equations say, to the precision of the arithmetic."""

from __future__ import annotations

import numpy as np

from gatecheck.budgets import case_budget
from gatecheck.cases import Case
from gatecheck.claims import claim
from gatecheck.evidence import Evidence, agree, consistent, require
from gatecheck.implementation import Subject


@claim(cases="any", reference=True)
def forward_within_budget(implementation: Subject, case: Case) -> Evidence:
    """y, h_T and c_T are those of the cell's equations, within the rounding that correct code may show.

    The equations run in float64, and once more in replicates with every operation perturbed by its own rounding in the dtype of
    the case; the budget is eight times the spread of the replicates.
    """
    budget = case_budget(case)
    return agree(case.cell, implementation.forward(case), budget.exact, budget.tolerance)


@claim(cases="long", reference=True)
def long_sequences_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Over a hundred steps, with gates that keep, outputs and gradients are still those of the equations.

    The cotangents are those of the last state alone. The gates are slow, so that the gradient at the longest lag is not lost in rounding:
    a backward that is truncated half-way is then wrong in every step before.
    """
    last = case.having(dy=None)
    budget = case_budget(last)
    return agree(case.cell, implementation.run(last), budget.exact, budget.tolerance)


@claim()
def nan_stays_nan_in_its_row(implementation: Subject, case: Case) -> Evidence:
    """A NaN in an input makes every later output of its row NaN, and touches nothing before it nor any other row."""
    t, b = case.sizes.T // 2, case.sizes.B // 2
    x = case["x"].copy()
    x[t, b, 0] = np.nan
    with np.errstate(invalid="ignore"):
        got = implementation.forward(case.having(x=x))["y"]
    seen = require(bool(np.isnan(got[t:, b]).all()), f"a NaN in x[{t}, {b}, 0] became a number in a later output of that row")
    others = np.delete(got, b, axis=1)
    seen += require(not np.isnan(others).any(), f"a NaN in x[{t}, {b}, 0] reached another row")
    return seen + require(not np.isnan(got[:t]).any(), f"a NaN in x[{t}, {b}, 0] reached an earlier output")


@claim(needs={"bounded"})
def infinity_gives_its_limit(implementation: Subject, case: Case) -> Evidence:
    """An infinite input saturates what it enters, as a very large one does: no NaN, and the same outputs.

    All weights of the infinite entry are at least a thousandth here, so that its preactivations are infinite too.
    """
    x = case["x"].copy()
    W = case["W"].copy()
    W[0] = np.where(np.abs(W[0]) < 1e-3, 1e-3, W[0])
    x[0, :, 0] = np.inf
    large = x.copy()
    large[0, :, 0] = 1e8
    huge = case.having(x=large, W=W)
    with np.errstate(invalid="ignore", over="ignore"):
        got = implementation.forward(case.having(x=x, W=W))
    return consistent(case.cell, got, implementation.forward(huge), case_budget(huge))
