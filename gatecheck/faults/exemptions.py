"""Reasons for exemptions: equivalent faults, and faults that need a comparison."""

from __future__ import annotations

from gatecheck.cells import LSTM
from gatecheck.faults.tables.calls.tails import rows, sequences, unit_gradients

EQUIVALENT = {
    "rnn-relu: activation twice": "The relu of a nonnegative number is that number, so "
    "relu(relu(a)) = relu(a).",
    "rnn-relu: slope squared": "The slope of relu is 0 or 1, and either is its own square.",
}
"""Named faults that change nothing, by label, with the reason."""

_SHORT_SEQUENCES = (
    "Relations are tried on short sequences, where it changes nothing; "
    "a hundred steps are compared with the equations."
)

_SMALL_SIZES = (
    "Relations are tried on few units, rows and steps, where it changes nothing; "
    "many are compared with the equations."
)

ONLY_BY_COMPARISON = {
    "outputs stop after 64 steps": _SHORT_SEQUENCES,
    "truncated after 16 steps": _SHORT_SEQUENCES,
    "truncated after 64 steps": _SHORT_SEQUENCES,
    **{
        name: _SMALL_SIZES
        for table in (unit_gradients, rows, sequences)
        for name, *_ in table(LSTM())
    },
}
"""Faults that no relation shows among the cases of a profile, by name."""
