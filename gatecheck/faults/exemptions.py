"""Why some faults cannot be told from the truth, and why some can only by comparing with another
implementation.
"""

from __future__ import annotations

EQUIVALENT = {
    "rnn-relu: activation twice": "The relu of a number that is not negative is the number, so relu(relu(a)) = relu(a).",
    "rnn-relu: slope squared": "The slope of relu is 0 or 1, and either is its own square.",
}
"""By label, the named faults that change nothing."""

_SHORT = "Relations are tried on short sequences, where it changes nothing; a hundred steps are compared with the equations."

ONLY_BY_COMPARISON = {
    "outputs stop after 64 steps": _SHORT,
    "truncated after 16 steps": _SHORT,
    "truncated after 64 steps": _SHORT,
}
"""By name, the faults that no relation shows among the cases of a profile."""
