"""Faults of a gated recurrent unit whose reset is after or before the product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gatecheck.cells import GRU, Cell
from gatecheck.faults.edits import both, misread, other, replaced, times
from gatecheck.faults.tables.readings import EditRow, earlier, zero
from gatecheck.reference import equations
from gatecheck.reference.equations import T, over_time


def reset_after(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of a reset after the product."""
    before = equations(GRU("before")).step
    yield (
        "reset before the product",
        "The reset gate multiplies the old state before the product with U_n.",
        _reset_before_product(before),
        "pytorch/pytorch#189225, microsoft/onnxscript#2852, tracel-ai/burn PR 2704",
    )
    yield (
        "c_n missing",
        "The candidate's inner bias c_n is never added.",
        misread("q", c_n=0),
        "google/flax#5594",
    )
    yield (
        "c_n outside the reset",
        "The candidate's inner bias is added outside the reset.",
        both(misread("q", c_n=0), misread("a_n", b_n=lambda s: s.b_n + s.c_n)),
        "apple/coremltools#1124",
    )
    yield (
        "b_n inside the reset",
        "The candidate's outer bias is added inside the reset.",
        both(misread("q", c_n=lambda s: s.c_n + s.b_n), misread("a_n", b_n=0)),
    )
    yield (
        "b_n and c_n exchanged",
        "The candidate's two biases are exchanged.",
        both(misread("q", c_n=other("b_n")), misread("a_n", b_n=other("c_n"))),
    )
    yield (
        "c_n twice",
        "The candidate's inner bias is added twice.",
        misread("q", c_n=times(2, "c_n")),
    )
    yield (
        "reset on the whole candidate",
        "The reset gate multiplies the candidate's whole preactivation.",
        replaced(a_n=lambda s: s.r * (s.x @ s.W_n + s.b_n + s.q)),
    )
    yield (
        "reset after the tanh",
        "The reset gate multiplies the candidate after its tanh.",
        replaced(a_n=lambda s: s.x @ s.W_n + s.b_n + s.q, n=lambda s: s.r * np.tanh(s.a_n)),
    )
    yield (
        "reset before and after",
        "The reset gate multiplies the old state both before and after the product with U_n.",
        misread("q", h_prev=lambda s: s.r * s.h_prev),
    )
    yield (
        "r missing in dq",
        "The gradient of the recurrent product leaves out the reset gate.",
        misread("dq", r=1),
        "ooples/AiDotNet PR 722",
    )
    yield (
        "reset factor missing in dh",
        "The carried gradient leaves out the reset gate.",
        misread("dh_prev", dq=other("da_n")),
        "ooples/AiDotNet PR 722",
    )
    yield (
        "r missing in dU_n",
        "The gradient of U_n leaves out the reset gate.",
        misread("dU_n", dq=other("da_n")),
    )
    yield (
        "r missing in dc_n",
        "The gradient of c_n leaves out the reset gate.",
        misread("dc_n", dq=other("da_n")),
    )
    yield "dc_n missing", "The gradient of c_n is zero.", misread("dc_n", dq=zero("dq"))
    yield (
        "r is its preactivation",
        "The saved reset gate is its preactivation.",
        misread("dq", r=other("a_r")),
        "microsoft/onnxruntime#16862",
    )
    yield (
        "r of the step before in dq",
        "The gradient of the recurrent product uses the reset gate of the step before.",
        misread("dq", r=earlier("r")),
        "ooples/AiDotNet PR 722",
    )
    yield (
        "z in dq",
        "The gradient of the recurrent product uses the update gate instead of the reset gate.",
        misread("dq", r=other("z")),
    )
    yield (
        "dr with h_prev for q",
        "The gradient of the reset gate uses the old state where its product with U_n belongs.",
        misread("dr", q=other("h_prev")),
    )
    yield (
        "c_n missing in dr",
        "The gradient of the reset gate leaves out the inner bias.",
        misread("dr", q=lambda s: s.q - s.c_n),
    )
    yield (
        "dr from dn",
        "The gradient of the reset gate leaves out the slope of the candidate.",
        misread("dr", da_n=other("dn")),
    )
    yield (
        "dr from dq",
        "The gradient of the reset gate is taken after the reset instead of before it.",
        misread("dr", da_n=lambda s: s.da_n * s.r),
    )
    yield (
        "q of the step before in dr",
        "The gradient of the reset gate uses the product of the step before.",
        misread("dr", q=earlier("q")),
    )
    yield (
        "reset on b_n's gradient",
        "The gradient of b_n is multiplied by the reset gate, as if b_n were inside it.",
        misread("db_n", da_n=other("dq")),
    )
    yield (
        "reset on W_n's gradient",
        "The gradient of W_n is multiplied by the reset gate.",
        misread("dW_n", da_n=other("dq")),
    )
    yield (
        "reset on the inputs' gradient",
        "The candidate's share of the gradient of the inputs is multiplied by the reset gate.",
        misread("dx", da_n=other("dq")),
    )


def _reset_before_product(step: Any) -> Any:
    # In that form the only place for c_n is next to b_n.
    return replaced(q=step["q"], a_n=lambda s: step["a_n"](s) + s.c_n)


def reset_before(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of a reset before the product."""
    yield (
        "reset after the product",
        "The reset gate multiplies the product with U_n instead of the old state.",
        replaced(a_n=lambda s: s.x @ s.W_n + s.b_n + s.r * (s.h_prev @ s.U_n)),
    )
    yield (
        "reset on the whole candidate",
        "The reset gate multiplies the candidate's whole preactivation.",
        replaced(a_n=lambda s: s.r * (s.x @ s.W_n + s.b_n + s.h_prev @ s.U_n)),
    )
    yield (
        "reset before and after",
        "The reset gate multiplies the old state both before and after the product with U_n.",
        replaced(a_n=lambda s: s.x @ s.W_n + s.b_n + s.r * (s.q @ s.U_n)),
    )
    yield (
        "reset factor missing in dh",
        "The carried gradient leaves out the reset gate.",
        misread("dh_prev", r=1),
        "ooples/AiDotNet PR 722",
    )
    yield (
        "r of the step before in dh",
        "The carried gradient uses the reset gate of the step before.",
        misread("dh_prev", r=earlier("r")),
        "ooples/AiDotNet PR 722",
    )
    yield (
        "r is its preactivation",
        "The saved reset gate is its preactivation.",
        misread("dh_prev", r=other("a_r")),
        "microsoft/onnxruntime#16862",
    )
    yield (
        "z for r in dh",
        "The carried gradient uses the update gate where the reset gate belongs.",
        misread("dh_prev", r=other("z")),
    )
    yield (
        "r missing in dU_n",
        "The gradient of U_n leaves out the reset gate.",
        misread("dU_n", q=other("h_prev")),
    )
    yield (
        "dU_n by r after the product",
        "The gradient of U_n is taken as if the reset came after the product.",
        replaced(dU_n=lambda q: over_time(q.h_prev, q.da_n * q.r)),
    )
    yield (
        "dr with h for h_prev",
        "The gradient of the reset gate uses the new state where the old one belongs.",
        misread("dr", h_prev=other("h")),
    )
    yield (
        "dr with the reset state",
        "The gradient of the reset gate uses the old state after the reset.",
        misread("dr", h_prev=other("q")),
    )
    yield (
        "dr before U_n",
        "The gradient of the reset gate leaves out the product with the transpose of U_n.",
        misread("dr", dq=other("da_n")),
    )
    yield (
        "dr as if after the product",
        "The gradient of the reset gate is taken as if the reset came after the product.",
        replaced(dr=lambda s: s.da_n * (s.h_prev @ s.U_n)),
    )
    yield (
        "dq past the tanh",
        "The gradient of the reset state leaves out the slope of the candidate.",
        replaced(dq=lambda s: s.dn @ T(s.U_n)),
    )
