"""Elementwise operations that the loops over time share.

They take C-contiguous matrices ``(B, H)``, those of one step. All kernels use one layout:
arrays with a slot per gate have the gate as first axis: sequences are
``(G, T * B, H)``, the rows of a step consecutive; weights are packed by
:func:`gatecheck.kernels.gemm.pack_weights`. x and its gradient are ``(T * B, D)``; the states of
all steps are ``(T + 1, B, H)``, the initial one first. At step t the first ``running[t]`` rows are
active (``running`` is ``(T,)``); kernels neither read nor write the others, whose contents are up
to the caller (:mod:`gatecheck.kernels.schedule`). A kernel computes only rows ``first`` to
``last``: rows are independent.
"""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.kernels.activations import SIGMOID, TANH
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias

# Explicit loops: Numba's code for an assignment to a slice can raise errors, whose messages take
# seconds to compile.


@jit
def clear(out: Array) -> None:
    """Set every entry to zero."""
    assume_no_alias()
    zero = out.dtype.type(0)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = zero


@jit
def broadcast_row(out: Array, row: Array) -> None:
    """Set every row of `out` to `row`."""
    assume_no_alias()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = row[j]


@jit
def copy(out: Array, a: Array) -> None:
    """Copy `a` to `out`."""
    assume_no_alias()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = a[i, j]


@jit
def add_scaled(out: Array, a: Array, scale: Array) -> None:
    """Add `a` to `out`, with every column multiplied by its `scale`."""
    assume_no_alias()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += scale[j] * a[i, j]


@jit
def multiply_by_slope(code: int, a: Array, y: Array) -> None:
    """Multiply `a` by an activation's derivative, from the activation's value `y`.

    The derivative is 1 - y² or y (1 - y), and for relu 1 where y > 0 and 0 elsewhere.
    """
    assume_no_alias()
    one, zero = y.dtype.type(1), y.dtype.type(0)
    for i in range(a.shape[0]):
        if code == TANH:
            for j in range(a.shape[1]):
                a[i, j] *= one - y[i, j] * y[i, j]
        elif code == SIGMOID:
            for j in range(a.shape[1]):
                a[i, j] *= y[i, j] * (one - y[i, j])
        else:
            for j in range(a.shape[1]):
                a[i, j] *= one if y[i, j] > zero else zero * y[i, j]  # 0; NaN if y is NaN
