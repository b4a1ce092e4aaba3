"""Faults of the clip of the cell state and of the projection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, replaced, times
from gatecheck.faults.tables.options.gates import gate
from gatecheck.faults.tables.readings import EditRow, steps, zero


def _unclipped(s: Any) -> Any:
    return s.f * s.c_prev + s.i * s.g


def clip(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the clip of the cell state."""
    most = cell.clip or np.inf

    def clipped(a: Any) -> Any:
        return np.minimum(np.maximum(a, -most), most)

    yield "c not clipped", "The cell state is never clipped.", replaced(c=_unclipped)
    yield (
        "c not clipped before its activation",
        "The output is made from the cell state before it is clipped.",
        replaced(m=lambda s: np.tanh(_unclipped(s))),
        "microsoft/onnxruntime PR 27239",
    )
    yield (
        "c clipped for the output only",
        "The next step continues from the cell state before it is clipped.",
        both(replaced(c=_unclipped), replaced(m=lambda s: np.tanh(clipped(s.c)))),
    )
    yield (
        "c_prev clipped instead",
        "The old cell state is clipped instead of the new one.",
        replaced(c=lambda s: s.f * clipped(s.c_prev) + s.i * s.g),
    )
    yield (
        "new share clipped only",
        "What is added to the cell state is clipped, the sum is not.",
        replaced(c=lambda s: s.f * s.c_prev + clipped(s.i * s.g)),
    )
    yield (
        "c clipped from above only",
        "The cell state is not clipped from below.",
        replaced(c=lambda s: np.minimum(_unclipped(s), most)),
    )
    yield (
        "c clipped from below only",
        "The cell state is not clipped from above.",
        replaced(c=lambda s: np.maximum(_unclipped(s), -most)),
    )
    yield (
        "c clipped twice as wide",
        "The cell state is clipped to twice the limit.",
        replaced(c=lambda s: np.minimum(np.maximum(_unclipped(s), -2 * most), 2 * most)),
    )
    yield (
        "c clipped at zero",
        "The cell state is clipped to 0 … clip.",
        replaced(c=lambda s: np.minimum(np.maximum(_unclipped(s), 0), most)),
    )
    yield (
        "h clipped too",
        "The output is clipped to half of the limit.",
        replaced(h=lambda s: np.minimum(np.maximum(s.o * s.m, -most / 2), most / 2)),
    )
    yield (
        "gates' preactivations clipped",
        "Preactivations are clipped as well as the cell state.",
        replaced(f=lambda s: gate(cell, clipped(s.a_f)), o=lambda s: gate(cell, clipped(s.a_o))),
    )

    def whole(s: Any) -> Any:
        out = s.dm * (1 - s.m**2) + s.dc_next
        return out + s.da_o * s.p_o if cell.peepholes else out

    yield (
        "slope of the clip missing",
        "The gradient passes the clip as if it were not there.",
        replaced(dc=whole),
    )
    yield (
        "slope of the clip inverted",
        "The gradient passes where the cell state is clipped, and only there.",
        replaced(dc=lambda s: whole(s) * (abs(s.c) >= most)),
    )
    yield (
        "clip cuts the carry only",
        "The clip stops the carried gradient, but not that of the output.",
        replaced(dc=lambda s: s.dc_next * (abs(s.c) < most) + (whole(s) - s.dc_next)),
    )
    yield (
        "clip cuts the output's share only",
        "The clip stops the gradient of the output, but not the carried one.",
        replaced(dc=lambda s: s.dc_next + (whole(s) - s.dc_next) * (abs(s.c) < most)),
    )
    yield (
        "slope of the clip of the step before",
        "The slope of the clip is that of the step before.",
        replaced(dc=lambda s: whole(s) * (abs(s.c_prev) < most)),
    )


def projection(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of h' = v R, v = o tanh(c')."""
    yield (
        "projection of tanh(c)",
        "The projection is that of tanh(c), without the output gate.",
        replaced(v=other("m")),
    )
    yield (
        "projection of c",
        "The projection is that of o c, without the tanh.",
        replaced(v=lambda s: s.o * s.c),
    )
    yield (
        "tanh after the projection",
        "A tanh is applied to the projected state too.",
        replaced(h=lambda s: np.tanh(s.v @ s.R)),
    )
    yield (
        "tanh after the projection only",
        "The tanh is applied after the projection instead.",
        replaced(h=lambda s: np.tanh((s.o * s.c) @ s.R)),
    )
    yield (
        "projection doubled",
        "The projected state is counted twice.",
        misread("h", R=times(2, "R")),
    )
    yield (
        "projection negated",
        "The projected state has the wrong sign.",
        misread("h", R=times(-1, "R")),
    )
    yield (
        "projected state added to the old one",
        "The new state is added to the old one.",
        replaced(h=lambda s: s.v @ s.R + s.h_prev),
    )
    yield (
        "projection of the step before",
        "The projected state is that of the output before.",
        misread("h", v=lambda s: s.before.v if s.before else s.v),
    )
    yield (
        "R reversed in its rows",
        "R meets the units in the opposite order.",
        misread("h", R=lambda s: s.R[..., ::-1, :]),
    )
    yield "dR missing", "The gradient of R is zero.", misread("dR", dr=zero("dr"))
    yield (
        "dR with tanh(c)",
        "The gradient of R is taken with tanh(c), without the output gate.",
        misread("dR", v=other("m")),
    )
    yield (
        "dR with c",
        "The gradient of R is taken with the cell state.",
        misread("dR", v=other("c")),
    )
    yield (
        "dR of the last step",
        "The gradient of R comes from the last step only.",
        misread("dR", dr=steps("dr", lambda t, n: t == n - 1)),
    )
    yield (
        "dR without the carry",
        "The gradient of R leaves out what later steps hand back.",
        misread("dR", dr=other("dy")),
    )
    yield (
        "dR without dy",
        "The gradient of R leaves out the cotangents of y.",
        misread("dR", dr=other("dh_next")),
    )
    yield (
        "dv without the carry",
        "The gradient of the output leaves out what later steps hand back.",
        misread("dv", dr=other("dy")),
    )
    yield (
        "dv reversed in its units",
        "R is read in the opposite order in the backward.",
        misread("dv", R=lambda s: s.R[..., ::-1, :]),
    )
    yield (
        "do with the output",
        "The gradient of o is taken with the output instead of tanh(c).",
        misread("do", m=other("v")),
    )
    yield "dm without o", "The gradient of tanh(c) leaves out the output gate.", misread("dm", o=1)
