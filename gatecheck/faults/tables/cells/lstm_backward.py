"""Faults of a long short-term memory's backward pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import misread, other, replaced, times
from gatecheck.faults.tables.readings import (
    EditRow,
    at_first,
    complement,
    earlier,
    later,
    only_when,
    rounded,
    zero,
)


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
