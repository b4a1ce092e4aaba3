"""Faults of a long short-term memory's forward pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, replaced
from gatecheck.faults.tables.readings import EditRow, complement, to_single, zero
from gatecheck.reference.equations import Equation, sigmoid


def forward(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the forward pass."""
    yield (
        "b_o used for i and f",
        "The bias of the output gate is used for the input and the forget gate.",
        misread("a_i a_f", b_i=other("b_o"), b_f=other("b_o")),
        "ddbourgin/numpy-ml#42",
    )
    yield (
        "forget bias + 1",
        "One is added to the forget gate's bias, undeclared.",
        misread("a_f", b_f=lambda s: s.b_f + 1),
    )
    yield (
        "forget bias + 1 on i",
        "The one meant for the forget gate's bias is added to the input gate's.",
        misread("a_i", b_i=lambda s: s.b_i + 1),
    )
    yield (
        "i + g",
        "The input gate is added to the candidate instead of multiplied.",
        replaced(c=lambda s: s.f * s.c_prev + s.i + s.g),
        "MartinuzziFrancesco/torchrecurrent#22",
    )
    yield "i missing in c", "The candidate enters the cell state ungated.", misread("c", i=1)
    yield (
        "f missing in c",
        "The old cell state is kept whole, without the forget gate.",
        misread("c", f=1),
    )
    yield (
        "g missing in c",
        "The cell state takes the input gate without the candidate.",
        misread("c", g=1),
    )
    yield (
        "c overwritten, not added to",
        "The old cell state is left out.",
        misread("c", f=zero("f")),
    )
    yield (
        "f is 1 - i",
        "The forget gate is coupled to the input gate: f = 1 - i.",
        misread("c", f=complement("i")),
    )
    yield (
        "i is 1 - f",
        "The input gate is coupled to the forget gate: i = 1 - f.",
        misread("c", i=complement("f")),
    )
    yield (
        "i and f exchanged in c",
        "The input and the forget gate change places in the cell state.",
        misread("c", i=other("f"), f=other("i")),
    )
    yield (
        "f over the sum",
        "The forget gate multiplies the new share of the cell state too.",
        replaced(c=lambda s: s.f * (s.c_prev + s.i * s.g)),
    )
    yield (
        "c from h",
        "The cell state continues from the output instead of the old cell state.",
        misread("c", c_prev=other("h_prev")),
    )
    yield (
        "c of two steps before",
        "The old cell state is that of two steps before.",
        misread("c_prev", before=lambda s: s.before and (s.before.before or s.before)),
    )
    yield (
        "every step starts from c0",
        "The new cell state is never handed on: every step starts from c0.",
        misread("c_prev", before=None),
    )
    yield (
        "rows of the cell state mixed",
        "Each row of the batch continues from the cell state of its neighbor.",
        misread(
            "c_prev", before=lambda s: s.before and s.before.reading(c=np.roll(s.before.c, 1, -2))
        ),
    )
    yield "c0 ignored", "The initial cell state c0 is never read.", misread("c_prev", c0=zero("c0"))
    yield (
        "h0 and c0 exchanged",
        "The two initial states are exchanged.",
        both(misread("h_prev", h0=other("c0")), misread("c_prev", c0=other("h0"))),
    )
    yield (
        "c0 is h0",
        "The initial output is used as the initial cell state too.",
        misread("c_prev", c0=other("h0")),
    )
    yield (
        "memory handed on as h",
        "The next step sees tanh(c) instead of the gated output.",
        replaced(h_prev=lambda s: s.before.m if s.before else s.h0),
    )
    yield (
        "c handed on as h",
        "The next step's gates see the cell state instead of the output.",
        replaced(h_prev=lambda s: s.before.c if s.before else s.h0),
    )
    yield "no tanh on c", "The output is o c instead of o tanh(c).", misread("h", m=other("c"))
    yield (
        "sigmoid on c",
        "The output is o σ(c) instead of o tanh(c).",
        replaced(m=lambda s: sigmoid(s.c)),
    )
    yield (
        "tanh of o c",
        "The output is tanh(o c) instead of o tanh(c).",
        replaced(h=lambda s: np.tanh(s.o * s.c)),
    )
    yield (
        "tanh kept in c",
        "The cell state is stored after its tanh.",
        replaced(c=lambda s: np.tanh(s.f * s.c_prev + s.i * s.g), m=other("c")),
    )
    yield "o missing", "The output is tanh(c), without the output gate.", misread("h", o=1)
    yield "i for o", "The output is gated by the input gate.", misread("h", o=other("i"))
    yield (
        "h from the old c",
        "The output is made from the old cell state.",
        misread("m", c=other("c_prev")),
    )
    yield (
        "sigmoid on g",
        "The candidate is a sigmoid instead of a tanh.",
        replaced(g=lambda s: sigmoid(s.a_g)),
    )
    yield "no tanh on g", "The candidate has no tanh.", replaced(g=other("a_g"))
    yield (
        "relu on g",
        "The candidate is a relu instead of a tanh.",
        replaced(g=lambda s: np.maximum(s.a_g, 0)),
    )
    yield (
        "tanh of g overflows",
        "The candidate's tanh is (exp(2a) - 1)/(exp(2a) + 1), which is NaN for large a.",
        replaced(g=lambda s: (np.exp(2 * s.a_g) - 1) / (np.exp(2 * s.a_g) + 1)),
    )
    yield (
        "hard sigmoid on every gate",
        "Every gate is the hard sigmoid min(max(0.2a + 0.5, 0), 1).",
        replaced(i=_hard_sigmoid("a_i"), f=_hard_sigmoid("a_f"), o=_hard_sigmoid("a_o")),
    )
    yield (
        "c clipped at one",
        "The cell state is clipped to one, undeclared.",
        replaced(c=lambda s: np.minimum(np.maximum(s.f * s.c_prev + s.i * s.g, -1), 1)),
    )
    yield (
        "c in float32",
        "The cell state is rounded to single precision at every step.",
        lambda e: {"c": lambda s: to_single(e.step["c"](s))},
    )
    yield (
        "c without its sign",
        "The cell state loses its sign.",
        replaced(c=lambda s: abs(s.f * s.c_prev + s.i * s.g)),
    )
    yield (
        "undeclared peephole",
        "The output gate also sees the cell state.",
        replaced(o=lambda s: sigmoid(s.a_o + s.f * s.c_prev + s.i * s.g)),
    )


def _hard_sigmoid(a: str) -> Equation:
    return lambda s: np.minimum(np.maximum(0.2 * s[a] + 0.5, 0), 1)
