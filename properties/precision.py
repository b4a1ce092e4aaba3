"""Properties of values: results are the equations', to the dtype's precision."""

from __future__ import annotations

import numpy as np
from gatecheck.properties.gates import OPEN, SHUT, activation, gate_sigmoid, without_peepholes

from gatecheck._util.typing import Array
from gatecheck.cases import STATES, Case, draw
from gatecheck.cells.gate_blocks import block
from gatecheck.checking.budgets import big_budget, case_budget, edge_units, forward_budget
from gatecheck.checking.evidence import Evidence, check_agreement, check_consistency, require
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject
from gatecheck.oracles.noise.precision import PRECISIONS


@property_check(cases="any", reference=True, anywhere=True)
def forward_within_budget(implementation: Subject, case: Case) -> Evidence:
    """y, h_T and c_T are those of the cell's equations, within their rounding budgets.

    The equations run in float64, and again in replicates with every operation perturbed by its own
    rounding in the dtype of the case; the budget, the rounding that correct code may show, is eight
    times the spread of the replicates.
    """
    budget = case_budget(case)
    return check_agreement(case.cell, implementation.forward(case), budget.exact, budget.tolerance)


@property_check(needs={"own_weights"}, varies="DH", reference=True, anywhere=True)
def own_weights_within_budget(implementation: Subject, case: Case) -> Evidence:
    """With the implementation's own weights, outputs are those of the equations.

    They are the weights that it comes with, such as those in a model's file. Inputs and states are
    drawn as for all others. Trained weights may be such as no regime draws: large, dead, or far
    from centered.
    """
    weights = implementation.own_weights
    sizes = case.sizes._replace(
        D=weights["W"].shape[0], H=weights["b"].shape[0] // len(case.cell.gates)
    )
    own = draw(
        case.cell, sizes, seed=int(case.origin.get("seed", 0)), dtype=case.dtype.name
    ).replace(**weights)
    budget = forward_budget(own)
    return check_agreement(case.cell, implementation.forward(own), budget.exact, budget.tolerance)


@property_check(cases="long", reference=True, anywhere=True)
def long_sequences_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Over a hundred steps, outputs and gradients are those of the equations.

    The cotangents are those of the last state alone. The gates keep, so that the gradient at the
    longest lag is not lost in rounding: a backward that is truncated half-way is then wrong in
    every step before.
    """
    last = case.replace(dy=None)
    budget = case_budget(last)
    return check_agreement(case.cell, implementation.run(last), budget.exact, budget.tolerance)


@property_check(cases="big", reference=True, anywhere=True)
def big_sizes_within_budget(implementation: Subject, case: Case) -> Evidence:
    """With many steps, rows, inputs or units, results are those of the equations.

    There are powers of two of them, from 32 on, or one more or less: there vectors, blocks and
    buffers end. Of the gradient of U the rows of the first, middle and last unit are judged.
    """
    budget = big_budget(case)
    results = {
        k: v[edge_units(len(v))] if k.partition(".")[0] == "dU" else v
        for k, v in implementation.run(case).items()
    }
    return check_agreement(case.cell, results, budget.exact, budget.tolerance)


@property_check(needs={"unidirectional"}, anywhere=True)
def nan_propagates_within_its_row(implementation: Subject, case: Case) -> Evidence:
    """A NaN in an input makes every later output of its row NaN, and nothing else.

    It affects nothing before it, and no other row.
    """
    t, b = case.sizes.T // 2, case.sizes.B // 2
    x = case["x"].copy()
    x[t, b, 0] = np.nan
    with np.errstate(invalid="ignore"):
        y = implementation.forward(case.replace(x=x))["y"]
    evidence = require(
        bool(np.isnan(y[t:, b]).all()),
        f"a NaN in x[{t}, {b}, 0] became a number in a later output of that row",
    )
    others = np.delete(y, b, axis=1)
    evidence += require(not np.isnan(others).any(), f"a NaN in x[{t}, {b}, 0] reached another row")
    return evidence + require(
        not np.isnan(y[:t]).any(), f"a NaN in x[{t}, {b}, 0] reached an earlier output"
    )


@property_check(needs={"bounded"})
def infinite_inputs_saturate(implementation: Subject, case: Case) -> Evidence:
    """An infinite input saturates what it enters, as a very large one does.

    There is no NaN, and the outputs are the same. All weights of the infinite entry are at least a
    thousandth here, so that its preactivations are infinite too.
    """
    x = case["x"].copy()
    W = case["W"].copy()
    W[0] = np.where(np.abs(W[0]) < 1e-3, 1e-3, W[0])
    x[0, :, 0] = np.inf
    large = x.copy()
    large[0, :, 0] = 1e8
    huge = case.replace(x=large, W=W)
    with np.errstate(invalid="ignore", over="ignore"):
        outputs = implementation.forward(case.replace(x=x, W=W))
    return check_consistency(case.cell, outputs, implementation.forward(huge), forward_budget(huge))


def _saturated_outputs(case: Case) -> Results:
    """Return the outputs with every gate at 0 or 1, every candidate at an end of φ.

    The signs of the first input's weights decide which.
    """
    cell, a = case.cell, case.as_float64()
    drive = {k: a["x"][..., :1] * block(cell, a["W"], k)[0] for k in cell.gates}
    ends = {
        k: (v > 0).astype(float) if k in cell.sigmoid_gates else activation(cell)(np.inf * v)
        for k, v in drive.items()
    }
    h, c, y = a["h0"], a.get("c0", a["h0"]), []
    for t in range(case.sizes.T):
        step = {k: v[t] for k, v in ends.items()}
        if "update_gate" in cell.traits:
            h = np.where(step["z"] > 0, step["n"], h)
        elif "cell_state" in cell.traits:
            c = step["f"] * c + step.get("i", 1 - step["f"]) * step["g"]
            c = c if cell.clip is None else np.clip(c, -cell.clip, cell.clip)
            h = step["o"] * np.tanh(c)
        else:
            h = step["n"]
        y.append(h)
    return {"y": np.stack(y), "hT": h} | ({"cT": c} if "cell_state" in cell.traits else {})


@property_check(needs={"bounded"})
def huge_inputs_saturate(implementation: Subject, case: Case) -> Evidence:
    """Preactivations from ±1e3 to ±1e30 saturate every gate and every candidate.

    Gates are 0 or 1, candidates are at their limits, and no gradient is NaN. What is left is
    arithmetic of zeros and ones. A tanh that is written as (exp(2a) - 1)/(exp(2a) + 1) yields NaN
    there.
    """
    W = case["W"].copy()
    W[0] = np.where(np.abs(W[0]) < 0.1, 0.1, W[0])
    evidence = Evidence()
    for size in (1e4, 1e30):
        x = np.zeros_like(case["x"])
        x[..., 0] = np.where(case["x"][..., 0] < 0, -size, size)
        huge = case.replace(x=x, W=W)
        with np.errstate(over="ignore"):
            results = implementation.run(huge)
        for name, value in results.items():
            require(
                np.isfinite(value).all(), f"{name} is not finite at preactivations of {size:.0e}"
            )
        evidence += check_agreement(
            case.cell, results, _saturated_outputs(huge), forward_budget(huge).tolerance
        )
    return evidence


@property_check(reference=True, anywhere=True)
def subnormal_inputs_are_numbers(implementation: Subject, case: Case) -> Evidence:
    """Inputs and states below the smallest normal number give the equations' outputs.

    No result is NaN or infinite. Subnormal numbers may be kept or flushed to zero: they are less
    than the tolerance. Tried with biases, which hide them, and without, where nothing in the cell
    is larger.
    """
    small = PRECISIONS[case.dtype.name].tiny / 64
    biased = case.replace(
        **{k: case[k] * case.dtype.type(small) for k in ("x", *STATES) if k in case.arrays}
    )
    bare = biased.replace(**{k: np.zeros_like(v) for k, v in case.params.items() if v.ndim == 1})
    for variant in (biased, bare):
        for name, value in implementation.run(variant).items():
            require(
                np.isfinite(value).all(), f"{name} is not finite where the inputs are subnormal"
            )
    budget = forward_budget(biased)
    evidence = check_agreement(
        case.cell, implementation.forward(biased), budget.exact, budget.tolerance
    )
    budget = forward_budget(bare)
    for name, value in implementation.forward(bare).items():
        # `agree` would not judge blocks that are as small as their tolerance.
        error = np.abs(value.astype(float) - budget.exact[name])
        evidence += require(
            (error <= budget.tolerance[name]).all(),
            f"{name} is off by {error.max():.3g} where the inputs are subnormal",
        )
    return evidence


GRID = np.linspace(-30, 30, 121)
"""Arguments at which activations are measured.

Half steps are exact in every dtype.
"""


def _isolated_activation(case: Case, gate: str) -> tuple[Case, str]:
    """Return one step in which unit j shows the activation of `gate` at GRID[j].

    All weights are zero. The second value is the name of the state that shows it.
    """
    n, cell = len(GRID), case.cell
    arrays: dict[str, Array] = {
        k: np.zeros(shape) for k, shape in cell.param_shapes(case.sizes.D, n).items()
    }
    arrays |= {"x": case["x"][:1, :1]} | {f"{k}0": np.zeros((1, n)) for k in cell.state}

    def bias(name: str, value: float | Array) -> None:
        if name in cell.gates:
            block(cell, arrays["b"], name)[...] = value

    state = "cT" if gate in ("i", "f", "g") else "hT"
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
    return case.replace(**dict.fromkeys(("dy", "dhT", "dcT"))).replace(**arrays), state


@property_check(needs={"unclipped"}, varies="TBH")
def activations_are_accurate(implementation: Subject, case: Case) -> Evidence:
    """Every activation is accurate from -30 to 30, one at a time.

    With zero weights its argument is a bias. An RNN's h is φ(b_n). In a GRU h' = z where n = 1 and
    h = 0, h' = n where z = 1, and tanh(r) where z = h = 1 and U_n = I. In an LSTM c' = i, f or g
    where the other two are 0 or 1, and h' = o tanh(1) where c' = 1. The values are SciPy's and
    NumPy's.
    """
    evidence = Evidence()
    for gate in case.cell.gates:
        isolated, state = _isolated_activation(without_peepholes(case), gate)
        if gate in case.cell.sigmoid_gates:
            value = gate_sigmoid(case.cell, GRID + (case.cell.forget_bias if gate == "f" else 0.0))
            value = {"r": np.tanh(value), "o": value * np.tanh(1.0)}.get(gate, value)
        else:
            value = activation(case.cell)(GRID)
        result = implementation.forward(isolated)[state]
        name = f"activation of {gate} from -30 to 30"
        evidence += check_agreement(
            case.cell,
            {name: result},
            {name: value[None]},
            {name: forward_budget(isolated).tolerance[state]},
        )
    return evidence
