"""Faults of a long short-term memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, replaced, times
from gatecheck.faults.tables.readings import (
    EditRow,
    at_first,
    complement,
    earlier,
    later,
    only_when,
    rounded,
    to_single,
    zero,
)
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


def backward(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the backward pass."""
    yield (
        "dc not carried",
        "The carried gradient dc is dropped at every step.",
        misread("dc", dc_next=only_when("dc_next", lambda s: s.after is None)),
        "CaptainE/RNN-LSTM-in-numpy#1",
    )
    yield (
        "dc carried twice",
        "The carried gradient dc is added twice.",
        misread("dc", dc_next=times(2, "dc_next")),
    )
    yield (
        "dc subtracted",
        "The carried gradient dc has the wrong sign.",
        misread("dc", dc_next=times(-1, "dc_next")),
    )
    yield (
        "dc overwritten by the carry",
        "The carried gradient dc replaces the output's share instead of adding to it.",
        misread("dc", dm=only_when("dm", lambda s: s.after is None)),
        "apache/mxnet#4057",
    )
    yield (
        "dc in float32",
        "The carried gradient dc is rounded to single precision.",
        misread("dc", dc_next=rounded("dc_next")),
    )
    yield (
        "dc of the neighbouring row",
        "Each row of the batch gets the carried dc of its neighbor.",
        misread("dc", dc_next=lambda s: np.roll(s.dc_next, 1, -2) if s.after else s.dc_next),
    )
    yield (
        "dc cut half-way",
        "The carried gradient dc is dropped once, in the middle of the sequence.",
        misread(
            "dc", dc_next=only_when("dc_next", lambda s: s.after is None or s.t + 1 != s.T // 2)
        ),
    )
    yield (
        "tanh' missing in dc",
        "The slope of the tanh on c is left out.",
        misread("dc", m=zero("m")),
    )
    yield (
        "tanh' from c itself",
        "The slope of the tanh on c is computed from c as if it were tanh(c).",
        misread("dc", m=other("c")),
    )
    yield (
        "tanh' of the step before",
        "The slope of the tanh on c is that of the step before.",
        misread("dc", m=earlier("m")),
    )
    yield (
        "tanh' on the carry too",
        "The slope of the tanh on c multiplies the carried gradient as well.",
        replaced(dc=lambda s: (s.dm + s.dc_next) * (1 - s.m**2)),
    )
    yield (
        "tanh' twice",
        "The slope of the tanh on c is applied twice.",
        replaced(dc=lambda s: s.dm * (1 - s.m**2) ** 2 + s.dc_next),
    )
    yield (
        "f missing in dc",
        "The carried gradient dc leaves out the forget gate.",
        misread("dc_prev", f=1),
    )
    yield (
        "f of the step after in dc",
        "The carried gradient dc uses the forget gate of the step after.",
        misread("dc_prev", f=later("f")),
    )
    yield (
        "f of the step before in dc",
        "The carried gradient dc uses the forget gate of the step before.",
        misread("dc_prev", f=earlier("f")),
    )
    yield (
        "f of the first step in dc",
        "The carried gradient dc uses the first step's forget gate at every step.",
        misread("dc_prev", f=at_first("f")),
        "lmnt-com/haste#43",
    )
    yield (
        "f before its sigmoid in dc",
        "The carried gradient dc uses the forget gate's preactivation.",
        misread("dc_prev", f=other("a_f")),
        "microsoft/onnxruntime#16862",
    )
    yield (
        "i for f in dc",
        "The carried gradient dc uses the input gate.",
        misread("dc_prev", f=other("i")),
    )
    yield (
        "1 - f in dc",
        "The carried gradient dc uses 1 - f.",
        misread("dc_prev", f=complement("f")),
    )
    yield (
        "o in dc",
        "The carried gradient dc is multiplied by the output gate as well.",
        misread("dc_prev", f=lambda s: s.f * s.o),
    )
    yield (
        "c where c_prev belongs",
        "The gradient of the forget gate uses the new cell state where the old one belongs.",
        misread("df", c_prev=other("c")),
    )
    yield (
        "df without c0",
        "The gradient of the forget gate leaves out the initial cell state.",
        misread("df", c_prev=only_when("c_prev", lambda s: s.t > 0)),
    )
    yield (
        "df with g for c_prev",
        "The gradient of the forget gate uses the candidate.",
        misread("df", c_prev=other("g")),
    )
    yield (
        "df with h_prev for c_prev",
        "The gradient of the forget gate uses the old output.",
        misread("df", c_prev=other("h_prev")),
    )
    yield (
        "do with c for tanh c",
        "The gradient of the output gate uses c instead of tanh(c).",
        misread("do", m=other("c")),
    )
    yield (
        "do with the old c",
        "The gradient of the output gate uses the tanh of the old cell state.",
        misread("do", m=lambda s: np.tanh(s.c_prev)),
    )
    yield (
        "do from dy only",
        "The gradient of the output gate leaves out what later steps carry back.",
        misread("do", dh=other("dy")),
    )
    yield (
        "dm from dy only",
        "The gradient of tanh(c) leaves out what later steps carry back through h.",
        misread("dm", dh=other("dy")),
    )
    yield (
        "o missing in dc",
        "The output's share of dc leaves out the output gate.",
        misread("dm", o=1),
    )
    yield (
        "o of the step before in dc",
        "The output's share of dc uses the output gate of the step before.",
        misread("dm", o=earlier("o")),
    )
    yield (
        "o before its sigmoid in dc",
        "The output's share of dc uses the output gate's preactivation.",
        misread("dm", o=other("a_o")),
    )
    yield (
        "dg with g for i",
        "The gradient of the candidate uses the candidate instead of the input gate.",
        misread("dg", i=other("g")),
    )
    yield (
        "dg with f for i",
        "The gradient of the candidate uses the forget gate instead of the input gate.",
        misread("dg", i=other("f")),
    )
    yield (
        "i missing in dg",
        "The gradient of the candidate leaves out the input gate.",
        misread("dg", i=1),
    )
    yield (
        "di with i for g",
        "The gradient of the input gate uses the gate itself instead of the candidate.",
        misread("di", g=other("i")),
    )
    yield (
        "di with the candidate's preactivation",
        "The gradient of the input gate uses the candidate before its tanh.",
        misread("di", g=other("a_g")),
    )
    yield (
        "di with c_prev for g",
        "The gradient of the input gate uses the old cell state.",
        misread("di", g=other("c_prev")),
    )
    yield (
        "di and df exchanged",
        "The gradients of the input and the forget gate change places.",
        misread("da_i da_f", di=other("df"), df=other("di")),
    )
    yield (
        "gates see the output's share of dc only",
        "The gradients of i, f and g leave out the carried dc.",
        misread("di df dg", dc=lambda s: s.dm * (1 - s.m**2)),
    )
    yield (
        "carried dc without the output's share",
        "The gradient of the old cell state leaves out the output's share.",
        misread("dc_prev", dc=other("dc_next")),
    )
    yield (
        "dcT ignored",
        "The gradient of the final cell state is never read.",
        misread("dc_next", dcT=zero("dcT")),
    )
    yield (
        "dcT added twice",
        "The gradient of the final cell state is added twice.",
        misread("dc_next", dcT=times(2, "dcT")),
    )
    yield (
        "dcT at every step",
        "The gradient of the final cell state is added at every step.",
        misread("dc", dc_next=lambda s: s.dc_next + (s.dcT if s.after else 0)),
    )
    yield (
        "dcT and dhT exchanged",
        "The gradients of the two final states are exchanged.",
        misread("dc_next dh_next", dcT=other("dhT"), dhT=other("dcT")),
    )
    yield (
        "dc0 missing",
        "The gradient of the initial cell state is zero.",
        replaced(dc0=lambda q: 0 * q.first.dc_prev),
    )
    yield (
        "dc0 one step late",
        "The gradient of the initial cell state is that of the cell state after the first step.",
        replaced(dc0=lambda q: q.steps[min(1, len(q.steps) - 1)].dc_prev),
        "PufferAI/PufferLib#622",
    )
    yield (
        "f missing in dc0",
        "The gradient of the initial cell state leaves out the first forget gate.",
        replaced(dc0=lambda q: q.first.dc),
    )
    yield (
        "dc0 is dh0",
        "The gradient of the initial output is returned as that of the initial cell state.",
        replaced(dc0=lambda q: q.first.dh_prev),
    )


def rows(cell: Cell) -> Iterator[EditRow]:
    """Yield all of these faults."""
    yield from forward(cell)
    yield from backward(cell)
