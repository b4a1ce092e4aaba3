"""Properties of gates: where they lie, and how they share the memory or do not.

A gate can be measured from outside, as a slope of the state that it multiplies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import block, peephole
from gatecheck.checking.budgets import forward_budget
from gatecheck.checking.evidence import Evidence, check_agreement, require
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject
from gatecheck.oracles.noise.precision import PRECISIONS

SHUT, OPEN = -1000.0, 1000.0
"""Biases at which a sigmoid is exactly 0 and exactly 1 in every dtype."""

GateMeasurement = tuple[Array, Array]
"""Value ``(B, H)`` of a gate, and the rounding that the measurement may carry."""


def first_step(case: Case) -> Case:
    """Return the first step alone, without cotangents."""
    return case.replace(x=case["x"][:1], dy=None, dhT=None, dcT=None)


def gate_sigmoid(cell: Cell, a: Array) -> Array:
    """Apply a cell's gate activation: the logistic sigmoid, or a hard one."""
    value: Array = expit(a) if cell.hard is None else np.clip(a / cell.hard + 0.5, 0, 1)
    return value


def activation(cell: Cell) -> Callable[[Array], Array]:
    """Return the activation of a cell's candidate, or of a plain cell's state."""
    functions: dict[str, Callable[[Array], Array]] = {
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "sigmoid": expit,
    }
    return functions[cell.activation]


def without_peepholes(case: Case) -> Case:
    """Return the case with peephole weights of zero, if it has any."""
    return case.replace(p=np.zeros_like(case["p"])) if case.cell.peepholes else case


def _state(implementation: Subject, case: Case, name: str) -> GateMeasurement:
    return implementation.forward(case)[name].astype(float), forward_budget(case).tolerance[name]


def _difference_quotient(
    implementation: Subject, high: Case, low: Case, name: str, gap: float
) -> GateMeasurement:
    (a, tol_a), (b, tol_b) = _state(implementation, high, name), _state(implementation, low, name)
    return (a - b) / gap, (tol_a + tol_b) / gap


def _measure_update_gate(implementation: Subject, case: Case) -> GateMeasurement:
    """Measure z: h'(n = 1) - h'(n = -1) = 2 z."""
    return _difference_quotient(
        implementation, case.with_gate("n", OPEN), case.with_gate("n", SHUT), "hT", 2
    )


def _measure_reset_gate(implementation: Subject, case: Case) -> GateMeasurement:
    """Measure r: with z = 1 and U_n the identity, h' = tanh(r h).

    The reset may be on either side of the product.
    """
    H = case.sizes.H
    plain = case.with_gate("n", 0, weights=False).with_gate("z", OPEN)
    U = plain["U"].copy()
    block(case.cell, U, "n")[...] = np.eye(H)
    # well away from 0, where r could not be seen, and from where tanh is flat
    h0 = np.where(case["h0"] < 0, -0.5, 0.5)
    no_c_n = {"c_n": np.zeros(H)} if case.cell.reset == "after" else {}
    y, tol = _state(implementation, plain.replace(U=U, h0=h0, **no_c_n), "hT")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arctanh(y) / h0, tol / (1 - y**2) / np.abs(h0)


def _measure_input_gate(implementation: Subject, case: Case) -> GateMeasurement:
    """Measure i: c'(g = 1) - c'(g = -1) = 2 i."""
    return _difference_quotient(
        implementation, case.with_gate("g", OPEN), case.with_gate("g", SHUT), "cT", 2
    )


def _measure_forget_gate(implementation: Subject, case: Case) -> GateMeasurement:
    """Measure f: c'(g = 0) = f c, at c = 1."""
    reading = case.with_gate("g", 0, weights=False).replace(c0=np.ones_like(case["c0"]))
    return _state(implementation, reading, "cT")


def _measure_output_gate(implementation: Subject, case: Case) -> GateMeasurement:
    """Measure o: with c' = 1 · 1 + f · 0 the output is o tanh(1)."""
    writing = case.with_gate("f", SHUT) if case.cell.coupled else case.with_gate("i", OPEN)
    h, tol = _state(
        implementation, writing.with_gate("g", OPEN).replace(c0=np.zeros_like(case["c0"])), "hT"
    )
    return h / np.tanh(1), tol / np.tanh(1)


MEASURE: dict[str, Callable[[Subject, Case], GateMeasurement]] = {
    "z": _measure_update_gate,
    "r": _measure_reset_gate,
    "i": _measure_input_gate,
    "f": _measure_forget_gate,
    "o": _measure_output_gate,
}


def _gate_from_equations(case: Case, gate: str, h: Array) -> Array:
    """Return the gate's exact value in the step by which it is measured."""
    a = case.as_float64()
    W, U, b = (block(case.cell, a[k], gate) for k in ("W", "U", "b"))
    preactivation = (
        a["x"][0] @ W + h.astype(float) @ U + b + (case.cell.forget_bias if gate == "f" else 0.0)
    )
    if case.cell.peepholes:
        preactivation = preactivation + peephole(case.cell, a["p"], gate) * (
            a["c0"] if gate == "i" else 1.0
        )
    return gate_sigmoid(case.cell, preactivation)


@property_check(needs={"gated", "unclipped"}, varies="T")
def gates_in_unit_interval(implementation: Subject, case: Case) -> Evidence:
    """Every gate lies in (0, 1); a hard sigmoid in [0, 1].

    A gate is a sigmoid layer, 0 < σ(a) < 1. It is measured from outside: an LSTM's f is c' at c = 1
    and g = 0, its i half of c'(g = 1) - c'(g = -1), its o is h'/tanh(1) at c' = 1; a GRU's z is
    half of h'(n = 1) - h'(n = -1), its r is artanh(h')/h where h' = tanh(r h). In floating point a
    saturated σ rounds to exactly 0 or 1, so the interval is closed there; it is never left.
    `gatecheck prove` proves the theorem of the equations, for all inputs.
    """
    first = first_step(case)
    evidence = Evidence()
    for gate in case.cell.sigmoid_gates:
        value, tol = MEASURE[gate](implementation, first)
        if not np.isfinite(tol).all() or tol.max(initial=0) > 0.25:
            evidence += Evidence(inconclusive=1)
            continue
        outside = np.maximum(-value, value - 1)
        ratio = float((outside / tol).max(initial=0)) if np.isfinite(value).all() else np.inf
        where = np.unravel_index(np.argmax(outside), outside.shape)
        spot = f"gate {gate}[row {where[0]}, unit {where[1]}] is {value[where]:.9g}"
        require(ratio <= 1, f"{spot}, but should lie in [0, 1] (± {tol[where]:.1e})")
        h = np.where(case["h0"] < 0, -0.5, 0.5) if gate == "r" else case["h0"]
        ideal = _gate_from_equations(first, gate, h)
        strict = np.minimum(ideal, 1 - ideal) > 2 * tol
        inside = (value > 0) & (value < 1)
        require(
            (inside | ~strict).all(),
            f"gate {gate} reaches the end of its interval although its preactivation is small",
        )
        evidence += Evidence(max(ratio, 0.0), 1)
    return evidence


@property_check(needs={"gated", "unclipped"}, varies="T")
def saturated_gates_are_exactly_0_or_1(implementation: Subject, case: Case) -> Evidence:
    """A gate of bias -1000 is exactly 0 and one of bias 1000 exactly 1, never NaN.

    This holds in floating point, whatever its weights. exp(1000) overflows in every dtype; a σ that
    is written as exp(a)/(1 + exp(a)) yields NaN there.
    """
    first = first_step(case)
    evidence = Evidence()
    for gate in case.cell.sigmoid_gates:
        for bias, end in ((SHUT, 0.0), (OPEN, 1.0)):
            value, tol = MEASURE[gate](implementation, first.with_gate(gate, bias))
            # A measurement through a chaotic or huge state cannot distinguish 0 from 1.
            if not np.isfinite(tol).all() or tol.max(initial=0) > 0.25:
                evidence += Evidence(inconclusive=1)
                continue
            evidence += check_agreement(
                case.cell,
                {gate: value},
                {gate: np.full_like(value, end)},
                {gate: np.minimum(tol, 0.25)},
            )
    return evidence


@property_check(needs={"complementary_gates", "unclipped"})
def update_is_convex_combination(implementation: Subject, case: Case) -> Evidence:
    """A candidate that equals the state leaves it as it is, whatever the gate.

    n = h implies h' = h in a GRU, since the two shares z and 1 - z sum to one. The candidate is
    tanh(b_n) here, its weights being zero, and h_0 the same. In an LSTM with coupled gates the same
    holds of g and c.
    """
    candidate, state, output = (
        ("n", "h0", "y") if "update_gate" in case.cell.traits else ("g", "c0", "cT")
    )
    still = case.with_gate(candidate, block(case.cell, case["b"], candidate), weights=False)
    still = still.replace(**({"c_n": np.zeros(case.sizes.H)} if case.cell.reset == "after" else {}))
    value = np.tanh(block(case.cell, case["b"], candidate).astype(float))
    rows = np.broadcast_to(value, case[state].shape)
    still = still.replace(**{state: rows}, dy=None, dhT=None, dcT=None)
    result = implementation.forward(still)[output]
    # The state is tanh(b) rounded to the dtype, which the mix with the candidate may undo at any
    # step.
    tolerance = forward_budget(still).tolerance[output] + PRECISIONS[case.dtype.name].u
    return check_agreement(
        case.cell,
        {output: result},
        {output: np.broadcast_to(rows, result.shape)},
        {output: tolerance},
    )


@property_check(needs={"hard_gates", "unclipped"}, varies="T")
def hard_gates_are_piecewise_linear(implementation: Subject, case: Case) -> Evidence:
    """A hard sigmoid of width w is a line from 0 at -w/2 to 1 at w/2.

    It is 0 at -w/2, ¼ at -w/4, ½ at 0, ¾ at w/4 and 1 at w/2: its interval is closed.
    """
    first = without_peepholes(first_step(case))
    evidence = Evidence()
    for gate in case.cell.sigmoid_gates:
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            bias = (share - 0.5) * (case.cell.hard or 0) - (
                case.cell.forget_bias if gate == "f" else 0.0
            )
            value, tol = MEASURE[gate](implementation, first.with_gate(gate, bias, weights=False))
            evidence += check_agreement(
                case.cell, {gate: value}, {gate: np.full_like(value, share)}, {gate: tol}
            )
    return evidence


@property_check(needs={"clipped"})
def cell_state_stays_within_clip(implementation: Subject, case: Case) -> Evidence:
    """|c_t| ≤ clip at every step, exactly, and so |h_t| ≤ tanh(clip), within rounding.

    c_0 itself may lie beyond.
    """
    clip = case.cell.clip or np.inf
    results = implementation.forward(case.replace(c0=3 * case["c0"]))
    evidence = require(
        bool((np.abs(results["cT"]) <= clip).all()),
        f"|cT| reaches {np.abs(results['cT']).max():.9g}, but c is clipped to {clip:g}",
    )
    limit = np.tanh(clip) + 16 * PRECISIONS[case.dtype.name].u
    return evidence + require(
        bool((np.abs(results["y"]) <= limit).all()),
        f"|y| reaches {np.abs(results['y']).max():.9g}, more than tanh({clip:g})",
    )


@property_check(needs={"independent_gates", "unclipped"}, varies="T")
def input_and_forget_gates_are_independent(implementation: Subject, case: Case) -> Evidence:
    """An LSTM's input and forget gates are independent of each other.

    (f, i) = (0, 0), (1, 0), (0, 1), (1, 1) give c' = f c + i g. Both shut forget everything, both
    open keep everything and add the candidate; a GRU can do neither.
    """
    first = first_step(case)

    def corner(f: float, i: float) -> GateMeasurement:
        return _state(implementation, first.with_gate("f", f).with_gate("i", i), "cT")

    (none, tol_none), (kept, tol_kept), (new, tol_new), (both, tol_both) = (
        corner(f, i) for f, i in ((SHUT, SHUT), (OPEN, SHUT), (SHUT, OPEN), (OPEN, OPEN))
    )
    c0 = case["c0"].astype(float)
    results: Results = {"c'(f=0,i=0)": none, "c'(f=1,i=0)": kept, "c'(f=1,i=1)": both}
    expected = {"c'(f=0,i=0)": 0 * c0, "c'(f=1,i=0)": c0, "c'(f=1,i=1)": c0 + new}
    tolerance = {
        "c'(f=0,i=0)": tol_none,
        "c'(f=1,i=0)": tol_kept,
        "c'(f=1,i=1)": tol_both + tol_new,
    }
    return check_agreement(case.cell, results, expected, tolerance)


@property_check(needs={"gated", "unclipped"}, varies="T")
def each_gate_has_its_own_weights(implementation: Subject, case: Case) -> Evidence:
    """The value of one gate does not depend on the weights and biases of another."""
    first = first_step(case)
    evidence = Evidence()
    for gate in case.cell.sigmoid_gates:
        others = first
        for k in case.cell.gates:
            if k != gate:
                others = others.replace(
                    **{name: _with_changed_block(others, name, k) for name in ("W", "U", "b")}
                )
        (value, tol), (again, tol_again) = (
            MEASURE[gate](implementation, first),
            MEASURE[gate](implementation, others),
        )
        tolerance = tol + tol_again
        if not np.isfinite(tolerance).all() or tolerance.max(initial=0) > 0.25:
            evidence += Evidence(inconclusive=1)
            continue
        # Two gates differ by at most one: the tolerance is compared with that.
        difference = np.abs(value - again)
        ratio = float(np.max(difference / tolerance, initial=0.0))
        require(
            ratio <= 1,
            f"gate {gate} changes by {difference.max():.3g} (± {tolerance.max():.1e}) "
            "when another gate's weights change",
        )
        evidence += Evidence(ratio, 1)
    return evidence


def _with_changed_block(case: Case, name: str, gate: str) -> Array:
    array = case[name].copy()
    block(case.cell, array, gate)[...] *= -0.5
    return array


@property_check(needs={"bounded"})
def states_stay_bounded(implementation: Subject, case: Case) -> Evidence:
    """States stay bounded if φ is bounded by one.

    |h_t| ≤ 1 in an RNN, |h_t| ≤ max(|h_0|, 1) in a GRU, |h_t| < 1 and |c_t| ≤ |c_0| + t in an LSTM.
    A GRU's state is a convex mix of its candidate and the old state; an LSTM adds at most one a
    step. `gatecheck prove` proves the theorem of the equations, for all inputs.
    """
    far = case.replace(**{f"{k}0": 3 * case[f"{k}0"] for k in case.cell.state})
    results, tolerance = implementation.forward(far), forward_budget(far).tolerance
    h0 = np.abs(far["h0"].astype(float))
    bound = {"y": np.maximum(h0, 1) if "update_gate" in case.cell.traits else np.ones_like(h0)}
    if "cell_state" in case.cell.traits:
        bound["cT"] = np.abs(far["c0"].astype(float)) + case.sizes.T
    evidence = Evidence()
    for name, limit in bound.items():
        outside = np.abs(results[name].astype(float)) - limit
        with np.errstate(over="ignore"):  # where the tolerance is the smallest number
            ratio = (
                float(np.max(outside / tolerance[name], initial=0.0))
                if np.isfinite(outside).all()
                else np.inf
            )
        evidence += require(ratio <= 1, f"|{name}| exceeds its bound by {outside.max():.3g}")
        evidence += Evidence(ratio, 1)
    return evidence
