"""Loops over time of the plain recurrent cell.

h' = φ(a + h U), where a = x W + b. Derived from the equations in gatecheck.cells; the layout is
that of gatecheck.kernels.elementwise.
"""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.kernels.activations import activate
from gatecheck.kernels.elementwise import copy, multiply_by_slope
from gatecheck.kernels.gemm import gemm_acc, input_backward, input_forward
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias


@jit
def forward(
    code: int,
    n_active: Array,
    steps_per_gemm: int,
    W: Array,
    U: Array,
    b: Array,
    x: Array,
    a: Array,
    h: Array,
    first: int,
    last: int,
) -> None:
    """Fill h[1:]; `a` has room for the preactivations of some steps."""
    T, B = h.shape[0] - 1, h.shape[1]
    for t in range(T):
        n = min(n_active[t], last)
        if n <= first:
            break
        slot = t % (a.shape[1] // B)
        input_forward(x, W, b, a, t, slot, steps_per_gemm, B, first, n)
        h_next = h[t + 1, first:n]
        copy(h_next, a[0, slot * B + first : slot * B + n])
        gemm_acc(h_next, h[t, first:n], U[0])
        activate(code, h_next)


@jit
def backward(
    code: int, n_active: Array, steps_per_gemm: int, Wt: Array, Ut: Array, h: Array,
    dy: Array, dh: Array, d: Array, dx: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Fill `d`, the gradient with respect to the preactivations, and `dx`.

    `dh` is the gradient at h_T on entry, at h_0 on return. `Wt` and `Ut` are W and U transposed.
    """
    B = dh.shape[0]
    for t in range(dy.shape[0] - 1, -1, -1):
        n = min(n_active[t], last)
        if n <= first:
            continue
        da = d[0, t * B + first : t * B + n]
        _sum_cotangents(da, dh[first:n], dy[t, first:n])
        multiply_by_slope(code, da, h[t + 1, first:n])
        gemm_acc(dh[first:n], da, Ut[0])
        input_backward(d, 1, Wt, dx, t, steps_per_gemm, B, first, n)


@jit
def _sum_cotangents(d: Array, dh: Array, dy: Array) -> None:
    """Add the gradients from the next step and the output, and set dh to zero."""
    assume_no_alias()
    zero = dh.dtype.type(0)
    for p in range(d.shape[0]):
        for q in range(d.shape[1]):
            d[p, q] = dh[p, q] + dy[p, q]
            dh[p, q] = zero


@jit
def tangent(
    code: int,
    n_active: Array,
    U: Array,
    h: Array,
    a: Array,
    dh: Array,
    dy: Array,
    first: int,
    last: int,
) -> None:
    """Fill `dy`, the derivative of every h.

    `a` is the derivative of the preactivations without the term of dh; it is overwritten. `dh` is
    the derivative of h_0 on entry, of h_T on return.
    """
    B = dh.shape[0]
    for t in range(dy.shape[0]):
        n = min(n_active[t], last)
        if n <= first:
            break
        da = a[0, t * B + first : t * B + n]
        gemm_acc(da, dh[first:n], U[0])
        multiply_by_slope(code, da, h[t + 1, first:n])
        copy(dh[first:n], da)
        copy(dy[t, first:n], da)
