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
from gatecheck.kernels.simd import VECTOR_BYTES

MIN_ALIGNED_BYTES = 2**14
"""Smallest size in bytes of an array that is aligned."""

POOLED_BYTES = 2**17, 2**25
"""Smallest and largest size in bytes of memory that is pooled.

Below, the allocator reuses it; above, the system has large pages.
"""

_pool: deque[Array] = deque(maxlen=8)
"""Free pieces of memory; few, so that the pool holds at most 256 MiB."""


class _PooledBuffer:
    """Memory that returns to the pool when the last array in it is deleted."""

    def __init__(self, buffer: Array) -> None:
        self._buffer, self.__array_interface__ = buffer, buffer.__array_interface__

    def __del__(self, release: Callable[[Array], None] = _pool.append) -> None:
        release(self._buffer)


def _take_buffer(size: int) -> Array:
    """Return memory of a size, from the pool if possible."""
    for _ in range(len(_pool)):
        try:
            buffer = _pool.popleft()
        except IndexError:  # another thread emptied the pool
            break
        if buffer.size == size:
            return buffer
        _pool.append(buffer)
    return np.empty(size, np.uint8)


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialized array that starts, if large, at a cache line.

    A vector that crosses two lines is read twice.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < MIN_ALIGNED_BYTES:
        return np.empty(shape, dtype)
    buffer = _take_buffer(size + VECTOR_BYTES)
    if POOLED_BYTES[0] <= buffer.size <= POOLED_BYTES[1]:
        buffer = np.asarray(_PooledBuffer(buffer))
    offset = -buffer.ctypes.data % VECTOR_BYTES
    out: Array = buffer[offset : offset + size].view(dtype).reshape(shape)
    return out


def aligned_copy(array: Array) -> Array:
    """Return an aligned C-contiguous copy."""
    out = aligned_empty(array.shape, array.dtype)
    out[...] = array
    return out
