"""Faults of a plain recurrent cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import misread, other, replaced, times
from gatecheck.faults.tables.readings import EditRow, at_first
from gatecheck.reference.equations import Equation, relu, sigmoid

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"tanh": np.tanh, "relu": relu, "sigmoid": sigmoid}


def _apply(function: Callable[[Any], Any]) -> Equation:
    return lambda s: function(s.a_n)


def rows(cell: Cell) -> Iterator[EditRow]:
    """Yield all faults of a cell with this activation."""
    activation = _FUNCTIONS[cell.activation]
    yield "no activation", "The state is the preactivation itself.", replaced(h=other("a_n"))
    for name, function in _FUNCTIONS.items():
        if name != cell.activation:
            yield (
                f"{name} for {cell.activation}",
                f"The activation is {name} instead of {cell.activation}.",
                replaced(h=_apply(function)),
            )
    yield (
        "activation twice",
        "The activation is applied twice.",
        replaced(h=lambda s: activation(activation(s.a_n))),
    )
    yield (
        "preactivation carried",
        "The next step continues from the preactivation instead of the state.",
        replaced(h_prev=lambda s: s.before.a_n if s.before else s.h0),
    )
    yield (
        "bias after the activation",
        "The bias is added after the activation.",
        replaced(h=lambda s: activation(s.a_n - s.b_n) + s.b_n),
    )
    yield (
        "input after the activation",
        "The input is added after the activation.",
        replaced(h=lambda s: activation(s.a_n - s.x @ s.W_n) + s.x @ s.W_n),
    )
    yield (
        "old state kept as well",
        "The old state is added to the new one.",
        replaced(h=lambda s: activation(s.a_n) + s.h_prev),
    )
    yield (
        "leaky state",
        "The new state is averaged with the old one.",
        replaced(h=lambda s: (activation(s.a_n) + s.h_prev) / 2),
    )
    yield (
        "recurrence doubled",
        "The product of the old state with U is added twice.",
        misread("a_n", U_n=times(2, "U_n")),
    )
    yield (
        "output one step late",
        "Each output is the state before the step.",
        replaced(
            h=lambda s: activation(s.before.a_n) if s.before else activation(s.a_n) * 0 + s.h0
        ),
    )
    yield (
        "slope of the first step",
        "The derivative of the activation at the first step is used at every step.",
        misread("da_n", h=at_first("h"), a_n=at_first("a_n")),
        "lmnt-com/haste#43",
    )
    yield (
        "slope squared",
        "The derivative of the activation is applied twice.",
        lambda e: {"da_n": lambda s: e.back["da_n"](s.reading(dh=e.back["da_n"](s)))},
    )
    yield (
        "dh carried past the activation",
        "The gradient of the old state is taken from dh instead of that of the preactivation.",
        misread("dh_prev", da_n=other("dh")),
    )
    yield (
        "dx past the activation",
        "The gradient of the inputs is taken from dh instead of that of the preactivation.",
        misread("dx", da_n=other("dh")),
    )
    yield (
        "dU past the activation",
        "The gradient of U is taken from dh instead of that of the preactivation.",
        misread("dU_n", da_n=other("dh")),
    )
    yield (
        "dh carried around as well",
        "The carried gradient also skips the step, as if the old state were added to the new one.",
        lambda e: {"dh_prev": lambda s: e.back["dh_prev"](s) + s.dh},
    )
    if cell.activation == "tanh":
        yield (
            "slope not squared",
            "The derivative of tanh is taken as 1 - h instead of 1 - h².",
            replaced(da_n=lambda s: s.dh * (1 - s.h)),
        )
        yield (
            "slope with a plus",
            "The derivative of tanh is taken as 1 + h² instead of 1 - h².",
            replaced(da_n=lambda s: s.dh * (1 + s.h**2)),
        )
        yield (
            "tanh overflows",
            "The tanh is computed as (exp(2a) - 1)/(exp(2a) + 1), which is NaN for large a.",
            replaced(h=lambda s: (np.exp(2 * s.a_n) - 1) / (np.exp(2 * s.a_n) + 1)),
        )
        yield (
            "tanh without its factor",
            "The tanh is computed as 2σ(a) - 1, without the factor of two in the argument.",
            replaced(h=lambda s: 2 * sigmoid(s.a_n) - 1),
        )
        yield (
            "hard tanh",
            "The tanh is replaced by min(max(a, -1), 1).",
            replaced(h=lambda s: np.minimum(np.maximum(s.a_n, -1), 1)),
        )
        yield (
            "tanh by its series",
            "The tanh is replaced by the rational function a(27 + a²)/(27 + 9a²).",
            replaced(h=lambda s: s.a_n * (27 + s.a_n**2) / (27 + 9 * s.a_n**2)),
        )
    if cell.activation == "relu":
        yield (
            "leaky relu",
            "A hundredth of a negative preactivation passes.",
            replaced(h=lambda s: relu(s.a_n) - 0.01 * relu(-s.a_n)),
        )
        yield (
            "relu clipped at six",
            "The activation stops at six.",
            replaced(h=lambda s: np.minimum(relu(s.a_n), 6)),
        )
        yield (
            "absolute value",
            "The activation is the absolute value.",
            replaced(h=lambda s: abs(s.a_n)),
        )
        yield (
            "relu turns NaN into zero",
            "A comparison that is false for NaN makes a NaN zero.",
            replaced(h=lambda s: np.fmax(s.a_n, 0)),
        )
        yield (
            "slope by the sign of dh",
            "The derivative of relu is taken by the sign of dh instead of the preactivation's.",
            misread("da_n", a_n=other("dh")),
        )
        yield (
            "slope of the other side",
            "Gradients pass where the preactivation is negative.",
            replaced(da_n=lambda s: s.dh * (s.a_n < 0)),
        )
        yield (
            "slope is the activation",
            "The gradient is multiplied by the state instead of the derivative of relu.",
            replaced(da_n=lambda s: s.dh * s.h),
        )
    if cell.activation == "sigmoid":
        yield (
            "sigmoid overflows",
            "The sigmoid is computed as exp(a)/(1 + exp(a)), which is NaN for large a.",
            replaced(h=lambda s: np.exp(s.a_n) / (1 + np.exp(s.a_n))),
        )
        yield (
            "sigmoid mirrored",
            "The state is 1 - σ(a) instead of σ(a).",
            replaced(h=lambda s: sigmoid(-s.a_n)),
        )
        yield (
            "slope without h",
            "The derivative of the sigmoid is taken as 1 - h.",
            replaced(da_n=lambda s: s.dh * (1 - s.h)),
        )
        yield (
            "slope without 1 - h",
            "The derivative of the sigmoid is taken as h.",
            replaced(da_n=lambda s: s.dh * s.h),
        )
        yield (
            "hard sigmoid",
            "The sigmoid is replaced by min(max(0.2a + 0.5, 0), 1).",
            replaced(h=lambda s: np.minimum(np.maximum(0.2 * s.a_n + 0.5, 0), 1)),
        )
