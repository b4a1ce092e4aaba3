"""What the loops over time share: matrices ``(B, H)`` of one step, C-contiguous.

Throughout, arrays with one slot a gate have the gate first: sequences ``(G, T * B, H)``, one row of
a step after the other; weights packed by :func:`gatecheck.kernels.gemm.packed`; x and its
gradient are ``(T * B, D)``; states of all steps ``(T + 1, B, H)``, the initial one first. ``running
(T,)`` is how many rows run at each step, the first ones; no kernel reads or writes the others
there, so whoever calls it decides what they hold (:mod:`gatecheck.kernels.schedule`). A kernel runs
rows ``first`` to ``last`` alone, since rows never meet.
"""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.kernels.activations import SIGMOID, TANH
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import apart

# Loops written out: what Numba makes of an assignment to a slice can raise errors, whose texts take
# seconds to compile.


@jit
def clear(out: Array) -> None:
    """Set to zero."""
    apart()
    zero = out.dtype.type(0)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = zero


@jit
def repeat(out: Array, row: Array) -> None:
    """Set every row of `out`."""
    apart()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = row[j]


@jit
def copy(out: Array, a: Array) -> None:
    """Set `out` to what `a` holds."""
    apart()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = a[i, j]


@jit
def add_scaled(out: Array, a: Array, scale: Array) -> None:
    """Add `a` to `out`, every column times its `scale`."""
    apart()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += scale[j] * a[i, j]


@jit
def times_slope(code: int, a: Array, y: Array) -> None:
    """Multiply `a` by an activation's derivative where its value is `y`: 1 - y², y (1 - y), or for
    relu 1 where y > 0 and else 0.
    """
    apart()
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
                a[i, j] *= one if y[i, j] > zero else zero * y[i, j]  # 0, or NaN where y is
