"""The loops over time of the LSTM: c' = f c + i g, h' = o m, m = tanh(c'); each gate φ(a + h U), where a = x W + b.

Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.blocks import add_product, times_slope
from gatecheck.kernels.jit import jit

Array = NDArray[Any]

I, F, G, O = 0, 1, 2, 3


@jit
def forward(U: Array, a: Array, h: Array, c: Array, m: Array) -> None:
    """Fill h[1:], c[1:] and m; `a` turns from preactivations into gates."""
    work = np.empty_like(h[0])
    for t in range(a.shape[1]):
        for k in range(4):
            add_product(a[k, t], h[t], U[k], work)
            activate(TANH if k == G else SIGMOID, a[k, t])
        i, f, g, o = a[I, t], a[F, t], a[G, t], a[O, t]
        for p in range(h.shape[1]):
            for q in range(h.shape[2]):
                c[t + 1, p, q] = f[p, q] * c[t, p, q] + i[p, q] * g[p, q]
                m[t, p, q] = c[t + 1, p, q]
        activate(TANH, m[t])
        for p in range(h.shape[1]):
            for q in range(h.shape[2]):
                h[t + 1, p, q] = o[p, q] * m[t, p, q]


@jit
def backward(Ut: Array, a: Array, c: Array, m: Array, dy: Array, dh: Array, dc: Array, d: Array) -> None:
    """Fill `d`, the gradient at the preactivations; `dh` and `dc` are those at h_T, c_T before and at h_0, c_0 after.

    `a` holds the gates and `Ut` is U transposed.
    """
    work = np.empty_like(dh)
    one, zero = dh.dtype.type(1), dh.dtype.type(0)
    for t in range(dy.shape[0] - 1, -1, -1):
        i, f, g, o = a[I, t], a[F, t], a[G, t], a[O, t]
        for p in range(dh.shape[0]):
            for q in range(dh.shape[1]):
                v = m[t, p, q]
                dh_t = dh[p, q] + dy[t, p, q]
                dc_t = dc[p, q] + dh_t * o[p, q] * (one - v * v)
                d[I, t, p, q] = dc_t * g[p, q]
                d[F, t, p, q] = dc_t * c[t, p, q]
                d[G, t, p, q] = dc_t * i[p, q]
                d[O, t, p, q] = dh_t * v
                dc[p, q] = dc_t * f[p, q]
                dh[p, q] = zero
        for k in range(4):
            times_slope(TANH if k == G else SIGMOID, d[k, t], a[k, t])
            add_product(dh, d[k, t], Ut[k], work)


@jit
def tangent(U: Array, a: Array, c: Array, m: Array, da: Array, dh: Array, dc: Array, dy: Array) -> None:
    """Fill `dy`, the derivative of every h, from that of the preactivations but for what dh adds, `da`, which is used up.

    `dh` and `dc` are those of h_0, c_0 before and of h_T, c_T after; `a` holds the gates.
    """
    work = np.empty_like(dh)
    one = dh.dtype.type(1)
    for t in range(dy.shape[0]):
        for k in range(4):
            add_product(da[k, t], dh, U[k], work)
            times_slope(TANH if k == G else SIGMOID, da[k, t], a[k, t])
        i, f, g, o = a[I, t], a[F, t], a[G, t], a[O, t]
        for p in range(dh.shape[0]):
            for q in range(dh.shape[1]):
                v = m[t, p, q]
                kept = f[p, q] * dc[p, q] + da[F, t, p, q] * c[t, p, q]
                dc[p, q] = kept + (da[I, t, p, q] * g[p, q] + i[p, q] * da[G, t, p, q])
                dh[p, q] = da[O, t, p, q] * v + o[p, q] * ((one - v * v) * dc[p, q])
                dy[t, p, q] = dh[p, q]
