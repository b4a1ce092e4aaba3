"""The loops over time of the LSTM: c' = f c + i g, h' = o m, m = tanh(c'); each gate φ(a + h U),
where a = x W + b.

With peepholes, i and f see the old cell state and o the new one: p c and p c' are added to their
preactivations, with the weights ``p (4, H)`` in the order of the gates, of which that of g is not
looked at. Without, none of `p` is.

Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.elementwise.
"""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.elementwise import add_scaled, copy, times_slope
from gatecheck.kernels.gemm import gather, multiply, project
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import apart

I, F, G, O = 0, 1, 2, 3


@jit
def forward(
    peepholes: bool, running: Array, ahead: int, W: Array, U: Array, b: Array, p: Array, x: Array, a: Array, h: Array, c: Array, m: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    """Fill h[1:], a with gates, c with cell states and m; where there is room for fewer steps, with
    the last ones.
    """
    T, B = h.shape[0] - 1, h.shape[1]
    for t in range(T):
        n = min(running[t], last)
        if n <= first:
            break
        slot, seen = t % (a.shape[1] // B), h[t, first:n]
        project(x, W, b, a, t, slot, ahead, B, first, n)
        low, high = slot * B + first, slot * B + n
        i, f, g, o = a[I, low:high], a[F, low:high], a[G, low:high], a[O, low:high]
        old, new, shown = (
            c[t % c.shape[0], first:n],
            c[(t + 1) % c.shape[0], first:n],
            m[t % m.shape[0], first:n],
        )
        for k in (I, F, G):
            multiply(a[k, low:high], seen, U[k])
            if peepholes and k != G:
                add_scaled(a[k, low:high], old, p[k])
            activate(TANH if k == G else SIGMOID, a[k, low:high])
        _carry(i, f, g, old, new, shown)
        multiply(o, seen, U[O])
        if peepholes:
            add_scaled(o, new, p[O])
        activate(SIGMOID, o)
        activate(TANH, shown)
        _show(o, shown, h[t + 1, first:n])


@jit
def _carry(i: Array, f: Array, g: Array, old: Array, new: Array, shown: Array) -> None:
    apart()
    for r in range(old.shape[0]):
        for q in range(old.shape[1]):
            c = f[r, q] * old[r, q] + i[r, q] * g[r, q]
            new[r, q] = c
            shown[r, q] = c


@jit
def _show(o: Array, m: Array, h: Array) -> None:
    apart()
    for r in range(h.shape[0]):
        for q in range(h.shape[1]):
            h[r, q] = o[r, q] * m[r, q]


@jit
def backward(
    peepholes: bool, running: Array, ahead: int, Wt: Array, Ut: Array, p: Array, a: Array, c: Array, m: Array,
    dy: Array, dh: Array, dc: Array, d: Array, dx: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Fill `d`, the gradient at the preactivations, and `dx`; `dh`, `dc` are those at h_T, c_T
    before and at h_0, c_0 after.

    `a` holds the gates; `Wt` and `Ut` are W and U transposed.
    """
    B = dh.shape[0]
    for t in range(dy.shape[0] - 1, -1, -1):
        n = min(running[t], last)
        if n <= first:
            continue
        low, high = t * B + first, t * B + n
        i, f, g, o = a[I, low:high], a[F, low:high], a[G, low:high], a[O, low:high]
        di, df, dg, do = d[I, low:high], d[F, low:high], d[G, low:high], d[O, low:high]
        dhs, dcs = dh[first:n], dc[first:n]
        _hide(o, m[t, first:n], dy[t, first:n], dhs, dcs, do)
        if peepholes:
            add_scaled(dcs, do, p[O])
        _part(i, f, g, c[t, first:n], dcs, di, df, dg)
        for k in range(4):
            if peepholes and k in (I, F):
                add_scaled(dcs, d[k, low:high], p[k])
            multiply(dhs, d[k, low:high], Ut[k])
        gather(d, 4, Wt, dx, t, ahead, B, first, n)


@jit
def _hide(o: Array, m: Array, dy: Array, dh: Array, dc: Array, do: Array) -> None:
    """Back through h' = o m, m = tanh(c'); nothing is left of dh."""
    apart()
    one, zero = dh.dtype.type(1), dh.dtype.type(0)
    for r in range(dh.shape[0]):
        for q in range(dh.shape[1]):
            out, v = o[r, q], m[r, q]
            dh_t = dh[r, q] + dy[r, q]
            dc[r, q] = dc[r, q] + dh_t * out * (one - v * v)
            do[r, q] = (dh_t * v) * (out * (one - out))
            dh[r, q] = zero


@jit
def _part(
    i: Array, f: Array, g: Array, c: Array, dc: Array, di: Array, df: Array, dg: Array
) -> None:
    """Back through c' = f c + i g."""
    apart()
    one = dc.dtype.type(1)
    for r in range(dc.shape[0]):
        for q in range(dc.shape[1]):
            dc_t, new, keep, what = dc[r, q], i[r, q], f[r, q], g[r, q]
            di[r, q] = (dc_t * what) * (new * (one - new))
            df[r, q] = (dc_t * c[r, q]) * (keep * (one - keep))
            dg[r, q] = (dc_t * new) * (one - what * what)
            dc[r, q] = dc_t * keep


@jit
def tangent(
    peepholes: bool, running: Array, U: Array, p: Array, a: Array, c: Array, m: Array,
    da: Array, dh: Array, dc: Array, dy: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Fill `dy`, the derivative of every h, from that of the preactivations but for what dh and dc
    add, `da`, which is used up.

    `dh` and `dc` are those of h_0, c_0 before and of h_T, c_T after; `a` holds the gates.
    """
    one, B = dh.dtype.type(1), dh.shape[0]
    for t in range(dy.shape[0]):
        n = min(running[t], last)
        if n <= first:
            break
        low, high = t * B + first, t * B + n
        i, f, g, o = a[I, low:high], a[F, low:high], a[G, low:high], a[O, low:high]
        di, df, dg, do = da[I, low:high], da[F, low:high], da[G, low:high], da[O, low:high]
        dhs, dcs, old, shown = dh[first:n], dc[first:n], c[t, first:n], m[t, first:n]
        for k in (I, F, G):
            multiply(da[k, low:high], dhs, U[k])
            if peepholes and k != G:
                add_scaled(da[k, low:high], dcs, p[k])
            times_slope(TANH if k == G else SIGMOID, da[k, low:high], a[k, low:high])
        for r in range(n - first):
            for q in range(dh.shape[1]):
                kept = f[r, q] * dcs[r, q] + df[r, q] * old[r, q]
                dcs[r, q] = kept + (di[r, q] * g[r, q] + i[r, q] * dg[r, q])
        multiply(do, dhs, U[O])
        if peepholes:
            add_scaled(do, dcs, p[O])
        times_slope(SIGMOID, do, o)
        for r in range(n - first):
            for q in range(dh.shape[1]):
                v = shown[r, q]
                dhs[r, q] = do[r, q] * v + o[r, q] * ((one - v * v) * dcs[r, q])
        copy(dy[t, first:n], dhs)
