"""Faults that every cell can have: of the state, the carried gradient, and sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import Edit, Reading, both, misread, other, replaced, times, transposed
from gatecheck.faults.tables.readings import (
    EditRow,
    at_first,
    batch,
    earlier,
    later,
    misread_dU_state,
    misread_sums,
    only_when,
    preactivation_equations,
    recurrence_backward,
    recurrence_equation,
    rounded,
    shifted,
    steps,
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


def _cut_carry(keep: Any) -> Edit:
    """Return the edit that keeps the carried dh at some steps only.

    The last step's carry, the cotangent of h_T, is always kept.
    """
    return misread("dh", dh_next=only_when("dh_next", lambda s: s.after is None or keep(s)))


def _not_every(k: int) -> Callable[[Any], bool]:
    return lambda s: (s.T - 1 - s.t) % k != 0


def _dy_at(by: int) -> Reading:
    return lambda s: s.all_dy[min(max(s.t + by, 0), s.T - 1)]


def _add_weight_decay(sum_of: Equation, k: str) -> Equation:
    return lambda q: sum_of(q) + 0.01 * q.first[f"W_{k}"]


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


def totals(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the sums that make the parameters' gradients."""
    yield (
        "dU with h for h_prev",
        "The gradient of U is taken with the new state instead of the old one.",
        both(*(misread_dU_state(cell, k, other("h")) for k in cell.gates)),
    )
    yield (
        "dU without h0",
        "The gradient of U leaves out the initial state.",
        both(*(misread_dU_state(cell, k, steps("h_prev", lambda t, n: t > 0)) for k in cell.gates)),
    )
    yield (
        "dU one step off",
        "The gradient of U is taken with the state of two steps before.",
        both(*(misread_dU_state(cell, k, shifted("h_prev", -1)) for k in cell.gates)),
    )
    dW = " ".join(f"dW_{k}" for k in cell.gates)
    yield (
        "dW with x of the step before",
        "The gradient of W is taken with the inputs of the step before.",
        misread(dW, x=shifted("x", -1)),
    )
    yield (
        "dW with x of the step after",
        "The gradient of W is taken with the inputs of the step after.",
        misread(dW, x=shifted("x", 1)),
    )
    yield (
        "dW with weight decay",
        "A hundredth of W is added to its gradient.",
        lambda e: {f"dW_{k}": _add_weight_decay(e.total[f"dW_{k}"], k) for k in cell.gates},
    )
    some = {
        "first step missing in the sums": (
            "leave out the first step",
            lambda d: steps(d, lambda t, n: t > 0),
        ),
        "last step missing in the sums": (
            "leave out the last step",
            lambda d: steps(d, lambda t, n: t < n - 1),
        ),
        "last step only in the sums": (
            "come from the last step only",
            lambda d: steps(d, lambda t, n: t == n - 1),
        ),
        "overwritten, not summed": (
            "are overwritten at every step, which leaves the first",
            lambda d: steps(d, lambda t, n: t == 0),
        ),
        "first row missing in the sums": (
            "leave out the first row of the batch",
            lambda d: batch(d, lambda b: b > 0),
        ),
        "first row only in the sums": (
            "come from the first row of the batch only",
            lambda d: batch(d, lambda b: b == 0),
        ),
        "mean over the batch": (
            "are averaged over the batch instead of summed",
            lambda d: lambda q: q[d] / q.x.shape[-2],
        ),
        "mean over time": (
            "are averaged over the steps instead of summed",
            lambda d: lambda q: q[d] / len(q.steps),
        ),
        "sums in float32": ("are summed from values rounded to single precision", rounded),
        "sums doubled": ("are counted twice", lambda d: times(2, d)),
    }
    for name, (what, how) in some.items():
        yield name, f"The parameters' gradients {what}.", misread_sums(how)
    yield (
        "bias gradients averaged over the batch",
        "The biases' gradients are averaged over the batch.",
        misread_sums(some["mean over the batch"][1], "db", "dc_n"),
    )
    yield (
        "bias gradients of the first row only",
        "The biases' gradients come from the first row of the batch only.",
        misread_sums(some["first row only in the sums"][1], "db", "dc_n"),
    )
    yield (
        "bias gradients of the last step only",
        "The biases' gradients come from the last step only.",
        misread_sums(some["last step only in the sums"][1], "db", "dc_n"),
    )


def rows(cell: Cell) -> Iterator[EditRow]:
    """Yield all of these faults."""
    yield from state(cell)
    yield from carry(cell)
    yield from totals(cell)
