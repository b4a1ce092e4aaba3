"""Claims about values: what is computed is what the equations say, to the precision of the
arithmetic.
"""

from __future__ import annotations

import numpy as np
from gatecheck.properties.gates import OPEN, SHUT, activation, squash, without_peepholes

from gatecheck._util.typing import Array
from gatecheck.cases import STATES, Case, draw
from gatecheck.cells.gate_blocks import block
from gatecheck.checking.budgets import case_budget, forward_budget
from gatecheck.checking.evidence import Evidence, agree, consistent, require
from gatecheck.checking.registry import claim
from gatecheck.implementation import Results, Subject
from gatecheck.oracles.rounding import PRECISIONS


@claim(cases="any", reference=True, anywhere=True)
def forward_within_budget(implementation: Subject, case: Case) -> Evidence:
    """y, h_T and c_T are those of the cell's equations, within the rounding that correct code may
    show.

    The equations run in float64, and once more in replicates with every operation perturbed by its
    own rounding in the dtype of the case; the budget is eight times the spread of the replicates.
    """
    budget = case_budget(case)
    return agree(case.cell, implementation.forward(case), budget.exact, budget.tolerance)


@claim(needs={"own_weights"}, varies="DH", reference=True, anywhere=True)
def own_weights_within_budget(implementation: Subject, case: Case) -> Evidence:
    """With the weights that the implementation carries, such as those in a model's file, outputs
    are those of the cell's equations.

    Inputs and states are drawn as for all others. Trained weights may be such as no regime draws:
    large, dead, or far from centred.
    """
    weights = implementation.own_weights
    sizes = case.sizes._replace(
        D=weights["W"].shape[0], H=weights["b"].shape[0] // len(case.cell.gates)
    )
    own = draw(
        case.cell, sizes, seed=int(case.origin.get("seed", 0)), dtype=case.dtype.name
    ).having(**weights)
    budget = forward_budget(own)
    return agree(case.cell, implementation.forward(own), budget.exact, budget.tolerance)


@claim(cases="long", reference=True, anywhere=True)
def long_sequences_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Over a hundred steps, with gates that keep, outputs and gradients are still those of the
    equations.

    The cotangents are those of the last state alone. The gates are slow, so that the gradient at
    the longest lag is not lost in rounding: a backward that is truncated half-way is then wrong in
    every step before.
    """
    last = case.having(dy=None)
    budget = case_budget(last)
    return agree(case.cell, implementation.run(last), budget.exact, budget.tolerance)


@claim(needs={"one_way"}, anywhere=True)
def nan_stays_nan_in_its_row(implementation: Subject, case: Case) -> Evidence:
    """A NaN in an input makes every later output of its row NaN, and touches nothing before it nor
    any other row.
    """
    t, b = case.sizes.T // 2, case.sizes.B // 2
    x = case["x"].copy()
    x[t, b, 0] = np.nan
    with np.errstate(invalid="ignore"):
        got = implementation.forward(case.having(x=x))["y"]
    seen = require(
        bool(np.isnan(got[t:, b]).all()),
        f"a NaN in x[{t}, {b}, 0] became a number in a later output of that row",
    )
    others = np.delete(got, b, axis=1)
    seen += require(not np.isnan(others).any(), f"a NaN in x[{t}, {b}, 0] reached another row")
    return seen + require(
        not np.isnan(got[:t]).any(), f"a NaN in x[{t}, {b}, 0] reached an earlier output"
    )


@claim(needs={"bounded"})
def infinity_gives_its_limit(implementation: Subject, case: Case) -> Evidence:
    """An infinite input saturates what it enters, as a very large one does: no NaN, and the same
    outputs.

    All weights of the infinite entry are at least a thousandth here, so that its preactivations are
    infinite too.
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
    return consistent(case.cell, got, implementation.forward(huge), forward_budget(huge))


def _saturated(case: Case) -> Results:
    """The outputs where every gate is 0 or 1 and every candidate at an end of φ, by the sign of the
    first input's weights.
    """
    cell, a = case.cell, case.doubles()
    pushed = {k: a["x"][..., :1] * block(cell, a["W"], k)[0] for k in cell.gates}
    ends = {
        k: (v > 0).astype(float) if k in cell.sigmoid_gates else activation(cell)(np.inf * v)
        for k, v in pushed.items()
    }
    h, c, y = a["h0"], a.get("c0", a["h0"]), []
    for t in range(case.sizes.T):
        now = {k: v[t] for k, v in ends.items()}
        if "update_gate" in cell.traits:
            h = np.where(now["z"] > 0, now["n"], h)
        elif "cell_state" in cell.traits:
            c = now["f"] * c + now.get("i", 1 - now["f"]) * now["g"]
            c = c if cell.clip is None else np.clip(c, -cell.clip, cell.clip)
            h = now["o"] * np.tanh(c)
        else:
            h = now["n"]
        y.append(h)
    return {"y": np.stack(y), "hT": h} | ({"cT": c} if "cell_state" in cell.traits else {})


@claim(needs={"bounded"})
def huge_inputs_saturate(implementation: Subject, case: Case) -> Evidence:
    """Preactivations from ±1e3 to ±1e30 put every gate at 0 or 1 and every candidate at its limit;
    no gradient is NaN.

    What is left is arithmetic of zeros and ones. A tanh that is written as (exp(2a) - 1)/(exp(2a) +
    1) yields NaN there.
    """
    W = case["W"].copy()
    W[0] = np.where(np.abs(W[0]) < 0.1, 0.1, W[0])
    seen = Evidence()
    for size in (1e4, 1e30):
        x = np.zeros_like(case["x"])
        x[..., 0] = np.where(case["x"][..., 0] < 0, -size, size)
        huge = case.having(x=x, W=W)
        with np.errstate(over="ignore"):
            got = implementation.run(huge)
        for name, value in got.items():
            require(
                np.isfinite(value).all(), f"{name} is not finite at preactivations of {size:.0e}"
            )
        seen += agree(case.cell, got, _saturated(huge), forward_budget(huge).tolerance)
    return seen


@claim(reference=True, anywhere=True)
def subnormal_inputs_are_numbers(implementation: Subject, case: Case) -> Evidence:
    """Inputs and states below the smallest normal number give the outputs of the equations, and no
    result is NaN or infinite.

    Whether subnormal numbers are kept or flushed to zero is left open: they are less than the
    tolerance. Tried with biases, which hide them, and without, where nothing in the cell is larger.
    """
    small = PRECISIONS[case.dtype.name].tiny / 64
    biased = case.having(
        **{k: case[k] * case.dtype.type(small) for k in ("x", *STATES) if k in case.arrays}
    )
    bare = biased.having(**{k: np.zeros_like(v) for k, v in case.params.items() if v.ndim == 1})
    for tried in (biased, bare):
        for name, value in implementation.run(tried).items():
            require(
                np.isfinite(value).all(), f"{name} is not finite where the inputs are subnormal"
            )
    budget = forward_budget(biased)
    seen = agree(case.cell, implementation.forward(biased), budget.exact, budget.tolerance)
    budget = forward_budget(bare)
    for name, value in implementation.forward(bare).items():
        # As small as their tolerance, these are no blocks that `agree` would judge.
        apart = np.abs(value.astype(float) - budget.exact[name])
        seen += require(
            (apart <= budget.tolerance[name]).all(),
            f"{name} is off by {apart.max():.3g} where the inputs are subnormal",
        )
    return seen


GRID = np.linspace(-30, 30, 121)
"""Arguments at which activations are measured; half steps are exact in every dtype."""


def _alone(case: Case, gate: str) -> tuple[Case, str]:
    """One step in which the unit j shows the activation of `gate` at GRID[j], all weights being
    zero, and the state that shows it.
    """
    n, cell = len(GRID), case.cell
    arrays: dict[str, Array] = {
        k: np.zeros(shape) for k, shape in cell.param_shapes(case.sizes.D, n).items()
    }
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
    """Every activation is accurate from -30 to 30, one at a time: with zero weights its argument is
    a bias.

    An RNN's h is φ(b_n). In a GRU h' = z where n = 1 and h = 0, h' = n where z = 1, and tanh(r)
    where z = h = 1 and U_n = I. In an LSTM c' = i, f or g where the other two are 0 or 1, and h' =
    o tanh(1) where c' = 1. The values are SciPy's and NumPy's.
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
        seen += agree(
            case.cell,
            {name: got},
            {name: value[None]},
            {name: forward_budget(alone).tolerance[shown]},
        )
    return seen
