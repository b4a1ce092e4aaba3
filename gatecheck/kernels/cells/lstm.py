"""Loops over time of the LSTM.

c' = f c + i g, h' = o m, m = tanh(c'), with each gate φ(a + h U), where a = x W + b.

With peepholes, p c is added to the preactivations of i and f, and p c' to that of o. The weights
``p (4, H)`` are in the order of the gates, and that of g is ignored; without peepholes, all of `p`
is.

Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.elementwise.
"""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.elementwise import add_scaled, copy, multiply_by_slope
from gatecheck.kernels.gemm import gemm_acc, input_backward, input_forward
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias

I, F, G, O = 0, 1, 2, 3


@jit
def forward(
    peepholes: bool, n_active: Array, steps_per_gemm: int, W: Array, U: Array, b: Array, p: Array,
    x: Array, a: Array, h: Array, c: Array, m: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Fill h[1:], a with the gates, c with the cell states, and m.

    Arrays with room for fewer steps keep the last ones.
    """
    T, B = h.shape[0] - 1, h.shape[1]
    for t in range(T):
        n = min(n_active[t], last)
        if n <= first:
            break
        slot, h_prev = t % (a.shape[1] // B), h[t, first:n]
        input_forward(x, W, b, a, t, slot, steps_per_gemm, B, first, n)
        low, high = slot * B + first, slot * B + n
        i, f, g, o = a[I, low:high], a[F, low:high], a[G, low:high], a[O, low:high]
        c_prev, c_next, tanh_c = (
            c[t % c.shape[0], first:n],
            c[(t + 1) % c.shape[0], first:n],
            m[t % m.shape[0], first:n],
        )
        for k in (I, F, G):
            gemm_acc(a[k, low:high], h_prev, U[k])
            if peepholes and k != G:
                add_scaled(a[k, low:high], c_prev, p[k])
            activate(TANH if k == G else SIGMOID, a[k, low:high])
        _cell_forward(i, f, g, c_prev, c_next, tanh_c)
        gemm_acc(o, h_prev, U[O])
        if peepholes:
            add_scaled(o, c_next, p[O])
        activate(SIGMOID, o)
        activate(TANH, tanh_c)
        _output_forward(o, tanh_c, h[t + 1, first:n])


@jit
def _cell_forward(
    i: Array, f: Array, g: Array, c_prev: Array, c_next: Array, tanh_c: Array
) -> None:
    assume_no_alias()
    for r in range(c_prev.shape[0]):
        for q in range(c_prev.shape[1]):
            c = f[r, q] * c_prev[r, q] + i[r, q] * g[r, q]
            c_next[r, q] = c
            tanh_c[r, q] = c


@jit
def _output_forward(o: Array, m: Array, h: Array) -> None:
    assume_no_alias()
    for r in range(h.shape[0]):
        for q in range(h.shape[1]):
            h[r, q] = o[r, q] * m[r, q]


@jit
def backward(
    peepholes: bool, n_active: Array, steps_per_gemm: int, Wt: Array, Ut: Array, p: Array,
    a: Array, c: Array, m: Array, dy: Array, dh: Array, dc: Array, d: Array, dx: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    """Fill `d`, the gradient with respect to the preactivations, and `dx`.

    `dh` and `dc` are the gradients at h_T and c_T on entry, at h_0 and c_0 on return. `a` holds the
    gates; `Wt` and `Ut` are W and U transposed.
    """
    B = dh.shape[0]
    for t in range(dy.shape[0] - 1, -1, -1):
        n = min(n_active[t], last)
        if n <= first:
            continue
        low, high = t * B + first, t * B + n
        i, f, g, o = a[I, low:high], a[F, low:high], a[G, low:high], a[O, low:high]
        di, df, dg, do = d[I, low:high], d[F, low:high], d[G, low:high], d[O, low:high]
        dhs, dcs = dh[first:n], dc[first:n]
        _output_backward(o, m[t, first:n], dy[t, first:n], dhs, dcs, do)
        if peepholes:
            add_scaled(dcs, do, p[O])
        _cell_backward(i, f, g, c[t, first:n], dcs, di, df, dg)
        for k in range(4):
            if peepholes and k in (I, F):
                add_scaled(dcs, d[k, low:high], p[k])
            gemm_acc(dhs, d[k, low:high], Ut[k])
        input_backward(d, 4, Wt, dx, t, steps_per_gemm, B, first, n)


@jit
def _output_backward(o: Array, m: Array, dy: Array, dh: Array, dc: Array, do: Array) -> None:
    """Backpropagate through h' = o m, m = tanh(c'), and set dh to zero."""
    assume_no_alias()
    one, zero = dh.dtype.type(1), dh.dtype.type(0)
    for r in range(dh.shape[0]):
        for q in range(dh.shape[1]):
            o_t, m_t = o[r, q], m[r, q]
            dh_t = dh[r, q] + dy[r, q]
            dc[r, q] = dc[r, q] + dh_t * o_t * (one - m_t * m_t)
            do[r, q] = (dh_t * m_t) * (o_t * (one - o_t))
            dh[r, q] = zero


@jit
def _cell_backward(
    i: Array, f: Array, g: Array, c: Array, dc: Array, di: Array, df: Array, dg: Array
) -> None:
    """Backpropagate through c' = f c + i g."""
    assume_no_alias()
    one = dc.dtype.type(1)
    for r in range(dc.shape[0]):
        for q in range(dc.shape[1]):
            dc_t, i_t, f_t, g_t = dc[r, q], i[r, q], f[r, q], g[r, q]
            di[r, q] = (dc_t * g_t) * (i_t * (one - i_t))
            df[r, q] = (dc_t * c[r, q]) * (f_t * (one - f_t))
            dg[r, q] = (dc_t * i_t) * (one - g_t * g_t)
            dc[r, q] = dc_t * f_t


@jit
def tangent(
    peepholes: bool, n_active: Array, U: Array, p: Array, a: Array, c: Array, m: Array,
    da: Array, dh: Array, dc: Array, dy: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Fill `dy`, the derivative of every h.

    `da` is the derivative of the preactivations without the terms of dh and dc; it is overwritten.
    `dh` and `dc` are the derivatives of h_0 and c_0 on entry, of h_T and c_T on return. `a` holds
    the gates.
    """
    one, B = dh.dtype.type(1), dh.shape[0]
    for t in range(dy.shape[0]):
        n = min(n_active[t], last)
        if n <= first:
            break
        low, high = t * B + first, t * B + n
        i, f, g, o = a[I, low:high], a[F, low:high], a[G, low:high], a[O, low:high]
        di, df, dg, do = da[I, low:high], da[F, low:high], da[G, low:high], da[O, low:high]
        dhs, dcs, c_prev, tanh_c = dh[first:n], dc[first:n], c[t, first:n], m[t, first:n]
        for k in (I, F, G):
            gemm_acc(da[k, low:high], dhs, U[k])
            if peepholes and k != G:
                add_scaled(da[k, low:high], dcs, p[k])
            multiply_by_slope(TANH if k == G else SIGMOID, da[k, low:high], a[k, low:high])
        for r in range(n - first):
            for q in range(dh.shape[1]):
                dc_kept = f[r, q] * dcs[r, q] + df[r, q] * c_prev[r, q]
                dcs[r, q] = dc_kept + (di[r, q] * g[r, q] + i[r, q] * dg[r, q])
        gemm_acc(do, dhs, U[O])
        if peepholes:
            add_scaled(do, dcs, p[O])
        multiply_by_slope(SIGMOID, do, o)
        for r in range(n - first):
            for q in range(dh.shape[1]):
                m_t = tanh_c[r, q]
                dhs[r, q] = do[r, q] * m_t + o[r, q] * ((one - m_t * m_t) * dcs[r, q])
        copy(dy[t, first:n], dhs)
