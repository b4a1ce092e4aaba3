"""The loops over time of the LSTM: c' = f c + i g, h' = o m, m = tanh(c'); each gate φ(a + h U), where a = x W + b.

With peepholes, i and f see the old cell state and o the new one: p c and p c' are added to their preactivations, with the weights
``p (4, H)`` in the order of the gates, of which that of g is not looked at. Without, none of `p` is.

Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.blocks import add_product, add_scaled, times_slope
from gatecheck.kernels.jit import jit

Array = NDArray[Any]

I, F, G, O = 0, 1, 2, 3


@jit
def forward(peepholes: bool, running: Array, U: Array, p: Array, a: Array, h: Array, c: Array, m: Array) -> None:
    """Fill h[1:], c[1:] and m; `a` turns from preactivations into gates."""
    space = np.empty_like(h[0])
    for t in range(a.shape[1]):
        n = running[t]
        work = space[:n]
        i, f, g, o = a[I, t, :n], a[F, t, :n], a[G, t, :n], a[O, t, :n]
        for k in (I, F, G):
            add_product(a[k, t, :n], h[t, :n], U[k], work)
            if peepholes and k != G:
                add_scaled(a[k, t, :n], c[t, :n], p[k])
            activate(TANH if k == G else SIGMOID, a[k, t, :n])
        for r in range(n):
            for q in range(h.shape[2]):
                c[t + 1, r, q] = f[r, q] * c[t, r, q] + i[r, q] * g[r, q]
                m[t, r, q] = c[t + 1, r, q]
        add_product(o, h[t, :n], U[O], work)
        if peepholes:
            add_scaled(o, c[t + 1, :n], p[O])
        activate(SIGMOID, o)
        activate(TANH, m[t, :n])
        for r in range(n):
            for q in range(h.shape[2]):
                h[t + 1, r, q] = o[r, q] * m[t, r, q]


@jit
def backward(
    peepholes: bool, running: Array, Ut: Array, p: Array, a: Array, c: Array, m: Array, dy: Array, dh: Array, dc: Array, d: Array
) -> None:
    """Fill `d`, the gradient at the preactivations; `dh` and `dc` are those at h_T, c_T before and at h_0, c_0 after.

    `a` holds the gates and `Ut` is U transposed.
    """
    space = np.empty_like(dh)
    one, zero = dh.dtype.type(1), dh.dtype.type(0)
    for t in range(dy.shape[0] - 1, -1, -1):
        n = running[t]
        work = space[:n]
        i, f, g, o = a[I, t, :n], a[F, t, :n], a[G, t, :n], a[O, t, :n]
        for r in range(n):
            for q in range(dh.shape[1]):
                v = m[t, r, q]
                dh_t = dh[r, q] + dy[t, r, q]
                dc[r, q] = dc[r, q] + dh_t * o[r, q] * (one - v * v)
                d[O, t, r, q] = dh_t * v
                dh[r, q] = zero
        times_slope(SIGMOID, d[O, t, :n], o)
        if peepholes:
            add_scaled(dc[:n], d[O, t, :n], p[O])
        for r in range(n):
            for q in range(dh.shape[1]):
                dc_t = dc[r, q]
                d[I, t, r, q] = dc_t * g[r, q]
                d[F, t, r, q] = dc_t * c[t, r, q]
                d[G, t, r, q] = dc_t * i[r, q]
                dc[r, q] = dc_t * f[r, q]
        for k in range(4):
            if k != O:
                times_slope(TANH if k == G else SIGMOID, d[k, t, :n], a[k, t, :n])
            if peepholes and k in (I, F):
                add_scaled(dc[:n], d[k, t, :n], p[k])
            add_product(dh[:n], d[k, t, :n], Ut[k], work)


@jit
def tangent(
    peepholes: bool, running: Array, U: Array, p: Array, a: Array, c: Array, m: Array, da: Array, dh: Array, dc: Array, dy: Array
) -> None:
    """Fill `dy`, the derivative of every h, from that of the preactivations but for what dh and dc add, `da`, which is used up.

    `dh` and `dc` are those of h_0, c_0 before and of h_T, c_T after; `a` holds the gates.
    """
    space = np.empty_like(dh)
    one = dh.dtype.type(1)
    for t in range(dy.shape[0]):
        n = running[t]
        work = space[:n]
        i, f, g, o = a[I, t, :n], a[F, t, :n], a[G, t, :n], a[O, t, :n]
        for k in (I, F, G):
            add_product(da[k, t, :n], dh[:n], U[k], work)
            if peepholes and k != G:
                add_scaled(da[k, t, :n], dc[:n], p[k])
            times_slope(TANH if k == G else SIGMOID, da[k, t, :n], a[k, t, :n])
        for r in range(n):
            for q in range(dh.shape[1]):
                kept = f[r, q] * dc[r, q] + da[F, t, r, q] * c[t, r, q]
                dc[r, q] = kept + (da[I, t, r, q] * g[r, q] + i[r, q] * da[G, t, r, q])
        add_product(da[O, t, :n], dh[:n], U[O], work)
        if peepholes:
            add_scaled(da[O, t, :n], dc[:n], p[O])
        times_slope(SIGMOID, da[O, t, :n], o)
        for r in range(n):
            for q in range(dh.shape[1]):
                v = m[t, r, q]
                dh[r, q] = da[O, t, r, q] * v + o[r, q] * ((one - v * v) * dc[r, q])
                dy[t, r, q] = dh[r, q]
