"""Schedules of batches whose sequences have different lengths.

The kernels get the rows sorted, longest first. The active rows of a step are then the first ones, a
contiguous part of every matrix, and the others keep their last state.
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
    n_active : ndarray
        ``(T,)``: number of active rows at each step.
    lengths : ndarray
        ``(B,)``: lengths of the sorted rows.
    order, inverse_order
        Indices that sort the rows, and that restore their order.
    padding : ndarray or None
        ``(T, B)``: True where a sorted row has ended; None if no lengths were given.
    """

    n_active: Array
    lengths: Array
    order: Any
    inverse_order: Any
    padding: Array | None

    def sort_rows(self, array: Array) -> Array:
        """Return the rows ``(..., B, n)`` sorted.

        If no lengths were given, this is the array itself or a view of it.
        """
        return array[..., self.order, :]

    def restore_rows(self, array: Array) -> Array:
        """Restore the order of sorted rows; the inverse of :meth:`sort_rows`."""
        return array[..., self.inverse_order, :]

    def last_states(self, states: Array) -> Array:
        """Return a copy of each row's last state, in the original order.

        The states are ``(T + 1, B, H)``, of sorted rows.
        """
        return (
            states[-1].copy()
            if self.padding is None
            else self.restore_rows(states[self.lengths, np.arange(len(self.lengths))])
        )

    def clear_padding(self, sequences: Array) -> None:
        """Set sequences ``(..., T, B, n)`` of sorted rows to zero where rows have ended."""
        if self.padding is not None:
            sequences[..., self.padding, :] = 0

    def without_padding_values(self, sequence: Array) -> Array:
        """Return the sequence with zeros where a row has ended.

        If no lengths were given, this is the array itself.
        """
        # No product with a mask, since the last state may be infinite.
        return (
            sequence
            if self.padding is None
            else np.where(self.padding[..., None], sequence.dtype.type(0), sequence)
        )


def make_schedule(T: int, B: int, lengths: Array | None) -> Schedule:
    """Return the schedule of `B` rows.

    Lengths are ``(B,)``, each from 0 to `T`; None is `T` for all.
    """
    if lengths is None:
        return _full_length_schedule(T, B)
    lengths = lengths.astype(np.int64)  # unsigned integers cannot be negated
    order = np.argsort(-lengths, kind="stable")
    ends = lengths[order]
    padded = np.arange(T)[:, None] >= ends
    return Schedule(B - padded.sum(axis=1), ends, order, np.argsort(order), padded)


@lru_cache(maxsize=64)
def _full_length_schedule(T: int, B: int) -> Schedule:
    return Schedule(np.full(T, B), np.full(B, T), slice(None), slice(None), None)
