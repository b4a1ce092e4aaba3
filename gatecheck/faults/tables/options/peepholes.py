"""Faults of peepholes, through which gates see the cell state."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, replaced, times
from gatecheck.faults.tables.options.gates import gate
from gatecheck.faults.tables.readings import EditRow, steps, zero


def peepholes(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of peepholes, through which gates see the cell state."""
    sees = {k: "c" if k == "o" else "c_prev" for k in cell.sigmoid_gates}
    yield (
        "output peephole added after the sigmoid",
        "The output gate's peephole is added to the gate instead of its preactivation.",
        replaced(o=lambda s: gate(cell, s.a_o - s.p_o * s.c) + s.p_o * s.c),
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
