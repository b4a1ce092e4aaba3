"""Which rows run at which step of a batch of sequences of different lengths.

The kernels see the rows sorted, longest first. Those that still run at a step are then the first
ones, a contiguous part of every matrix, and the others keep the state that they have reached.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array


class Schedule(NamedTuple):
    """The rows of a batch, sorted by length.

    Attributes
    ----------
    running : ndarray
        ``(T,)``: how many rows run at each step.
    ends : ndarray
        ``(B,)``: the lengths of the sorted rows.
    order, back
        Indices that sort rows and that bring them back.
    padded : ndarray or None
        ``(T, B)``: where sorted rows have ended; None if the lengths were not given.
    """

    running: Array
    ends: Array
    order: Any
    back: Any
    padded: Array | None

    def rows(self, array: Array) -> Array:
        """The rows ``(..., B, n)`` sorted; the array itself, or a view of it, where lengths were
        not given.
        """
        return array[..., self.order, :]

    def rows_back(self, array: Array) -> Array:
        """The inverse of :meth:`rows`."""
        return array[..., self.back, :]

    def last(self, states: Array) -> Array:
        """Of the states ``(T + 1, B, H)`` of sorted rows a copy of each row's last one, in the
        order that was given.
        """
        return (
            states[-1].copy()
            if self.padded is None
            else self.rows_back(states[self.ends, np.arange(len(self.ends))])
        )

    def clear(self, sequences: Array) -> None:
        """Set sequences ``(..., T, B, n)`` of sorted rows to zero where a row has ended."""
        if self.padded is not None:
            sequences[..., self.padded, :] = 0

    def cleared(self, sequence: Array) -> Array:
        """The sequence with zeros where a row has ended; the array itself where lengths were not
        given.
        """
        # Not a product with a mask: the last state may be infinite.
        return (
            sequence
            if self.padded is None
            else np.where(self.padded[..., None], sequence.dtype.type(0), sequence)
        )


def schedule(T: int, B: int, lengths: Array | None) -> Schedule:
    """The schedule of `B` rows of these lengths ``(B,)``, each from 0 to `T`; None is `T` for all."""
    if lengths is None:
        return _full(T, B)
    lengths = lengths.astype(np.int64)  # unsigned ones have no negatives
    order = np.argsort(-lengths, kind="stable")
    ends = lengths[order]
    padded = np.arange(T)[:, None] >= ends
    return Schedule(B - padded.sum(axis=1), ends, order, np.argsort(order), padded)


@lru_cache(maxsize=64)
def _full(T: int, B: int) -> Schedule:
    return Schedule(np.full(T, B), np.full(B, T), slice(None), slice(None), None)
