"""Matrix products for kernels, summed in one order for all shapes.

A row of a product is the same to the bit in any batch. No BLAS guarantees that: its order of
summation depends on the size of the batch and on the number of threads. Here every entry is one
chain of multiply-adds in the order of the inner index, which starts from zero and is then added to
the output. So rows are independent to the bit, a batch of perturbed inputs gives the results of
separate calls, and any split among threads gives the same.

The right operand is packed once for a whole sequence, into panels as wide as a tile (Goto & van de
Geijn 2008, "Anatomy of high-performance matrix multiplication"): at the sizes of a step, a BLAS
spends as long on packing as on multiplying. Complex operands, which only oracles have, are left to
the BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gatecheck._util.typing import Array
from gatecheck.kernels.buffer_pool import aligned_empty
from gatecheck.kernels.elementwise import broadcast_row, clear
from gatecheck.kernels.jit import jit, overload_by_dtype
from gatecheck.kernels.panels import add_panel_product, columns_per_panel

ROW_BLOCK = 192
"""Approximate number of rows multiplied by all panels while they are in the cache."""

REDUCTION_ROWS = 256
"""Rows of a partial sum of a weight gradient, which is then added to the output."""


def pack_weights(weights: Array, gates: int, *, transposed: bool = False) -> Array:
    """Pack weights for :func:`gemm_acc`.

    Parameters
    ----------
    weights
        ``(K, G * N)``, the gates side by side.
    gates
        Number of gates, G.
    transposed
        True to transpose each gate's matrix first, to ``(N, K)``.

    Returns
    -------
    ndarray
        ``(G, panels, rows, width)``: each gate's columns, `width` per panel, with zeros after the
        last; complex weights have one panel.
    """
    K, N = weights.shape[0], weights.shape[1] // gates
    rows, columns = (N, K) if transposed else (K, N)
    panel_width = columns if weights.dtype.kind == "c" else columns_per_panel(weights.dtype)
    out = aligned_empty(
        (gates, max(1, -(-columns // max(1, panel_width))), rows, panel_width), weights.dtype
    )
    _pack(np.ascontiguousarray(weights), out, N, columns, transposed)
    return out


@jit
def _pack(weights: Array, out: Array, N: int, columns: int, transposed: bool) -> None:
    gates, panels, rows, panel_width = out.shape
    for k in range(gates):
        for j in range(panels):
            filled = min(panel_width, columns - j * panel_width)
            for r in range(rows):
                for q in range(filled):
                    if transposed:
                        out[k, j, r, q] = weights[j * panel_width + q, k * N + r]
                    else:
                        out[k, j, r, q] = weights[r, k * N + j * panel_width + q]
                for q in range(filled, panel_width):
                    out[k, j, r, q] = 0


def gemm_acc(out: Array, a: Array, panels: Array) -> None:
    """Add the matrix product of `a` and packed weights to `out`.

    `a` is ``(M, K)``, the packed matrix ``(K, N)`` and `out` ``(M, N)``; `a` and `out` are
    C-contiguous.
    """
    out += a @ panels


@overload_by_dtype(gemm_acc)
def _overload_gemm_acc(out: Any, a: Any, panels: Any) -> Any:
    def of_complex(out: Any, a: Any, panels: Any) -> None:
        product = np.dot(a, panels[0])
        for r in range(out.shape[0]):
            for q in range(out.shape[1]):
                out[r, q] += product[r, q]

    if isinstance(a.dtype, types.Complex):
        return of_complex

    def of_real(out: Any, a: Any, panels: Any) -> None:
        add_panel_product(a, panels, out, 0, out.shape[1], a.shape[1])

    return of_real


@jit
def add_product(out: Array, a: Array, panels: Array) -> None:
    """Call :func:`gemm_acc` from Python."""
    gemm_acc(out, a, panels)


def choose_steps_per_gemm(B: int) -> int:
    """Return the number of steps of B rows whose products with x are computed at once.

    Weights are then read once for many steps of a small batch.
    """
    return max(1, ROW_BLOCK // max(1, B))


@jit
def input_forward(
    x: Array,
    panels: Array,
    bias: Array,
    a: Array,
    t: int,
    slot: int,
    steps_per_gemm: int,
    B: int,
    first: int,
    last: int,
) -> None:
    """Set the preactivations of step t: `bias` plus the product of x and the weights.

    Rows first to last of B are set. `bias` is ``(G, H)``, `x` ``(T * B, D)`` and `a`
    ``(G, slots * B, H)``. If these are all B rows, every step that is a multiple of
    `steps_per_gemm` sets `steps_per_gemm` steps at once, and the other steps do nothing.
    """
    target, source, rows = slot * B + first, t * B + first, last - first
    if rows == B and steps_per_gemm > 1:
        if t % steps_per_gemm > 0:
            return
        rows = min(steps_per_gemm * B, x.shape[0] - source)
    for k in range(a.shape[0]):
        broadcast_row(a[k, target : target + rows], bias[k])
        gemm_acc(a[k, target : target + rows], x[source : source + rows], panels[k])


@jit
def input_backward(
    d: Array,
    gates: int,
    panels: Array,
    dx: Array,
    t: int,
    steps_per_gemm: int,
    B: int,
    first: int,
    last: int,
) -> None:
    """Set dx of step t to the sum over gates of the products of d and the panels.

    This is :func:`input_forward`, backward in time.
    """
    low, rows = t * B + first, last - first
    if rows == B and steps_per_gemm > 1:
        if t % steps_per_gemm > 0:
            return
        rows = min(steps_per_gemm * B, dx.shape[0] - low)
    clear(dx[low : low + rows])
    for k in range(gates):
        gemm_acc(dx[low : low + rows], d[k, low : low + rows], panels[k])


def add_weight_gradient(x: Array, d: Array, out: Array, column: int, first: int, last: int) -> None:
    """Add the products of `x` transposed and `d` to `out`, side by side from a column.

    `x` is ``(R, D)`` and `d` ``(g, R, H)``. Only panels first to last of all gates' are computed.
    """
    panel = aligned_empty((1, min(REDUCTION_ROWS, len(x)), columns_per_panel(x.dtype)), x.dtype)
    panel[...] = 0
    _add_weight_gradient(x, d, out, column, panel, first, last)


@jit
def _add_weight_gradient(
    x: Array, d: Array, out: Array, column: int, panel: Array, first: int, last: int
) -> None:
    (R, D), H = x.shape, d.shape[2]
    _, max_steps, panel_width = panel.shape
    panels, x_transposed = (H + panel_width - 1) // panel_width, np.empty((D, max_steps), x.dtype)
    for r in range(0, R, REDUCTION_ROWS):
        steps = min(max_steps, R - r)
        _transpose(x[r : r + steps], x_transposed)
        for j in range(first, last):
            k, q = j // panels, j % panels * panel_width
            columns = min(panel_width, H - q)
            for p in range(steps):
                for i in range(columns):
                    panel[0, p, i] = d[k, r + p, q + i]
            add_panel_product(x_transposed, panel, out, column + k * H + q, columns, steps)


@jit
def _transpose(x: Array, out: Array) -> None:
    """Transpose in blocks that fit into cache lines."""
    side = 16
    for r in range(0, x.shape[0], side):
        for q in range(0, x.shape[1], side):
            for j in range(q, min(q + side, x.shape[1])):
                for i in range(r, min(r + side, x.shape[0])):
                    out[j, i] = x[i, j]
