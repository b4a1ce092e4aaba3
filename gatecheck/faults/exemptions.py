"""Reasons for exemptions: equivalent faults, and faults that need a comparison."""

from __future__ import annotations

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

ONLY_BY_COMPARISON = {
    "outputs stop after 64 steps": _SHORT_SEQUENCES,
    "truncated after 16 steps": _SHORT_SEQUENCES,
    "truncated after 64 steps": _SHORT_SEQUENCES,
}
"""Faults that no relation shows among the cases of a profile, by name."""
