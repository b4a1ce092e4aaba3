"""Memory for large arrays: aligned, and taken again when nobody uses it any more.

The system hands out pages one by one when they are first written to, and at the end of a call it
gets them back. Where a sequence and its gradients are some megabytes, that takes up to a third of
the time.
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
"""Bytes from which on an array is worth being aligned."""

KEPT = 2**17, 2**25
"""The fewest and most bytes of a piece of memory that is kept: below an allocator keeps it, above
the system has large pages.
"""

_kept: deque[Array] = deque(maxlen=8)
"""Pieces that nobody uses. There are few, so that no more than 256 MiB wait for what may never
come.
"""


class _Piece:
    """Memory that is kept when the last array that lies in it is gone."""

    def __init__(self, space: Array) -> None:
        self._space, self.__array_interface__ = space, space.__array_interface__

    def __del__(self, keep: Callable[[Array], None] = _kept.append) -> None:
        keep(self._space)


def _taken(size: int) -> Array:
    """So many bytes, if possible some that were kept."""
    for _ in range(len(_kept)):
        try:
            space = _kept.popleft()
        except IndexError:  # another thread took it
            break
        if space.size == size:
            return space
        _kept.append(space)
    return np.empty(size, np.uint8)


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array to be filled that begins, if it is large, with a line of the cache: a vector that
    lies across two lines is read twice.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    space = _taken(size + BYTES)
    if KEPT[0] <= space.size <= KEPT[1]:
        space = np.asarray(_Piece(space))
    first = -space.ctypes.data % BYTES
    out: Array = space[first : first + size].view(dtype).reshape(shape)
    return out


def copied(array: Array) -> Array:
    """A C-contiguous copy, aligned."""
    out = aligned(array.shape, array.dtype)
    out[...] = array
    return out
