"""Linearized steps of the RNN and of the GRU.

The layouts are in :mod:`gatecheck.decay.jacobians.step`.
"""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.vector_blocks import multiply, preactivate, rescale
from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias

# ---- RNN and GRU with the reset after:
# ---- J v = keep ⊙ v + Σ_g A_g ⊙ (v U_g), in the candidate's term r ⊙ (v U_n);
# ---- rows (keep, A_n, h) and (keep, A_r, A_z, A_n, r, h) with A_g = ∂h'/∂a_g


@jit
def advance_rnn(code: int, U: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    a = np.empty((1, h.size))
    for t in range(pre.shape[0]):
        preactivate(s, U, pre[t], a)
        activate(code, a)
        for j in range(h.size):
            J[t, 2, j] = h[j]
            h[j] = a[0, j]
            J[t, 0, j] = 0.0
            if code == TANH:
                J[t, 1, j] = 1 - h[j] * h[j]
            elif code == SIGMOID:
                J[t, 1, j] = h[j] * (1 - h[j])
            else:
                J[t, 1, j] = 1.0 if h[j] > 0 else h[j]  # where h is 0 or NaN, so is the slope


@jit
def advance_gru_after(U: Array, c_n: Array, pre: Array, s: Array, J: Array) -> None:
    H = s.shape[1]
    a, start = np.empty((1, pre.shape[1])), np.empty(pre.shape[1])
    for t in range(pre.shape[0]):
        for j in range(2 * H):
            start[j] = pre[t, j]
        for j in range(H):
            start[2 * H + j] = c_n[j]
        preactivate(s, U, start, a)
        activate(SIGMOID, a[:, : 2 * H])
        r, z, q = a[0, :H], a[0, H : 2 * H], a[0, 2 * H :]
        _reset(r, q, pre[t, 2 * H :], J[t])
        activate(TANH, a[:, 2 * H :])
        _update_state(r, z, q, s[0], J[t])


@jit
def _reset(r: Array, q: Array, pre: Array, J: Array) -> None:
    """Replace q by the candidate's preactivation, and keep q in J for the slope of r."""
    assume_no_alias()
    for j in range(r.size):
        J[1, j] = q[j]
        q[j] = pre[j] + r[j] * q[j]


@jit
def _update_state(r: Array, z: Array, n: Array, h: Array, J: Array) -> None:
    assume_no_alias()
    for j in range(r.size):
        dn = z[j] * (1 - n[j] * n[j])
        J[0, j] = 1 - z[j]
        J[1, j] = dn * J[1, j] * r[j] * (1 - r[j])
        J[2, j] = (n[j] - h[j]) * z[j] * (1 - z[j])
        J[3, j] = dn
        J[4, j] = r[j]
        J[5, j] = h[j]
        h[j] = z[j] * n[j] + (1 - z[j]) * h[j]


@jit
def pull(UT: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
    _, k, H = u.shape
    G = UT.shape[1] // H
    through_gates = np.empty((k, H))
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        _slopes(d, J[t], u[0], G)
        product = d
        if G == 3:
            product = d.copy()
            _scale_columns(product, J[t, 4], 2 * H)
        multiply(product, UT, through_gates)
        _add_kept_part(u[0], J[t, 0], through_gates)
        growth[t], share[t] = rescale(u)


@jit
def _slopes(d: Array, J: Array, u: Array, G: int) -> None:
    assume_no_alias()
    H = u.shape[1]
    for p in range(u.shape[0]):
        for g in range(G):
            for j in range(H):
                d[p, g * H + j] = J[1 + g, j] * u[p, j]


@jit
def _scale_columns(a: Array, row: Array, start: int) -> None:
    """Multiply the columns from `start` on by a row.

    For an assignment of arrays Numba would compile the error for unequal shapes, in 4 s.
    """
    assume_no_alias()
    for p in range(a.shape[0]):
        for j in range(row.size):
            a[p, start + j] *= row[j]


@jit
def _add_kept_part(u: Array, keep: Array, more: Array) -> None:
    assume_no_alias()
    for p in range(u.shape[0]):
        for j in range(u.shape[1]):
            u[p, j] = keep[j] * u[p, j] + more[p, j]


@jit
def push(U: Array, J: Array, v: Array, growth: Array, share: Array) -> None:
    _, k, H = v.shape
    G = 3 if J.shape[1] == 6 else 1
    da = np.empty((k, G * H))
    for t in range(J.shape[0]):
        multiply(v[0], U, da)
        if G == 3:
            _scale_columns(da, J[t, 4], 2 * H)
        for p in range(k):
            for j in range(H):
                v[0, p, j] *= J[t, 0, j]
                for g in range(G):
                    v[0, p, j] += J[t, 1 + g, j] * da[p, g * H + j]
        growth[t], share[t] = rescale(v)


# ---- GRU with the reset before, whose candidate takes p = r ⊙ h:
# ---- rows (keep, dp/da_r, dh'/da_z, dh'/da_n, r, h)


@jit
def advance_gru_before(gates: Array, candidate: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    H = h.size
    a, p, n = np.empty((1, 2 * H)), np.empty((1, H)), np.empty((1, H))
    for t in range(pre.shape[0]):
        preactivate(s, gates, pre[t, : 2 * H], a)
        activate(SIGMOID, a)
        r, z = a[0, :H], a[0, H:]
        for j in range(H):
            p[0, j] = r[j] * h[j]
            J[t, 1, j] = p[0, j] * (1 - r[j])
        preactivate(p, candidate, pre[t, 2 * H :], n)
        activate(TANH, n)
        for j in range(H):
            J[t, 4, j] = r[j]
            J[t, 5, j] = h[j]
            J[t, 0, j] = 1 - z[j]
            J[t, 2, j] = (n[0, j] - h[j]) * z[j] * (1 - z[j])
            J[t, 3, j] = z[j] * (1 - n[0, j] * n[0, j])
            h[j] = z[j] * n[0, j] + (1 - z[j]) * h[j]


@jit
def pull_reset_before_gru(
    gates_t: Array, candidate_t: Array, J: Array, u: Array, da: Array, growth: Array, share: Array
) -> None:
    _, k, H = u.shape
    drz, dn = np.empty((k, 2 * H)), np.empty((k, H))
    dp, through_gates = np.empty((k, H)), np.empty((k, H))
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        for p in range(k):
            for j in range(H):
                d[p, 2 * H + j] = dn[p, j] = J[t, 3, j] * u[0, p, j]
        multiply(dn, candidate_t, dp)
        for p in range(k):
            for j in range(H):
                d[p, j] = drz[p, j] = J[t, 1, j] * dp[p, j]
                d[p, H + j] = drz[p, H + j] = J[t, 2, j] * u[0, p, j]
        multiply(drz, gates_t, through_gates)
        for p in range(k):
            for j in range(H):
                u[0, p, j] = J[t, 0, j] * u[0, p, j] + J[t, 4, j] * dp[p, j] + through_gates[p, j]
        growth[t], share[t] = rescale(u)


@jit
def push_gru_before(
    gates: Array, candidate: Array, J: Array, v: Array, growth: Array, share: Array
) -> None:
    _, k, H = v.shape
    da, dp, dn = np.empty((k, 2 * H)), np.empty((k, H)), np.empty((k, H))
    for t in range(J.shape[0]):
        multiply(v[0], gates, da)
        for p in range(k):
            for j in range(H):
                dp[p, j] = J[t, 4, j] * v[0, p, j] + J[t, 1, j] * da[p, j]
        multiply(dp, candidate, dn)
        for p in range(k):
            for j in range(H):
                v[0, p, j] = (
                    J[t, 0, j] * v[0, p, j] + J[t, 2, j] * da[p, H + j] + J[t, 3, j] * dn[p, j]
                )
        growth[t], share[t] = rescale(v)
