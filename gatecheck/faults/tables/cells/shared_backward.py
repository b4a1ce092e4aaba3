"""Faults of the cotangents and the carry that every cell can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import Edit, Reading, both, misread, replaced, times, transposed
from gatecheck.faults.tables.readings import (
    EditRow,
    later,
    only_when,
    recurrence_backward,
    rounded,
    zero,
)


def _cut_carry(keep: Any) -> Edit:
    """Return the edit that keeps the carried dh at some steps only.

    The last step's carry, the cotangent of h_T, is always kept.
    """
    return misread("dh", dh_next=only_when("dh_next", lambda s: s.after is None or keep(s)))


def _not_every(k: int) -> Callable[[Any], bool]:
    return lambda s: (s.T - 1 - s.t) % k != 0


def _dy_at(by: int) -> Reading:
    return lambda s: s.all_dy[min(max(s.t + by, 0), s.T - 1)]


def carry(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the cotangents and of the carried gradient, backward."""
    yield (
        "dh not carried",
        "The gradient carried by h is dropped at every step.",
        _cut_carry(lambda s: False),
        "ooples/AiDotNet PR 722, CaptainE/RNN-LSTM-in-numpy#1"
        if cell.kind == "lstm"
        else "ooples/AiDotNet PR 722",
    )
    yield (
        "dh carried twice",
        "The gradient carried by h is added twice.",
        misread("dh", dh_next=times(2, "dh_next")),
    )
    yield (
        "dh subtracted",
        "The gradient carried by h has the wrong sign.",
        misread("dh", dh_next=times(-1, "dh_next")),
    )
    yield (
        "dh clipped",
        "The carried gradient is clipped to one at every step.",
        misread("dh", dh_next=lambda s: s.dh_next / np.maximum(1, abs(s.dh_next))),
    )
    yield (
        "dh in float32",
        "The carried gradient is rounded to single precision.",
        misread("dh", dh_next=rounded("dh_next")),
    )
    yield (
        "dh of the neighbouring row",
        "Each row of the batch gets the carried gradient of its neighbor.",
        misread("dh", dh_next=lambda s: np.roll(s.dh_next, 1, -2) if s.after else s.dh_next),
    )
    for k in (2, 16, 64):
        yield (
            f"truncated after {k} steps",
            f"Backpropagation stops every {k} steps, counted from the end.",
            _cut_carry(_not_every(k)),
        )
    yield (
        "cut half-way",
        "Backpropagation stops in the middle of the sequence.",
        _cut_carry(lambda s: s.t + 1 != s.T // 2),
    )
    yield (
        "dy of the last step only",
        "Only the last output's gradient is used.",
        misread("dh", dy=only_when("dy", lambda s: s.t == s.T - 1)),
        "rsokl/MyGrad PR 4",
    )
    yield (
        "dy of the first step missing",
        "The first output's gradient is not used.",
        misread("dh", dy=only_when("dy", lambda s: s.t > 0)),
    )
    yield (
        "dy of the step before",
        "Each step uses the output gradient of the step before.",
        misread("dh", dy=_dy_at(-1)),
    )
    yield (
        "dy of the step after",
        "Each step uses the output gradient of the step after.",
        misread("dh", dy=_dy_at(1)),
    )
    yield (
        "dy backwards in time",
        "The output gradients are read from the last to the first.",
        misread("dh", dy=lambda s: s.all_dy[s.T - 1 - s.t]),
    )
    yield (
        "dy averaged over time",
        "The output gradients are divided by the number of steps.",
        misread("dh", dy=lambda s: s.dy / s.T),
    )
    yield (
        "dhT ignored",
        "The gradient of the final state is never read.",
        misread("dh_next", dhT=zero("dhT")),
    )
    yield (
        "dhT added twice",
        "The gradient of the final state is added twice.",
        misread("dh_next", dhT=times(2, "dhT")),
    )
    yield (
        "dhT at every step",
        "The gradient of the final state is added at every step.",
        replaced(dh=lambda s: s.dy + s.dh_next + (s.dhT if s.after else 0)),
    )
    yield (
        "dhT instead of dy",
        "The last step uses the gradient of the final state and not that of its output.",
        misread("dh", dy=only_when("dy", lambda s: s.after)),
    )
    yield (
        "dh0 missing",
        "The gradient of the initial state is zero.",
        replaced(dh0=lambda q: 0 * q.first.dh_prev),
    )
    yield (
        "dh0 one step late",
        "The gradient of the initial state is that of the state after the first step.",
        replaced(dh0=lambda q: q.steps[min(1, len(q.steps) - 1)].dh_prev),
        "PufferAI/PufferLib#622",
    )
    yield (
        "dh0 before the first step",
        "The gradient of the initial state leaves out the first step.",
        replaced(dh0=lambda q: q.first.dh),
    )
    yield (
        "dh0 summed over the batch",
        "The gradient of the initial state is summed over the batch.",
        replaced(dh0=lambda q: q.first.dh_prev.sum(-2, keepdims=True) + 0 * q.first.dh_prev),
    )
    yield "dx missing", "The gradient of the inputs is zero.", replaced(dx=lambda s: 0 * s.x)
    yield (
        "dx of the last step only",
        "Only the last input has a gradient.",
        lambda e: {"dx": lambda s: e.back["dx"](s) * (s.after is None)},
    )
    yield (
        "dx one step late",
        "Each input gets the gradient of the step after.",
        misread("dx", **{f"da_{k}": later(f"da_{k}") for k in cell.gates}),
    )
    if len(cell.gates) > 1:
        into = [(k, recurrence_backward(cell, k)[0]) for k in cell.gates]
        yield (
            "U for its transpose",
            "The carried gradient is multiplied by U where its transpose belongs.",
            both(*(misread(where, **{f"U_{k}": transposed(f"U_{k}")}) for k, where in into)),
            "pytorch/pytorch PR 95137",
        )
