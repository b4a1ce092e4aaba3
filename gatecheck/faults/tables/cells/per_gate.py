"""Faults of single gates: exchanged blocks, wrong slopes, missing shares."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, exchanged, misread, other, replaced, times, transposed
from gatecheck.faults.tables.readings import (
    EditRow,
    batch,
    earlier,
    later,
    misread_dU_state,
    recurrence_backward,
    recurrence_equation,
    rounded,
    steps,
    to_single,
    zero,
)
from gatecheck.reference.equations import Equation, sigmoid

ORDERS = {
    "gru": {"znr": "a rotated", "nrz": "a rotated"},
    "lstm": {"iofg": "ONNX's", "gifo": "Chainer's", "ogfi": "the opposite"},
}
"""Orders in which the column blocks of ported weights came.

Orders that exchange two gates are not listed.
"""


def _activation(kind: str, symbol: str) -> Equation:
    function: Any = {"sigmoid": sigmoid, "tanh": np.tanh}[kind]
    return lambda s: function(s[symbol])


def activations(cell: Cell, gate: str) -> Iterator[EditRow]:
    """Yield faults with wrong or badly computed activations of a sigmoid gate."""
    a = f"a_{gate}"
    yield (
        f"tanh on {gate}",
        f"Gate {gate} is a tanh instead of a sigmoid.",
        replaced(**{gate: _activation("tanh", a)}),
    )
    yield (
        f"no sigmoid on {gate}",
        f"Gate {gate} is used without its sigmoid.",
        replaced(**{gate: other(a)}),
    )
    yield (
        f"sigmoid twice on {gate}",
        f"Gate {gate} goes through its sigmoid twice.",
        replaced(**{gate: lambda s: sigmoid(sigmoid(s[a]))}),
    )
    yield (
        f"Keras's hard sigmoid on {gate}",
        f"Gate {gate} is the hard sigmoid min(max(0.2a + 0.5, 0), 1).",
        replaced(**{gate: lambda s: np.minimum(np.maximum(0.2 * s[a] + 0.5, 0), 1)}),
    )
    yield (
        f"PyTorch's hard sigmoid on {gate}",
        f"Gate {gate} is the hard sigmoid min(max(a/6 + 0.5, 0), 1).",
        replaced(**{gate: lambda s: np.minimum(np.maximum(s[a] / 6 + 0.5, 0), 1)}),
    )
    yield (
        f"sigmoid of {gate} overflows",
        f"The sigmoid of gate {gate} is exp(a)/(1 + exp(a)), which is NaN for large a.",
        replaced(**{gate: lambda s: np.exp(s[a]) / (1 + np.exp(s[a]))}),
    )
    yield (
        f"{gate} is 1 - {gate}",
        f"Gate {gate} has the other polarity: 1 - σ(a) instead of σ(a).",
        replaced(**{gate: lambda s: sigmoid(-s[a])}),
    )
    yield (
        f"{gate} of the step before",
        f"Gate {gate} is that of the step before.",
        misread(gate, **{a: earlier(a)}),
    )
    yield (
        f"{gate} in float32",
        f"Gate {gate} is rounded to single precision.",
        replaced(**{gate: lambda s: to_single(sigmoid(s[a]))}),
    )


def block_use(cell: Cell, gate: str) -> Iterator[EditRow]:
    """Yield faults in the use of one gate's weights and bias, forward."""
    a, where = f"a_{gate}", recurrence_equation(cell, gate)
    sees: dict[str, Any] = (
        {"q": lambda s: s.c_n + 0 * s.q} if where == "q" else {"h_prev": zero("h_prev")}
    )
    if cell.reset == "before" and gate == "n":
        sees = {"q": zero("q")}
    yield f"b_{gate} missing", f"The bias of {gate} is never added.", misread(a, **{f"b_{gate}": 0})
    yield (
        f"b_{gate} added twice",
        f"The bias of {gate} is added twice.",
        misread(a, **{f"b_{gate}": times(2, f"b_{gate}")}),
        "lisa-lab/DeepLearningTutorials#81",
    )
    yield (
        f"b_{gate} at the first step only",
        f"The bias of {gate} is added at the first step only.",
        misread(a, **{f"b_{gate}": lambda s: s[f"b_{gate}"] * (s.t == 0)}),
        "apple/coremltools#309" if gate == "f" else "",
    )
    yield (
        f"U_{gate} transposed",
        f"The product of {gate} uses the transpose of U_{gate}.",
        misread(where, **{f"U_{gate}": transposed(f"U_{gate}")}),
    )
    yield f"{gate} sees no h", f"The old state does not enter {gate}.", misread(a, **sees)
    yield f"{gate} sees no x", f"The input does not enter {gate}.", misread(a, x=zero("x"))
    if cell.activation != "relu":  # its rounded preactivation is the rounded state
        yield (
            f"a_{gate} in float32",
            f"The preactivation of {gate} is rounded to single precision.",
            lambda e: {a: lambda s: to_single(e.step[a](s))},
        )


def gate_pairs(cell: Cell) -> Iterator[EditRow]:
    """Yield faults with gates whose blocks are exchanged or shared."""
    for j, k in combinations(cell.gates, 2):
        for parts in ("W", "U", "b", "WUb"):
            what = " and ".join(parts) if len(parts) == 1 else "W, U and b"
            source = "keras-team/keras#15915" if {j, k} == {"r", "z"} else "keras-team/keras#8720"
            name = f"{j}/{k} swapped" + (f" in {parts}" if len(parts) == 1 else "")
            yield (
                name,
                f"The blocks of {j} and {k} are exchanged in {what}.",
                exchanged(parts, j, k),
                source,
            )
    for whole, convention in ORDERS.get(cell.kind, {}).items():
        order = "".join(k for k in whole if k in cell.gates)
        reordered = both(
            *(
                _read_block_of(cell, part, k, j)
                for part in "WUb"
                for k, j in zip(cell.gates, order, strict=True)
                if j != k
            )
        )
        says = (
            f"The column blocks are read as if in {convention} order, "
            f"{' '.join(order)} instead of {' '.join(cell.gates)}."
        )
        yield f"blocks in the order {order}", says, reordered, "keras-team/keras#8720"
    for j, k in combinations(cell.sigmoid_gates, 2):
        shared = both(*(_read_block_of(cell, part, k, j) for part in "WUb"))
        yield (
            f"{k} shares the weights of {j}",
            f"Gate {k} is computed with the weights and bias of gate {j}.",
            shared,
        )


def _read_block_of(cell: Cell, part: str, gate: str, other_gate: str) -> Any:
    where = recurrence_equation(cell, gate) if part == "U" else f"a_{gate}"
    return misread(where, **{f"{part}_{gate}": other(f"{part}_{other_gate}")})


def gradients(cell: Cell, gate: str) -> Iterator[EditRow]:
    """Yield faults in the use of one gate, backward."""
    da, squash, activated = (
        f"da_{gate}",
        "sigmoid" if gate in cell.sigmoid_gates else "tanh",
        "h" if cell.kind == "rnn" else gate,
    )
    if cell.kind == "rnn":
        squash = cell.activation
    dgate = "dh" if cell.kind == "rnn" else f"d{gate}"
    into, delta = recurrence_backward(cell, gate)
    at_preactivation = "microsoft/onnxruntime#16862" if gate == "r" else ""
    yield (
        f"slope of {gate} missing",
        f"The derivative of the activation of {gate} is left out.",
        replaced(**{da: other(dgate)}),
        "CaptainE/RNN-LSTM-in-numpy#1" if gate == "f" else "",
    )
    if squash != "relu":
        says = (
            f"The derivative of the activation of {gate} is computed from the preactivation "
            "as if it were the activation."
        )
        yield (
            f"slope of {gate} from its preactivation",
            says,
            misread(da, **{activated: other(f"a_{gate}")}),
            at_preactivation,
        )
        says = (
            f"The activation of {gate} is applied once more before its derivative is computed "
            "from it."
        )
        yield (
            f"slope of {gate} of the activation",
            says,
            misread(da, **{activated: _activation(squash, activated)}),
        )
        wrong: Equation = (
            (lambda s: s[dgate] * (1 - s[activated] ** 2))
            if squash == "sigmoid"
            else (lambda s: s[dgate] * s[activated] * (1 - s[activated]))
        )
        wrong_name = "tanh" if squash == "sigmoid" else "a sigmoid"
        yield (
            f"slope of {gate} as if {wrong_name}",
            f"The derivative of the activation of {gate} is taken as if it were {wrong_name}.",
            replaced(**{da: wrong}),
        )
    yield (
        f"slope of {gate} of the step before",
        f"The derivative of the activation of {gate} is that of the step before.",
        misread(da, **_slope(cell, gate, activated, earlier)),
    )
    yield (
        f"slope of {gate} of the step after",
        f"The derivative of the activation of {gate} is that of the step after.",
        misread(da, **_slope(cell, gate, activated, later)),
    )
    yield (
        f"{gate} missing in dx",
        f"The share of {gate} is left out of the gradient of the inputs.",
        misread("dx", **{da: zero(da)}),
    )
    yield (
        f"{gate} missing in dh",
        f"The share of {gate} is left out of the gradient of the old state.",
        misread(into, **{delta: zero(delta)}),
    )
    yield (
        f"{gate} twice in dh",
        f"The share of {gate} is counted twice in the gradient of the old state.",
        misread(into, **{delta: times(2, delta)}),
    )
    yield (
        f"U_{gate} for its transpose",
        f"The share of {gate} in the gradient of the old state uses U_{gate} for its transpose.",
        misread(into, **{f"U_{gate}": transposed(f"U_{gate}")}),
        "pytorch/pytorch PR 95137",
    )
    yield (
        f"delta of {gate}: sign",
        f"The gradient of the preactivation of {gate} has the wrong sign.",
        lambda e: {da: lambda s: -e.back[da](s)},
    )
    yield (
        f"delta of {gate} in float32",
        f"The gradient of the preactivation of {gate} is rounded to single precision.",
        lambda e: {da: lambda s: to_single(e.back[da](s))},
    )
    if len(cell.gates) > 1:
        says = f"The gradient of b_{gate} comes from the first row of the batch only."
        yield (
            f"db_{gate} of the first row",
            says,
            misread(f"db_{gate}", **{da: batch(da, lambda b: b == 0)}),
        )
        yield (
            f"dU_{gate} with h for h_prev",
            f"The gradient of U_{gate} is taken with the new state instead of the old one.",
            misread_dU_state(cell, gate, other("h")),
        )
        yield (
            f"dU_{gate} without h0",
            f"The gradient of U_{gate} leaves out the initial state.",
            misread_dU_state(cell, gate, steps("h_prev", lambda t, n: t > 0)),
        )
    for name, what in (("dW", "W"), ("db", "b")):
        total = f"{name}_{gate}"
        yield (
            f"{total} missing",
            f"The gradient of {what}_{gate} is zero.",
            misread(total, **{da: zero(da)}),
        )
        yield (
            f"{total} in float32",
            f"The gradient of {what}_{gate} is summed from values rounded to single precision.",
            misread(total, **{da: rounded(da)}),
        )
    for j in cell.gates:
        if j != gate:
            source = "hanbt/learn_dl#53" if j == "f" and gate in "io" else ""
            yield (
                f"db_{gate} from {j}",
                f"The gradient of b_{gate} is summed from that of the preactivation of {j}.",
                misread(f"db_{gate}", **{da: other(f"da_{j}")}),
                source,
            )


def _slope(cell: Cell, gate: str, activated: str, when: Any) -> dict[str, Any]:
    symbol = f"a_{gate}" if cell.activation == "relu" else activated
    return {symbol: when(symbol)}


def rows(cell: Cell) -> Iterator[EditRow]:
    """Yield all of these faults."""
    yield from gate_pairs(cell)
    for gate in cell.gates:
        yield from block_use(cell, gate)
        if gate in cell.sigmoid_gates:
            yield from activations(cell, gate)
        yield from gradients(cell, gate)
