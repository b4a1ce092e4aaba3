"""Property of one step: its closed form."""

from __future__ import annotations

import numpy as np
from gatecheck.properties.gates import activation, gate_sigmoid

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import split
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Evidence, check_agreement
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject


def _gate_slope(cell: Cell, gate: Array) -> Array:
    """Return the derivative of a gate by its preactivation, from the gate's value."""
    return gate * (1 - gate) if cell.hard is None else ((gate > 0) & (gate < 1)) / cell.hard


def _rnn_step(cell: Cell, a: Results, p: Results) -> tuple[Results, Results]:
    n = activation(cell)(a["x"] @ p["W_n"] + a["h0"] @ p["U_n"] + p["b_n"])
    slope = {"tanh": 1 - n**2, "relu": n > 0, "sigmoid": n * (1 - n)}[cell.activation]
    return {"hT": n}, {"n": a["dh"] * slope}


def _gru_step(cell: Cell, a: Results, p: Results) -> tuple[Results, Results]:
    x, h = a["x"], a["h0"]
    r, z = (gate_sigmoid(cell, x @ p[f"W_{k}"] + h @ p[f"U_{k}"] + p[f"b_{k}"]) for k in "rz")
    after = cell.reset == "after"
    recurrent = r * (h @ p["U_n"] + p["c_n"]) if after else (r * h) @ p["U_n"]
    n = np.tanh(x @ p["W_n"] + recurrent + p["b_n"])
    dn = a["dh"] * z * (1 - n**2)
    dr = dn * (h @ p["U_n"] + p["c_n"]) if after else dn @ p["U_n"].T * h
    return {"hT": z * n + (1 - z) * h}, {
        "r": dr * _gate_slope(cell, r),
        "z": a["dh"] * (n - h) * _gate_slope(cell, z),
        "n": dn,
    }


def _lstm_step(cell: Cell, a: Results, p: Results) -> tuple[Results, Results]:
    x, h, c0 = a["x"], a["h0"], a["c0"]
    before = {k: x @ p[f"W_{k}"] + h @ p[f"U_{k}"] + p[f"b_{k}"] for k in cell.gates}
    look = {k: p[f"p_{k}"] if cell.peepholes else np.zeros(h.shape[-1]) for k in cell.sigmoid_gates}
    f = gate_sigmoid(cell, before["f"] + look["f"] * c0 + cell.forget_bias)
    i = 1 - f if cell.coupled else gate_sigmoid(cell, before["i"] + look["i"] * c0)
    g = np.tanh(before["g"])
    limit = np.inf if cell.clip is None else cell.clip
    free = f * c0 + i * g
    c = np.clip(free, -limit, limit)
    o = gate_sigmoid(cell, before["o"] + look["o"] * c)
    do = a["dh"] * np.tanh(c) * _gate_slope(cell, o)
    dc = (a["dh"] * o * (1 - np.tanh(c) ** 2) + do * look["o"] + a["dcT"]) * (np.abs(free) < limit)
    delta = {
        "i": dc * g * _gate_slope(cell, i),
        "f": dc * (c0 - g if cell.coupled else c0) * _gate_slope(cell, f),
        "g": dc * i * (1 - g**2),
        "o": do,
    }
    return {"hT": o * np.tanh(c), "cT": c}, delta


@property_check(varies="T")
def one_step_has_a_closed_form(implementation: Subject, case: Case) -> Evidence:
    """One step has a closed form, in its outputs and in its gradients.

    It is φ(a) in an RNN, z n + (1 - z) h in a GRU, o tanh(f c + i g) in an LSTM. With δ the
    gradient of the preactivations, by the chain rule through one step, db = Σ δ, dW = xᵀ δ, dx = δ
    Wᵀ. All is written out in NumPy, apart from any sequence.
    """
    first = case.replace(x=case["x"][:1], dy=case["dy"][:1])
    a, cell = first.as_float64(), case.cell
    a |= {"x": a["x"][0], "dh": a["dy"][0] + a["dhT"]}
    step = (
        _gru_step
        if "update_gate" in cell.traits
        else _lstm_step
        if "cell_state" in cell.traits
        else _rnn_step
    )
    states, deltas = step(cell, a, split(cell, {k: a[k] for k in case.params}))
    delta = np.concatenate([deltas[k] for k in cell.gates], axis=-1)
    expected = states | {
        "y": states["hT"][None],
        "db": delta.sum(0),
        "dW": a["x"].T @ delta,
        "dx": (delta @ a["W"].T)[None],
    }
    return check_agreement(cell, implementation.run(first), expected, case_budget(first).tolerance)
