"""Faults of the sums over steps and rows that every cell can have."""

from __future__ import annotations

from collections.abc import Iterator

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, times
from gatecheck.faults.tables.readings import (
    EditRow,
    batch,
    misread_dU_state,
    misread_sums,
    rounded,
    shifted,
    steps,
)
from gatecheck.reference.equations import Equation


def _add_weight_decay(sum_of: Equation, k: str) -> Equation:
    return lambda q: sum_of(q) + 0.01 * q.first[f"W_{k}"]


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
