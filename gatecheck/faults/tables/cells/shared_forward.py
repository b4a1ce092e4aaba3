"""Faults of the state and the inputs that every cell can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import Edit, Reading, both, misread, replaced, times, transposed
from gatecheck.faults.tables.readings import (
    EditRow,
    at_first,
    earlier,
    preactivation_equations,
    recurrence_equation,
    rounded,
    to_single,
    zero,
)
from gatecheck.reference import Equations
from gatecheck.reference.equations import Equation


def _overwrite_state(equations: Equations) -> Mapping[str, Equation]:
    def sweep(name: str) -> Equation:
        def equation(s: Any) -> Any:
            right = equations.step[name](s)
            updated, state = (a.copy() for a in np.broadcast_arrays(right, s.h_prev, subok=True))
            for k in range(state.shape[-1]):
                reread = s.reading(h_prev=state)
                for term, right_side in equations.step.items():
                    if not term.endswith("_prev"):
                        reread.__dict__[term] = right_side(reread)
                updated[..., k] = reread[name][..., k]
                state[..., k] = reread.h[..., k]
            return updated

        return equation

    return {name: sweep(name) for name in equations.cell.state}


def _change_state(before: Reading) -> Edit:
    return misread("h_prev", before=before)


def _skip_update(index: Any) -> Edit:
    """Return the edit by which some entries of the state keep their old value."""

    def edit(equations: Equations) -> Mapping[str, Equation]:
        def h(s: Any) -> Any:
            new, old = (
                a.copy() for a in np.broadcast_arrays(equations.step["h"](s), s.h_prev, subok=True)
            )
            new[index(new)] = old[index(new)]
            return new

        return {"h": h}

    return edit


def _zero_last(name: str, axis: int) -> Reading:
    def reading(s: Any) -> Any:
        a = s[name].copy()
        a[(..., -1) if axis == -1 else (..., -1, slice(None))] = 0
        return a

    return reading


def state(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the state and of the inputs, forward."""
    a = preactivation_equations(cell)
    yield "h0 ignored", "The initial state h0 is never read.", misread("h_prev", h0=zero("h0"))
    yield (
        "every step starts from h0",
        "The new state is never handed on: every step starts from h0.",
        _change_state(lambda s: None),
        "tracel-ai/burn PR 2704",
    )
    yield (
        "state reset at every step",
        "The old state is zero at every step but the first.",
        replaced(h_prev=lambda s: s.h0 * (s.t == 0)),
    )
    yield (
        "state reset half-way",
        "The state is set to zero in the middle of the sequence.",
        replaced(
            h_prev=lambda s: (s.before.h if s.before else s.h0) * (s.t == 0 or s.t != s.T // 2)
        ),
    )
    yield (
        "h0 one step late",
        "The initial state enters at the second step instead of the first.",
        replaced(h_prev=lambda s: s.before.h if s.t > 1 else s.h0 * (s.t == 1)),
    )
    yield (
        "h of two steps before",
        "The old state is that of two steps before.",
        _change_state(lambda s: s.before and (s.before.before or s.before)),
    )
    yield (
        "rows of the state mixed",
        "Each row of the batch continues from the state of its neighbor.",
        _change_state(lambda s: s.before and s.before.reading(h=np.roll(s.before.h, 1, -2))),
    )
    yield (
        "state overwritten while read",
        "Each hidden unit is stored where the units after it still read the old state.",
        _overwrite_state,
        "onnx/onnx-mlir PR 367",
    )
    yield (
        "last unit not updated",
        "A loop over the hidden units stops one early.",
        _skip_update(lambda h: (..., -1)),
    )
    yield (
        "vector tail not updated",
        "Hidden units beyond the last multiple of four keep their old state.",
        _skip_update(lambda h: (..., slice(h.shape[-1] // 4 * 4, None))),
    )
    yield (
        "last row not updated",
        "A loop over the batch stops one early.",
        _skip_update(lambda h: (..., slice(-1, None), slice(None))),
    )
    yield (
        "last input ignored",
        "The product with W leaves out the last input feature.",
        misread(a, x=_zero_last("x", -1)),
    )
    yield (
        "last unit not fed back",
        "The products with U leave out the last hidden unit.",
        both(
            *(
                misread(recurrence_equation(cell, k), **{f"U_{k}": _zero_last(f"U_{k}", -2)})
                for k in cell.gates
            )
        ),
    )
    yield (
        "x of the step before",
        "Each step reads the input of the step before.",
        misread(a, x=earlier("x")),
    )
    yield (
        "x of the step after",
        "Each step reads the input of the step after.",
        misread(a, x=lambda s: s.all_x[min(s.t + 1, s.T - 1)]),
    )
    yield "x of the first step", "Every step reads the first input.", misread(a, x=at_first("x"))
    yield (
        "x backwards in time",
        "The inputs are read from the last to the first.",
        misread(a, x=lambda s: s.all_x[s.T - 1 - s.t]),
    )
    yield "x in float32", "The inputs are rounded to single precision.", misread(a, x=rounded("x"))
    yield (
        "h in float32",
        "The state is rounded to single precision at every step.",
        lambda e: {"h": lambda s: to_single(e.step["h"](s))},
    )
    if len(cell.gates) > 1:
        yield (
            "U transposed",
            "Every gate uses the transpose of its U.",
            both(
                *(
                    misread(recurrence_equation(cell, k), **{f"U_{k}": transposed(f"U_{k}")})
                    for k in cell.gates
                )
            ),
            "keras-team/keras#8720",
        )
        yield (
            "biases missing",
            "No gate has a bias.",
            both(*(misread(f"a_{k}", **{f"b_{k}": 0}) for k in cell.gates)),
        )
        yield (
            "biases added twice",
            "Every gate's bias is added twice.",
            both(*(misread(f"a_{k}", **{f"b_{k}": times(2, f"b_{k}")}) for k in cell.gates)),
            "lisa-lab/DeepLearningTutorials#81",
        )
