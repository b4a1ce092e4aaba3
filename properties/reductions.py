"""Properties of special cases: shut or open gates turn one cell into another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gatecheck.properties.gates import OPEN, SHUT, activation, gate_sigmoid, without_peepholes

from gatecheck.cases import Case
from gatecheck.cells import RNN, Cell
from gatecheck.cells.gate_blocks import block, join, split
from gatecheck.checking.budgets import case_budget, forward_budget, reference_results
from gatecheck.checking.evidence import Evidence, check_agreement, check_consistency, check_identity
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject, subject
from gatecheck.kernels import Builtin


def _plain_rnn(case: Case) -> Case:
    """Return the RNN that a GRU becomes at z = r = 1.

    It has the candidate's blocks, with their two biases added.
    """
    params = {k: block(case.cell, case[k], "n") for k in ("W", "U", "b")}
    if case.cell.reset == "after":
        params["b"] = params["b"] + case["c_n"]
    rest = {k: v for k, v in case.arrays.items() if k not in case.params}
    return Case(RNN(), {k: np.array(v) for k, v in {**params, **rest}.items()}, case.origin)


def _embed_in_gru(case: Case, results: Results) -> Results:
    """Return an RNN's results as the GRU's: other gates' gradients are zero."""
    out = dict(results)
    for k in ("W", "U", "b"):
        if f"d{k}" in results:
            padded = np.zeros(case[k].shape, results[f"d{k}"].dtype)
            block(case.cell, padded, "n")[...] = results[f"d{k}"]
            out[f"d{k}"] = padded
    if case.cell.reset == "after" and "db" in results:
        out["dc_n"] = results["db"]
    return out


@property_check(needs={"update_gate"}, reference=True)
def update_gate_of_ones_is_plain_rnn(implementation: Subject, case: Case) -> Evidence:
    """An update gate of ones, with an open reset gate, makes a GRU the plain RNN.

    h' = tanh(x W_n + h U_n + b_n + c_n), in its outputs and in every gradient; those of the gates'
    own parameters are zero. Bit for bit where that is promised (c_n = 0).
    """
    ones = case.with_gate("z", OPEN).with_gate("r", OPEN)
    tolerance = case_budget(ones).tolerance
    evidence = check_agreement(
        case.cell,
        implementation.run(ones),
        _embed_in_gru(case, reference_results(_plain_rnn(ones))),
        tolerance,
    )
    if "bitwise" in implementation.abilities:
        if case.cell.reset == "after":
            ones = ones.replace(c_n=np.zeros(case.sizes.H))
        rnn = subject(Builtin(RNN())).run(_plain_rnn(ones))
        evidence += check_identity(case.cell, implementation.run(ones), _embed_in_gru(case, rnn))
    return evidence


@property_check(needs={"update_gate"})
def update_gate_of_zeros_copies(implementation: Subject, case: Case) -> Evidence:
    """An update gate of zeros makes a GRU copy its state: y_t = h_0 at every step.

    ∂h_T/∂h_0 is the identity, so dh_0 = dh_T + Σ_t dy_t, and every other gradient is zero. Bit for
    bit where that is promised.
    """
    copy = case.with_gate("z", SHUT)
    budget = case_budget(copy)
    h0 = case["h0"].astype(float)
    expected: Results = {k: np.zeros_like(v) for k, v in budget.exact.items()}
    expected["y"] = np.broadcast_to(h0, budget.exact["y"].shape)
    expected["hT"] = h0
    expected["dh0"] = case["dhT"].astype(float) + case["dy"].astype(float).sum(0)
    evidence = check_agreement(case.cell, implementation.run(copy), expected, budget.tolerance)
    if "bitwise" in implementation.abilities:
        last_only = copy.replace(dy=None)
        bitwise: Results = {
            "y": np.broadcast_to(case["h0"], expected["y"].shape),
            "dh0": case["dhT"],
        }
        evidence += check_identity(case.cell, implementation.run(last_only), bitwise)
    return evidence


@property_check(needs={"reset_gate"}, varies="T")
def reset_gate_of_zeros_forgets(implementation: Subject, case: Case) -> Evidence:
    """A reset gate of zeros makes the candidate ignore h.

    With an update gate of ones each token is then the first: y_t is the output of a single step
    from the state zero, whatever came before, and dh_0 = 0.
    """
    first = case.with_gate("r", SHUT).with_gate("z", OPEN)
    budget = case_budget(first)
    results = implementation.run(first)
    tokens = [
        implementation.forward(first.replace(x=case["x"][t : t + 1], h0=None, dy=None, dhT=None))[
            "y"
        ][0]
        for t in range(case.sizes.T)
    ]
    return check_consistency(
        case.cell, results, {"y": np.stack(tokens), "dh0": np.zeros(case["h0"].shape)}, budget
    )


@property_check(needs={"cell_state", "unclipped"})
def open_forget_gate_holds_memory(implementation: Subject, case: Case) -> Evidence:
    """f = 1 and i = 0 hold an LSTM's memory: c_T = c_0, and ∂c_T/∂c_0 is the identity.

    With a cotangent of c_T alone, dc_0 = dc_T and every other gradient is zero. Bit for bit where
    that is promised.
    """
    hold = case.with_gate("f", OPEN).replace(dy=None, dhT=None)
    if "independent_gates" in case.cell.traits:
        hold = hold.with_gate("i", SHUT)
    budget = case_budget(hold)
    expected: Results = {k: np.zeros_like(v) for k, v in budget.exact.items() if k.startswith("d")}
    expected |= {"cT": case["c0"].astype(float), "dc0": case["dcT"].astype(float)}
    results = implementation.run(hold)
    evidence = check_agreement(case.cell, results, expected, budget.tolerance)
    if "bitwise" in implementation.abilities:
        evidence += check_identity(case.cell, results, {"cT": case["c0"], "dc0": case["dcT"]})
    return evidence


@property_check(needs={"cell_state"})
def closed_output_gate_gives_zero(implementation: Subject, case: Case) -> Evidence:
    """o = 0 makes h = 0 at every step, and cuts every gradient that enters through h.

    With cotangents of y and h_T alone every gradient is zero.
    """
    silent = case.with_gate("o", SHUT).replace(dcT=None)
    budget = case_budget(silent)
    expected: Results = {k: np.zeros_like(v) for k, v in budget.exact.items() if k != "cT"}
    return check_agreement(case.cell, implementation.run(silent), expected, budget.tolerance)


@property_check(needs={"cell_state"})
def output_gate_folds_into_later_uses(implementation: Subject, case: Case) -> Evidence:
    """The output gate o_{t-1} can be folded into every later use of h_{t-1}.

    An LSTM with a constant output gate o is the LSTM with o = 1, the rows of U multiplied by o and
    h_0 divided by o: its c is the same, its h is o times the other's. Here o is ½ or 1, unit by
    unit, so that both are exact.
    """
    half = np.arange(case.sizes.H) % 2 == case.origin.get("seed", 0) % 2
    gate = np.where(half, 0.5, 1.0)
    constant = (
        without_peepholes(case)
        .with_gate("o", np.where(half, 0.0, OPEN), weights=False)
        .replace(dy=None, dhT=None, dcT=None)
    )
    folded = constant.with_gate("o", OPEN)
    U = constant["U"] * gate[:, None]
    block(case.cell, U, "o")[...] = 0
    folded = folded.replace(U=U, h0=constant["h0"] / gate)
    outputs, other = implementation.forward(constant), implementation.forward(folded)
    # Multiplying by ½ is exact, so both sides carry the same rounding.
    return check_consistency(
        case.cell,
        outputs,
        {"y": other["y"] * gate, "hT": other["hT"] * gate, "cT": other["cT"]},
        forward_budget(constant),
    )


@property_check(varies="T")
def zero_state_hides_recurrent_weights(implementation: Subject, case: Case) -> Evidence:
    """From the state zero, y_1 does not depend on U.

    The gradient of one step with respect to U is zero.
    """
    start = case.replace(x=case["x"][:1], dy=case["dy"][:1], h0=None)
    other = start.replace(U=-2 * case["U"])
    budget = case_budget(start)
    results = implementation.run(start)
    return check_consistency(
        case.cell,
        results,
        implementation.forward(other) | {"dU": np.zeros(case["U"].shape)},
        budget,
    )


@property_check(needs={"unclipped"})
def zero_weights_have_a_closed_form(implementation: Subject, case: Case) -> Evidence:
    """With W = U = 0 every gate is constant and the state follows a geometric series.

    RNN: h_t = φ(b). GRU: h_t = n + (1 - z)^t (h_0 - n). LSTM: c_t = f^t c_0 + i g (1 - f^t)/(1 -
    f), h_t = o tanh(c_t).
    """
    cell = case.cell
    still = without_peepholes(case).replace(W=np.zeros_like(case["W"]), U=np.zeros_like(case["U"]))
    b = {k: block(cell, case["b"], k).astype(float) for k in cell.gates}
    t = np.arange(1, case.sizes.T + 1)[:, None, None]
    h0 = case["h0"].astype(float)
    if "cell_state" in cell.traits:
        f, o = gate_sigmoid(cell, b["f"] + cell.forget_bias), gate_sigmoid(cell, b["o"])
        i = 1 - f if cell.coupled else gate_sigmoid(cell, b["i"])
        # (1 - f^t)/(1 - f) without the cancellation where f is near one
        series = np.cumsum(f ** (t - 1), axis=0)
        c = f**t * case["c0"].astype(float) + i * np.tanh(b["g"]) * series
        expected: Results = {"y": o * np.tanh(c), "cT": c[-1]}
    elif "update_gate" in cell.traits:
        c_n = case["c_n"].astype(float) if cell.reset == "after" else 0.0
        n = np.tanh(b["n"] + gate_sigmoid(cell, b["r"]) * c_n)
        old_share = gate_sigmoid(cell, -b["z"]) ** t
        # and not n + kept (h0 - n), which rounds where all is kept
        expected = {"y": (1 - old_share) * n + old_share * h0}
    else:
        expected = {"y": np.broadcast_to(activation(cell)(b["n"]), (case.sizes.T, *h0.shape))}
    return check_agreement(
        cell, implementation.forward(still), expected, forward_budget(still).tolerance
    )


@property_check(needs={"update_gate"}, varies="T")
def negated_update_gate_swaps_shares(implementation: Subject, case: Case) -> Evidence:
    """Negating the update gate's weights exchanges its two shares.

    h'(z) + h'(1 - z) = n + h, with n = h' at z = 1.
    """
    first = case.replace(x=case["x"][:1], dy=None, dhT=None)
    negated = {k: case[k].copy() for k in ("W", "U", "b")}
    for array in negated.values():
        block(case.cell, array, "z")[...] *= -1
    cases = [first, first.replace(**negated), first.with_gate("z", OPEN)]
    (one, other, n) = (implementation.forward(c)["hT"].astype(float) for c in cases)
    tolerance = sum(forward_budget(c).tolerance["hT"] for c in cases)
    return check_agreement(
        case.cell,
        {"h'(z)": one},
        {"h'(z)": n + case["h0"].astype(float) - other},
        {"h'(z)": np.asarray(tolerance)},
    )


def _without_c_n(case: Case) -> Case:
    return case.replace(c_n=np.zeros(case.sizes.H)) if case.cell.reset == "after" else case


def _results_of_other_reset(case: Case) -> Results:
    """Return the equations' results with the reset on the other side of U_n's product.

    c_n is zero.
    """
    placed = replace(case.cell, reset="before" if case.cell.reset == "after" else "after")
    arrays = {k: v for k, v in case.arrays.items() if k != "c_n"} | (
        {"c_n": np.zeros(case.sizes.H)} if placed.reset == "after" else {}
    )
    other = reference_results(Case(placed, {k: np.array(v, case.dtype) for k, v in arrays.items()}))
    other.pop("dc_n", None)
    return other


@property_check(needs={"reset_gate"}, reference=True)
def open_reset_gate_commutes(implementation: Subject, case: Case) -> Evidence:
    """An open reset gate may come before or after the product with U_n.

    It does not matter at r = 1 (and c_n = 0).
    """
    opened = _without_c_n(case.with_gate("r", OPEN))
    # The gradient of r itself is zero on both sides only because a shut or open sigmoid is flat.
    return check_agreement(
        case.cell,
        implementation.run(opened),
        _results_of_other_reset(opened),
        case_budget(opened).tolerance,
    )


@property_check(needs={"reset_gate"}, reference=True)
def diagonal_recurrence_commutes_with_reset(implementation: Subject, case: Case) -> Evidence:
    """A diagonal U_n commutes with any reset gate: (r ⊙ h) U_n = r ⊙ (h U_n).

    So the reset gate may be on either side, if c_n = 0, in the outputs and in every gradient but
    those of U_n off its diagonal.
    """
    U = case["U"].copy()
    diagonal = np.eye(case.sizes.H, dtype=case.dtype)
    block(case.cell, U, "n")[...] *= diagonal
    commuting = _without_c_n(case.replace(U=U))
    results, other = implementation.run(commuting), _results_of_other_reset(commuting)
    for arrays in (results, other):
        if "dU" in arrays:
            block(case.cell, arrays["dU"], "n")[...] *= diagonal
    return check_agreement(case.cell, results, other, case_budget(commuting).tolerance)


@property_check(needs={"independent_gates", "unclipped"}, reference=True)
def coupled_lstm_is_gru(implementation: Subject, case: Case) -> Evidence:
    """With W_i = -W_f, b_i = -b_f and U = 0 an LSTM's c is a GRU's h at z = i.

    c' = i g + (1 - i) c.
    """
    plain = without_peepholes(case)
    # On this grid the run-time forget bias can be taken away again without rounding.
    plain = plain.replace(b=np.round(case["b"] * 1024) / 1024)
    blocks = split(case.cell, plain.params)
    zero = {f"U_{k}": np.zeros_like(blocks[f"U_{k}"]) for k in "ifgo"}
    opposite = {
        "W_f": -blocks["W_i"],
        "b_f": -blocks["b_i"] - case.dtype.type(case.cell.forget_bias),
    }
    coupled = plain.replace(**join(case.cell, blocks | zero | opposite), dy=None, dhT=None)
    gru = Cell("gru", reset="before", hard=case.cell.hard)
    gates = {"r": "o", "z": "i", "n": "g"}
    params = join(
        gru, {f"{p}_{k}": (blocks | zero)[f"{p}_{gates[k]}"] for p in "WUb" for k in "rzn"}
    )
    arrays = {**params, "x": case["x"], "h0": case["c0"], "dhT": case["dcT"]}
    other = reference_results(Case(gru, {k: np.array(v, case.dtype) for k, v in arrays.items()}))
    expected: Results = {"cT": other["hT"], "dx": other["dx"], "dc0": other["dh0"]}
    return check_agreement(
        case.cell, implementation.run(coupled), expected, case_budget(coupled).tolerance
    )


@property_check(needs={"peepholes"}, reference=True)
def zero_peepholes_give_plain_cell(implementation: Subject, case: Case) -> Evidence:
    """With p = 0 an LSTM with peepholes is the one without.

    This holds for its outputs and for every gradient but that of p.
    """
    none = without_peepholes(case)
    arrays = {k: np.array(v) for k, v in none.arrays.items() if k != "p"}
    plain = Case(replace(case.cell, peepholes=False), arrays, case.origin)
    return check_agreement(
        case.cell, implementation.run(none), reference_results(plain), case_budget(none).tolerance
    )
