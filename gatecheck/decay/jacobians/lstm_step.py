"""Linearized steps of the LSTM.

The layouts are in :mod:`gatecheck.decay.jacobians.step`.
"""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.vector_blocks import multiply, preactivate, rescale
from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias

# ---- Rows (f, dc'/da_i, dc'/da_f, dc'/da_g, dh'/da_o, dh'/dc', i, o, h)


@jit
def advance_lstm(U: Array, pre: Array, s: Array, J: Array) -> None:
    H = s.shape[1]
    a, m = np.empty((1, 4 * H)), np.empty((1, H))
    for t in range(pre.shape[0]):
        preactivate(s[:1], U, pre[t], a)
        activate(SIGMOID, a[:, : 2 * H])
        activate(TANH, a[:, 2 * H : 3 * H])
        activate(SIGMOID, a[:, 3 * H :])
        i, f, g, o = a[0, :H], a[0, H : 2 * H], a[0, 2 * H : 3 * H], a[0, 3 * H :]
        _cell_forward(i, f, g, o, s[0], s[1], m[0], J[t])
        activate(TANH, m)
        _output_forward(o, m[0], s[0], J[t])


@jit
def _cell_forward(
    i: Array, f: Array, g: Array, o: Array, h: Array, c: Array, m: Array, J: Array
) -> None:
    assume_no_alias()
    for j in range(h.size):
        J[0, j] = f[j]
        J[6, j] = i[j]
        J[7, j] = o[j]
        J[8, j] = h[j]
        J[1, j] = g[j] * i[j] * (1 - i[j])
        J[2, j] = c[j] * f[j] * (1 - f[j])
        J[3, j] = i[j] * (1 - g[j] * g[j])
        c[j] = f[j] * c[j] + i[j] * g[j]
        m[j] = c[j]


@jit
def _output_forward(o: Array, m: Array, h: Array, J: Array) -> None:
    assume_no_alias()
    for j in range(h.size):
        h[j] = o[j] * m[j]
        J[4, j] = m[j] * o[j] * (1 - o[j])
        J[5, j] = o[j] * (1 - m[j] * m[j])


@jit
def pull_lstm(UT: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        _gates_backward(d, J[t], u[0], u[1])
        multiply(d, UT, u[0])
        growth[t], share[t] = rescale(u)


@jit
def _gates_backward(d: Array, J: Array, dh: Array, dc: Array) -> None:
    assume_no_alias()
    H = dh.shape[1]
    for p in range(dh.shape[0]):
        for j in range(H):
            both = dc[p, j] + J[5, j] * dh[p, j]
            d[p, j] = J[1, j] * both
            d[p, H + j] = J[2, j] * both
            d[p, 2 * H + j] = J[3, j] * both
            d[p, 3 * H + j] = J[4, j] * dh[p, j]
            dc[p, j] = J[0, j] * both


@jit
def push_lstm(U: Array, J: Array, v: Array, growth: Array, share: Array) -> None:
    _, k, H = v.shape
    da = np.empty((k, 4 * H))
    for t in range(J.shape[0]):
        multiply(v[0], U, da)
        for p in range(k):
            for j in range(H):
                v[1, p, j] *= J[t, 0, j]
                for g in range(3):
                    v[1, p, j] += J[t, 1 + g, j] * da[p, g * H + j]
                v[0, p, j] = J[t, 4, j] * da[p, 3 * H + j] + J[t, 5, j] * v[1, p, j]
        growth[t], share[t] = rescale(v)
