"""Aligned memory for large arrays, reused when it is free.

The system maps each page when it is first written to, and unmaps all at the end of a call. For a
sequence and gradients of some megabytes, that takes up to a third of the time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.kernels.simd import BYTES

LARGE = 2**14
"""Smallest size in bytes of an array that is aligned."""

KEPT = 2**17, 2**25
"""Smallest and largest size in bytes of memory that is pooled.

Below, the allocator reuses it; above, the system has large pages.
"""

_kept: deque[Array] = deque(maxlen=8)
"""Free pieces of memory; few, so that the pool holds at most 256 MiB."""


class _Piece:
    """Memory that returns to the pool when the last array in it is deleted."""

    def __init__(self, space: Array) -> None:
        self._space, self.__array_interface__ = space, space.__array_interface__

    def __del__(self, keep: Callable[[Array], None] = _kept.append) -> None:
        keep(self._space)


def _taken(size: int) -> Array:
    """Return memory of a size, from the pool if possible."""
    for _ in range(len(_kept)):
        try:
            buffer = _kept.popleft()
        except IndexError:  # another thread emptied the pool
            break
        if buffer.size == size:
            return buffer
        _kept.append(buffer)
    return np.empty(size, np.uint8)


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialized array that starts, if large, at a cache line.

    A vector that crosses two lines is read twice.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    buffer = _taken(size + BYTES)
    if KEPT[0] <= buffer.size <= KEPT[1]:
        buffer = np.asarray(_Piece(buffer))
    offset = -buffer.ctypes.data % BYTES
    out: Array = buffer[offset : offset + size].view(dtype).reshape(shape)
    return out


def copied(array: Array) -> Array:
    """Return an aligned C-contiguous copy."""
    out = aligned(array.shape, array.dtype)
    out[...] = array
    return out
