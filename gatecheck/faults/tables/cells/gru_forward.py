"""Faults of a gated recurrent unit's forward pass, for either reset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import misread, other, replaced
from gatecheck.faults.tables.readings import EditRow, complement, earlier
from gatecheck.reference.equations import sigmoid


def forward(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the forward pass that both kinds share."""
    where = "a_n" if cell.reset == "after" else "q"
    yield (
        "reset never applied",
        "The reset gate is computed and never applied.",
        misread(where, r=1),
        "zhiyongc/GRU-D#2",
    )
    yield (
        "reset applied twice",
        "The reset gate is applied twice.",
        misread(where, r=lambda s: s.r**2),
    )
    yield (
        "reset by the update gate",
        "The candidate is reset by the update gate.",
        misread(where, r=other("z")),
    )
    yield (
        "reset of the other polarity",
        "The candidate is reset by 1 - r.",
        misread(where, r=complement("r")),
    )
    yield (
        "reset also in the mix",
        "The old state is reset in the mix as well as in the candidate.",
        misread("h", h_prev=lambda s: s.r * s.h_prev),
    )
    yield (
        "reset also in z",
        "The update gate sees the old state after the reset.",
        replaced(z=lambda s: sigmoid(s.a_z + (s.r * s.h_prev - s.h_prev) @ s.U_z)),
    )
    yield (
        "reset on the input's share",
        "The reset gate multiplies the share of the input in the candidate.",
        _reset_on_input(),
    )
    yield (
        "mix by r",
        "The mix uses the reset gate instead of the update gate.",
        misread("h", z=other("r")),
    )
    yield (
        "mix with the state of two steps before",
        "The candidate is made from one state and mixed with that of the step before.",
        misread("h", h_prev=earlier("h_prev")),
        "mquad/hgru4rec#11",
    )
    yield (
        "mix without h0",
        "At the first step the candidate sees h0 and the mix does not.",
        misread("h", h_prev=lambda s: s.h_prev * (s.t > 0)),
        "mquad/hgru4rec#11",
    )
    yield (
        "z missing on the candidate",
        "The candidate is added whole: h' = n + (1 - z) h.",
        replaced(h=lambda s: s.n + (1 - s.z) * s.h_prev),
    )
    yield (
        "1 - z missing on the old state",
        "The old state is added whole: h' = z n + h.",
        replaced(h=lambda s: s.z * s.n + s.h_prev),
    )
    yield (
        "old state missing",
        "The old state is left out of the mix: h' = z n.",
        replaced(h=lambda s: s.z * s.n),
    )
    yield (
        "z on both",
        "The old state and the candidate are both multiplied by z.",
        replaced(h=lambda s: s.z * (s.n + s.h_prev)),
    )
    yield (
        "mix of preactivations",
        "The candidate enters the mix without its tanh.",
        misread("h", n=other("a_n")),
    )
    yield "no tanh on n", "The candidate has no tanh.", replaced(n=other("a_n"))
    yield (
        "sigmoid on n",
        "The candidate is a sigmoid instead of a tanh.",
        replaced(n=lambda s: sigmoid(s.a_n)),
    )
    yield (
        "relu on n",
        "The candidate is a relu instead of a tanh.",
        replaced(n=lambda s: np.maximum(s.a_n, 0)),
    )
    yield (
        "tanh on the new state",
        "The new state goes through one more tanh.",
        replaced(h=lambda s: np.tanh(s.z * s.n + (1 - s.z) * s.h_prev)),
    )
    yield (
        "tanh of n overflows",
        "The candidate's tanh is (exp(2a) - 1)/(exp(2a) + 1), which is NaN for large a.",
        replaced(n=lambda s: (np.exp(2 * s.a_n) - 1) / (np.exp(2 * s.a_n) + 1)),
    )
    yield (
        "n of the step before",
        "The mix takes the candidate of the step before.",
        misread("h", n=earlier("n")),
    )
    yield (
        "candidate output",
        "The state is the candidate, without the mix.",
        replaced(h=lambda s: s.n),
    )


def _reset_on_input() -> Any:
    return lambda e: {"a_n": lambda s: e.step["a_n"](s) - (1 - s.r) * (s.x @ s.W_n)}
