"""The loops over time of the GRU: h' = z n + (1 - z) h with r, z = σ(a + h U), where a = x W + b.

The candidate is n = tanh(a + r s) with s = h U + c_n where the reset comes after the product, tanh(a + s U) with s = r h where before.
Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.blocks.

Written so that z = r = 1 gives the plain recurrent cell and z = 0 a copy, bit for bit in h and in the gradients: one product a gate,
sums that start from the term which then stays, and no z - z n or the like that would round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.blocks import add_product, times_slope
from gatecheck.kernels.jit import jit

Array = NDArray[Any]

R, Z, N, S = 0, 1, 2, 3


@jit
def forward(after: bool, running: Array, U: Array, c_n: Array, a: Array, h: Array, s: Array) -> None:
    """Fill h[1:] and s; `a` turns from preactivations into gates. `after` says where the reset is."""
    space = np.empty_like(h[0])
    one = h.dtype.type(1)
    for t in range(a.shape[1]):
        rows = running[t]
        work = space[:rows]
        for k in (R, Z):
            add_product(a[k, t, :rows], h[t, :rows], U[k], work)
            activate(SIGMOID, a[k, t, :rows])
        r, z, n = a[R, t, :rows], a[Z, t, :rows], a[N, t, :rows]
        if after:
            np.dot(h[t, :rows], U[N], s[t, :rows])
            for p in range(rows):
                for q in range(h.shape[2]):
                    s[t, p, q] += c_n[q]
                    n[p, q] += r[p, q] * s[t, p, q]
        else:
            for p in range(rows):
                for q in range(h.shape[2]):
                    s[t, p, q] = r[p, q] * h[t, p, q]
            add_product(n, s[t, :rows], U[N], work)
        activate(TANH, n)
        for p in range(rows):
            for q in range(h.shape[2]):
                h[t + 1, p, q] = z[p, q] * n[p, q] + (one - z[p, q]) * h[t, p, q]


@jit
def backward(after: bool, running: Array, Ut: Array, a: Array, h: Array, s: Array, dy: Array, dh: Array, d: Array) -> None:
    """Fill `d`: the gradients at the preactivations of r, z, n and at s; `dh` is that at h_T before and that at h_0 after.

    `a` holds the gates and `Ut` is U transposed.
    """
    space = np.empty_like(dh)
    one = dh.dtype.type(1)
    for t in range(dy.shape[0] - 1, -1, -1):
        rows = running[t]
        work = space[:rows]
        r, z, n = a[R, t, :rows], a[Z, t, :rows], a[N, t, :rows]
        dr, dz, dn, ds = d[R, t, :rows], d[Z, t, :rows], d[N, t, :rows], d[S, t, :rows]
        for p in range(rows):
            for q in range(dh.shape[1]):
                dh_t = dh[p, q] + dy[t, p, q]
                dz[p, q] = dh_t * (n[p, q] - h[t, p, q])
                dn[p, q] = dh_t * z[p, q]
                dh[p, q] = dh_t * (one - z[p, q])
        times_slope(SIGMOID, dz, z)
        times_slope(TANH, dn, n)
        if after:
            for p in range(rows):
                for q in range(dh.shape[1]):
                    dr[p, q] = dn[p, q] * s[t, p, q]
                    ds[p, q] = dn[p, q] * r[p, q]
            add_product(dh[:rows], ds, Ut[N], work)
        else:
            np.dot(dn, Ut[N], ds)
            for p in range(rows):
                for q in range(dh.shape[1]):
                    dr[p, q] = ds[p, q] * h[t, p, q]
                    dh[p, q] += ds[p, q] * r[p, q]
        times_slope(SIGMOID, dr, r)
        add_product(dh[:rows], dr, Ut[R], work)
        add_product(dh[:rows], dz, Ut[Z], work)


@jit
def tangent(after: bool, running: Array, U: Array, a: Array, h: Array, s: Array, da: Array, dh: Array, dy: Array) -> None:
    """Fill `dy`, the derivative of every h, from `da`, those of the preactivations and of s but for what dh adds; it is used up.

    `dh` is that of h_0 before and of h_T after; `a` holds the gates. A reset before the product leaves slot s of `da` alone.
    """
    space = np.empty_like(dh)
    one = dh.dtype.type(1)
    for t in range(dy.shape[0]):
        rows = running[t]
        work = space[:rows]
        r, z, n = a[R, t, :rows], a[Z, t, :rows], a[N, t, :rows]
        dr, dz, dn, ds = da[R, t, :rows], da[Z, t, :rows], da[N, t, :rows], da[S, t, :rows]
        for k in (R, Z):
            add_product(da[k, t, :rows], dh[:rows], U[k], work)
            times_slope(SIGMOID, da[k, t, :rows], a[k, t, :rows])
        if after:
            add_product(ds, dh[:rows], U[N], work)
            for p in range(rows):
                for q in range(dh.shape[1]):
                    dn[p, q] += r[p, q] * ds[p, q] + dr[p, q] * s[t, p, q]
        else:
            for p in range(rows):
                for q in range(dh.shape[1]):
                    ds[p, q] = r[p, q] * dh[p, q] + dr[p, q] * h[t, p, q]
            add_product(dn, ds, U[N], work)
        times_slope(TANH, dn, n)
        for p in range(rows):
            for q in range(dh.shape[1]):
                dh[p, q] = z[p, q] * dn[p, q] + dz[p, q] * (n[p, q] - h[t, p, q]) + (one - z[p, q]) * dh[p, q]
                dy[t, p, q] = dh[p, q]
