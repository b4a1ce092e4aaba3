"""Claims about values: what is computed is what the equations say, to the precision of the arithmetic."""

from __future__ import annotations

import numpy as np
from gatecheck.properties.gates import OPEN, SHUT, activation, squash, without_peepholes

from gatecheck.budgets import case_budget
from gatecheck.cases import Case
from gatecheck.cells import Array, block
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


GRID = np.linspace(-30, 30, 121)
"""Arguments at which activations are measured; half steps are exact in every dtype."""


def _alone(case: Case, gate: str) -> tuple[Case, str]:
    """One step in which the unit j shows the activation of `gate` at GRID[j], all weights being zero, and the state that shows it."""
    n, cell = len(GRID), case.cell
    arrays: dict[str, Array] = {k: np.zeros(shape) for k, shape in cell.param_shapes(case.sizes.D, n).items()}
    arrays |= {"x": case["x"][:1, :1]} | {f"{k}0": np.zeros((1, n)) for k in cell.state}

    def bias(of: str, value: float | Array) -> None:
        if of in cell.gates:
            block(cell, arrays["b"], of)[...] = value

    shown = "cT" if gate in ("i", "f", "g") else "hT"
    if "update_gate" in cell.traits:
        bias("z", OPEN)
        if gate == "z":
            bias("n", OPEN)
        elif gate == "r":  # h' = tanh(r h) at h = 1
            block(cell, arrays["U"], "n")[...] = np.eye(n)
            arrays["h0"] = np.ones((1, n))
    elif gate == "f":
        bias("i", SHUT)
        arrays["c0"] = np.ones((1, n))
    elif "cell_state" in cell.traits:
        bias("f", SHUT)
        bias("i", OPEN)
        bias("g", OPEN)
    bias(gate, GRID)
    return case.having(**dict.fromkeys(("dy", "dhT", "dcT"))).having(**arrays), shown


@claim(needs={"unclipped"}, varies="TBH")
def activations_are_accurate(implementation: Subject, case: Case) -> Evidence:
    """Every activation is accurate from -30 to 30, one at a time: with zero weights its argument is a bias.

    An RNN's h is φ(b_n). In a GRU h' = z where n = 1 and h = 0, h' = n where z = 1, and tanh(r) where z = h = 1 and U_n = I. In an LSTM
    c' = i, f or g where the other two are 0 or 1, and h' = o tanh(1) where c' = 1. The values are SciPy's and NumPy's.
    """
    seen = Evidence()
    for gate in case.cell.gates:
        alone, shown = _alone(without_peepholes(case), gate)
        if gate in case.cell.sigmoid_gates:
            value = squash(case.cell, GRID + (case.cell.forget_bias if gate == "f" else 0.0))
            value = {"r": np.tanh(value), "o": value * np.tanh(1.0)}.get(gate, value)
        else:
            value = activation(case.cell)(GRID)
        got = implementation.forward(alone)[shown]
        name = f"activation of {gate} from -30 to 30"
        seen += agree(case.cell, {name: got}, {name: value[None]}, {name: case_budget(alone).tolerance[shown]})
    return seen
