"""Faults of a cell's options.

These are peepholes, coupled gates, the clip of the cell state, hard sigmoids, the forget bias and
the projection.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, replaced, times
from gatecheck.faults.tables.readings import EditRow, earlier, steps, zero
from gatecheck.reference import Equations
from gatecheck.reference.equations import Equation, sigmoid


def _gate(cell: Cell, a: Any) -> Any:
    return sigmoid(a) if cell.hard is None else np.minimum(np.maximum(a / cell.hard + 0.5, 0), 1)


def peepholes(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of peepholes, through which gates see the cell state."""
    sees = {k: "c" if k == "o" else "c_prev" for k in cell.sigmoid_gates}
    yield (
        "output peephole added after the sigmoid",
        "The output gate's peephole is added to the gate instead of its preactivation.",
        replaced(o=lambda s: _gate(cell, s.a_o - s.p_o * s.c) + s.p_o * s.c),
        "Lasagne/Lasagne#448",
    )
    for j, k in combinations(sees, 2):
        swap = both(
            misread(f"a_{j}", **{f"p_{j}": other(f"p_{k}")}),
            misread(f"a_{k}", **{f"p_{k}": other(f"p_{j}")}),
        )
        yield (
            f"peepholes of {j} and {k} exchanged",
            f"The slices of p for {j} and {k} are exchanged.",
            swap,
            "webmachinelearning/webnn-baseline PR 81",
        )
    yield (
        "output peephole sees the old c",
        "The output gate sees the old cell state.",
        misread("a_o", c=other("c_prev")),
    )
    yield (
        "output peephole sees tanh c",
        "The output gate sees the cell state after its tanh.",
        misread("a_o", c=lambda s: np.tanh(s.c)),
    )
    yield (
        "peepholes missing",
        "No gate sees the cell state.",
        misread(" ".join(f"a_{k}" for k in sees), **{f"p_{k}": 0 for k in sees}),
    )
    for k, c in sees.items():
        a, p = f"a_{k}", f"p_{k}"
        yield (
            f"peephole of {k} missing",
            f"Gate {k} does not see the cell state.",
            misread(a, **{p: 0}),
        )
        yield (
            f"peephole of {k} twice",
            f"The peephole of {k} is added twice.",
            misread(a, **{p: times(2, p)}),
        )
        yield (
            f"peephole of {k}: sign",
            f"The peephole of {k} is subtracted.",
            misread(a, **{p: times(-1, p)}),
        )
        yield (
            f"peephole of {k} of the neighbouring unit",
            f"Each unit's gate {k} uses the peephole weight of its neighbor.",
            misread(a, **{p: lambda s, p=p: np.roll(s[p], 1, -1)}),
        )
        yield (
            f"peephole of {k} shared by all units",
            f"Every unit's gate {k} uses the peephole weight of the first unit.",
            misread(a, **{p: lambda s, p=p: s[p][..., :1] + 0 * s[p]}),
        )
        yield (
            f"peephole of {k} sees h",
            f"The peephole of {k} sees the old output instead of the cell state.",
            misread(a, **{c: other("h_prev")}),
        )
        yield (
            f"peephole of {k} at the first step only",
            f"Gate {k} sees the cell state at the first step only.",
            misread(a, **{p: lambda s, p=p: s[p] * (s.t == 0)}),
        )
        yield (
            f"peephole of {k} missing in dc",
            f"The share of the peephole of {k} is left out of the gradient of the cell state.",
            misread("dc" if k == "o" else "dc_prev", **{p: zero(p)}),
            "tensorflow/tensorflow#34171",
        )
        yield (
            f"peephole of {k} twice in dc",
            f"The share of the peephole of {k} is counted twice in the gradient of the cell state.",
            misread("dc" if k == "o" else "dc_prev", **{p: times(2, p)}),
            "tensorflow/tensorflow#34171",
        )
        total, da, wrong = f"dp_{k}", f"da_{k}", "c_prev" if c == "c" else "c"
        yield f"{total} missing", f"The gradient of {p} is zero.", misread(total, **{da: zero(da)})
        yield (
            f"{total} with {wrong}",
            f"The gradient of {p} is taken with {wrong} where {c} belongs.",
            misread(total, **{c: other(wrong)}),
        )
        yield (
            f"{total} with h",
            f"The gradient of {p} is taken with the old output.",
            misread(total, **{c: other("h_prev")}),
        )
        yield (
            f"{total} of the last step",
            f"The gradient of {p} comes from the last step only.",
            misread(total, **{da: steps(da, lambda t, n: t == n - 1)}),
        )
        for j in sees:
            if j != k:
                yield (
                    f"{total} from {j}",
                    f"The gradient of {p} is summed from that of {j}.",
                    misread(total, **{da: other(f"da_{j}")}),
                )


def coupled(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of i = 1 - f."""
    yield (
        "i is f",
        "The input gate is the forget gate instead of its complement.",
        replaced(i=other("f")),
    )
    yield "i is 1", "The candidate enters ungated.", replaced(i=lambda s: 1 + 0 * s.f)
    yield (
        "i is 1 - f of the step before",
        "The input gate is the complement of an old forget gate.",
        misread("i", f=earlier("f")),
    )
    yield (
        "i is σ(-f)",
        "The input gate is the sigmoid of -f instead of that of -a_f.",
        replaced(i=lambda s: sigmoid(-s.f)),
    )
    if not cell.peepholes:  # then o is computed after c
        yield (
            "i is 1 - o",
            "The input gate is the complement of the output gate.",
            replaced(i=lambda s: 1 - sigmoid(s.a_o)),
        )
    yield (
        "f is 1 - i in c",
        "The forget gate enters the cell state where its complement belongs.",
        misread("c", f=other("i"), i=other("f")),
    )
    yield (
        "df without the share of i",
        "The gradient of f leaves out that through i = 1 - f.",
        replaced(df=lambda s: s.dc * s.c_prev),
    )
    yield (
        "df without the share of f",
        "The gradient of f is that through i = 1 - f alone.",
        replaced(df=lambda s: -s.dc * s.g),
    )
    yield (
        "df: sign of the share of i",
        "The gradient through i = 1 - f has the wrong sign.",
        replaced(df=lambda s: s.dc * (s.c_prev + s.g)),
    )
    yield (
        "df with i for g",
        "The gradient through i = 1 - f is taken with the gate.",
        misread("df", g=other("i")),
    )


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
        replaced(f=lambda s: _gate(cell, clipped(s.a_f)), o=lambda s: _gate(cell, clipped(s.a_o))),
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


def hard(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of hard sigmoids."""
    width = cell.hard or 1
    others = {5: 6, 6: 5}
    for k in cell.sigmoid_gates:

        def line(s: Any, w: float = others[width], k: str = k) -> Any:
            return np.minimum(np.maximum(s[f"a_{k}"] / w + 0.5, 0), 1)

        def open_line(s: Any, k: str = k) -> Any:
            return s[f"a_{k}"] / width + 0.5

        def slope(s: Any, k: str = k) -> Any:
            return s[f"d{k}"] * (s[k] > 0) * (s[k] < 1) / width

        da, inside = f"da_{k}", slope
        yield (
            f"hard sigmoid of {k} {others[width]} wide",
            f"Gate {k} is a/{others[width]} + ½ where a/{width} + ½ belongs.",
            replaced(**{k: line}),
        )
        yield (
            f"{k} not clipped at 1",
            f"Gate {k} may exceed one.",
            replaced(**{k: lambda s, f=open_line: np.maximum(f(s), 0)}),
        )
        yield (
            f"{k} not clipped at 0",
            f"Gate {k} may be negative.",
            replaced(**{k: lambda s, f=open_line: np.minimum(f(s), 1)}),
        )
        yield (
            f"{k} without its half",
            f"Gate {k} is a/{width}, without the half.",
            replaced(**{k: lambda s, f=open_line: np.minimum(np.maximum(f(s) - 0.5, 0), 1)}),
        )
        yield (
            f"logistic sigmoid on {k}",
            f"Gate {k} is the logistic sigmoid.",
            replaced(**{k: lambda s, k=k: sigmoid(s[f"a_{k}"])}),
        )
        yield (
            f"slope of {k} missing",
            f"The slope 1/{width} of gate {k} is left out.",
            replaced(**{da: lambda s, f=inside: f(s) * width}),
        )
        yield (
            f"slope of {k} beyond its ends",
            f"The slope of gate {k} is 1/{width} where it is shut or open too.",
            replaced(**{da: lambda s, k=k: s[f"d{k}"] / width}),
        )
        yield (
            f"slope of {k} as if logistic",
            f"The slope of gate {k} is taken as {k} (1 - {k}).",
            replaced(**{da: lambda s, k=k: s[f"d{k}"] * s[k] * (1 - s[k])}),
        )
        yield (
            f"slope of {k} of width {others[width]}",
            f"The slope of gate {k} is taken as 1/{others[width]}.",
            replaced(**{da: lambda s, f=inside: f(s) * width / others[width]}),
        )
        yield (
            f"{k} cut at 1 in its slope only",
            f"The slope of gate {k} is zero where it is open, but not where it is shut.",
            replaced(**{da: lambda s, k=k: s[f"d{k}"] * (s[k] < 1) / width}),
        )


def forget_bias(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of a forget bias that is added at run time."""
    bias = cell.forget_bias

    def more(gate: str, by: Any) -> Any:
        def edit(equations: Equations) -> dict[str, Equation]:
            right = equations[f"a_{gate}"]
            return {f"a_{gate}": lambda s: right(s) + (by(s) if callable(by) else by)}

        return edit

    yield "forget bias left out", "The run-time forget bias is not added.", more("f", -bias)
    yield (
        "forget bias twice",
        "The run-time forget bias is added to weights that hold it already.",
        more("f", bias),
    )
    yield (
        "forget bias at the first step only",
        "The run-time forget bias is added at the first step only.",
        more("f", lambda s: -bias * (s.t > 0)),
        "apple/coremltools#309",
    )
    yield "forget bias subtracted", "The run-time forget bias is subtracted.", more("f", -2 * bias)
    yield (
        "forget bias on o",
        "The run-time forget bias is added to the output gate.",
        both(more("f", -bias), more("o", bias)),
    )
    yield (
        "forget bias on o too",
        "The run-time forget bias is added to the output gate too.",
        more("o", bias),
    )
    if not cell.coupled:
        yield (
            "forget bias on i",
            "The run-time forget bias is added to the input gate.",
            both(more("f", -bias), more("i", bias)),
        )
    yield (
        "forget bias after the sigmoid",
        "The run-time forget bias is added to the gate.",
        replaced(f=lambda s: _gate(cell, s.a_f - bias) + bias),
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


def rows(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the options that a cell has."""
    if cell.projection:
        yield from projection(cell)
    if cell.peepholes:
        yield from peepholes(cell)
    if cell.coupled:
        yield from coupled(cell)
    if cell.clip is not None:
        yield from clip(cell)
    if cell.hard is not None:
        yield from hard(cell)
    if cell.forget_bias:
        yield from forget_bias(cell)
