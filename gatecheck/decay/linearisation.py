"""One step of each cell, linearised: the state it makes, and the products of its Jacobian with a block of vectors.

`advance_*` runs a cell over a stretch of steps and keeps, of each step, the few rows of H numbers from which both J v and Jᵀ u follow
in O(H²). They are derived from the equations and not from the backward kernels, so that the two can be held against each other.

Layouts, with n = 1 state (h) or 2 (h, c), k vectors and L steps: state `s` is ``(n, H)``, a block of vectors ``(n, k, H)``, inputs with
biases `pre` ``(L, G*H)``, rows `J` ``(L, rows, H)``; all float64 and contiguous. Every function works in place. A block has norm 1 after
each step; the log of what was divided out goes to `growth` ``(L,)`` and the share of c in the squared norm to `share` ``(L,)``.

`pull` leaves the cotangents of the preactivations x W + b in `da`, ``(L, k, G*H)`` or, where nobody reads them, ``(1, k, G*H)``. Those of
step t belong to the block before step t was pulled through, of norm 1. The last row of `J` is h before the step, which no product needs
but the gradients of U do; an LSTM's i and o are kept for the statistics of its gates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell, Params
from gatecheck.kernels.activations import CODES, SIGMOID, TANH, relu, sigmoid, tanh
from gatecheck.kernels.jit import jit

Array = NDArray[Any]


class Steps(NamedTuple):
    """A cell with its weights: ``advance(pre, s, J)``, ``pull(J, u, da, growth, share)`` and ``push(J, v, growth, share)``."""

    rows: int
    advance: Callable[[Array, Array, Array], None]
    pull: Callable[[Array, Array, Array, Array, Array], None]
    push: Callable[[Array, Array, Array, Array], None]


def steps(cell: Cell, params: Params) -> Steps:
    """The three functions of a cell with these canonical float64 parameters."""
    U = np.ascontiguousarray(params["U"])
    UT = np.ascontiguousarray(U.T)
    H = U.shape[0]
    if cell.kind == "lstm":
        return Steps(9, partial(_advance_lstm, U), partial(_pull_lstm, UT), partial(_push_lstm, U))
    if cell.reset == "before":
        gates, candidate = np.ascontiguousarray(U[:, : 2 * H]), np.ascontiguousarray(U[:, 2 * H :])
        gates_t, candidate_t = np.ascontiguousarray(gates.T), np.ascontiguousarray(candidate.T)
        return Steps(
            6,
            partial(_advance_gru_before, gates, candidate),
            partial(_pull_gru_before, gates_t, candidate_t),
            partial(_push_gru_before, gates, candidate),
        )
    if cell.kind == "gru":
        return Steps(6, partial(_advance_gru_after, U, params["c_n"]), partial(_pull, UT), partial(_push, U))
    return Steps(3, partial(_advance_rnn, CODES[cell.activation], U), partial(_pull, UT), partial(_push, U))


@jit
def _multiply(v: Array, M: Array, out: Array) -> None:
    """The matrix product v M. np.dot is no faster here, and on a busy machine its BLAS waits 5 ms a step for threads that it starts."""
    k, rows = v.shape
    whole = rows - rows % 4
    out[:] = 0.0
    for m in range(0, whole, 4):
        for p in range(k):
            a, b, c, d = v[p, m], v[p, m + 1], v[p, m + 2], v[p, m + 3]
            for j in range(out.shape[1]):
                out[p, j] += a * M[m, j] + b * M[m + 1, j] + c * M[m + 2, j] + d * M[m + 3, j]
    for m in range(whole, rows):
        for p in range(k):
            for j in range(out.shape[1]):
                out[p, j] += v[p, m] * M[m, j]


@jit
def _rescale(u: Array) -> tuple[float, float]:
    """Give the block norm 1; return the log of its norm before, and the share of the second state in the square."""
    first = np.sum(u[0] * u[0])
    second = np.sum(u[1:] * u[1:])
    norm = np.sqrt(first + second)
    # A zero block stays zero, its log -inf; a NaN stays NaN.
    if norm != 0.0:
        u /= norm
        return np.log(norm), second / (first + second)
    return -np.inf, np.nan


# ---- RNN and GRU with the reset after: J v = keep ⊙ v + Σ_g A_g ⊙ (v U_g), in the candidate's term r ⊙ (v U_n);
# ---- rows (keep, A_n, h) and (keep, A_r, A_z, A_n, r, h) with A_g = ∂h'/∂a_g


@jit
def _advance_rnn(code: int, U: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    a = np.empty((1, h.size))
    for t in range(pre.shape[0]):
        _multiply(s[:1], U, a)
        J[t, 2] = h
        for j in range(h.size):
            if code == TANH:
                h[j] = tanh(pre[t, j] + a[0, j])
                slope = 1 - h[j] * h[j]
            elif code == SIGMOID:
                h[j] = sigmoid(pre[t, j] + a[0, j])
                slope = h[j] * (1 - h[j])
            else:
                h[j] = relu(pre[t, j] + a[0, j])
                slope = 1.0 if h[j] > 0 else h[j]  # where h is 0 or NaN, so is the slope
            J[t, 0, j] = 0.0
            J[t, 1, j] = slope


@jit
def _advance_gru_after(U: Array, c_n: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    H = h.size
    a = np.empty((1, 3 * H))
    for t in range(pre.shape[0]):
        _multiply(s[:1], U, a)
        for j in range(H):
            r = sigmoid(pre[t, j] + a[0, j])
            z = sigmoid(pre[t, H + j] + a[0, H + j])
            q = a[0, 2 * H + j] + c_n[j]
            n = tanh(pre[t, 2 * H + j] + r * q)
            dn = z * (1 - n * n)
            J[t, 0, j] = 1 - z
            J[t, 1, j] = dn * q * r * (1 - r)
            J[t, 2, j] = (n - h[j]) * z * (1 - z)
            J[t, 3, j] = dn
            J[t, 4, j] = r
            J[t, 5, j] = h[j]
            h[j] = z * n + (1 - z) * h[j]


@jit
def _pull(UT: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
    _, k, H = u.shape
    G = UT.shape[0] // H
    through_gates = np.empty((k, H))
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        for p in range(k):
            for g in range(G):
                for j in range(H):
                    d[p, g * H + j] = J[t, 1 + g, j] * u[0, p, j]
        product = d
        if G == 3:
            product = d.copy()
            product[:, 2 * H :] *= J[t, 4]
        _multiply(product, UT, through_gates)
        for p in range(k):
            for j in range(H):
                u[0, p, j] = J[t, 0, j] * u[0, p, j] + through_gates[p, j]
        growth[t], share[t] = _rescale(u)


@jit
def _push(U: Array, J: Array, v: Array, growth: Array, share: Array) -> None:
    _, k, H = v.shape
    G = U.shape[1] // H
    da = np.empty((k, G * H))
    for t in range(J.shape[0]):
        _multiply(v[0], U, da)
        if G == 3:
            da[:, 2 * H :] *= J[t, 4]
        for p in range(k):
            for j in range(H):
                v[0, p, j] *= J[t, 0, j]
                for g in range(G):
                    v[0, p, j] += J[t, 1 + g, j] * da[p, g * H + j]
        growth[t], share[t] = _rescale(v)


# ---- GRU with the reset before: the candidate sees p = r ⊙ h; rows (keep, dp/da_r, dh'/da_z, dh'/da_n, r, h)


@jit
def _advance_gru_before(gates: Array, candidate: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    H = h.size
    a, p, q = np.empty((1, 2 * H)), np.empty((1, H)), np.empty((1, H))
    for t in range(pre.shape[0]):
        _multiply(s[:1], gates, a)
        for j in range(H):
            r = sigmoid(pre[t, j] + a[0, j])
            p[0, j] = r * h[j]
            J[t, 1, j] = p[0, j] * (1 - r)
            J[t, 4, j] = r
            J[t, 5, j] = h[j]
        _multiply(p, candidate, q)
        for j in range(H):
            z = sigmoid(pre[t, H + j] + a[0, H + j])
            n = tanh(pre[t, 2 * H + j] + q[0, j])
            J[t, 0, j] = 1 - z
            J[t, 2, j] = (n - h[j]) * z * (1 - z)
            J[t, 3, j] = z * (1 - n * n)
            h[j] = z * n + (1 - z) * h[j]


@jit
def _pull_gru_before(gates_t: Array, candidate_t: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
    _, k, H = u.shape
    drz, dn = np.empty((k, 2 * H)), np.empty((k, H))
    dp, through_gates = np.empty((k, H)), np.empty((k, H))
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        for p in range(k):
            for j in range(H):
                dn[p, j] = J[t, 3, j] * u[0, p, j]
        _multiply(dn, candidate_t, dp)
        for p in range(k):
            for j in range(H):
                drz[p, j] = J[t, 1, j] * dp[p, j]
                drz[p, H + j] = J[t, 2, j] * u[0, p, j]
        d[:, : 2 * H] = drz
        d[:, 2 * H :] = dn
        _multiply(drz, gates_t, through_gates)
        for p in range(k):
            for j in range(H):
                u[0, p, j] = J[t, 0, j] * u[0, p, j] + J[t, 4, j] * dp[p, j] + through_gates[p, j]
        growth[t], share[t] = _rescale(u)


@jit
def _push_gru_before(gates: Array, candidate: Array, J: Array, v: Array, growth: Array, share: Array) -> None:
    _, k, H = v.shape
    da, dp, dn = np.empty((k, 2 * H)), np.empty((k, H)), np.empty((k, H))
    for t in range(J.shape[0]):
        _multiply(v[0], gates, da)
        for p in range(k):
            for j in range(H):
                dp[p, j] = J[t, 4, j] * v[0, p, j] + J[t, 1, j] * da[p, j]
        _multiply(dp, candidate, dn)
        for p in range(k):
            for j in range(H):
                v[0, p, j] = J[t, 0, j] * v[0, p, j] + J[t, 2, j] * da[p, H + j] + J[t, 3, j] * dn[p, j]
        growth[t], share[t] = _rescale(v)


# ---- LSTM: rows (f, dc'/da_i, dc'/da_f, dc'/da_g, dh'/da_o, dh'/dc', i, o, h)


@jit
def _advance_lstm(U: Array, pre: Array, s: Array, J: Array) -> None:
    h, c = s[0], s[1]
    H = h.size
    a = np.empty((1, 4 * H))
    for t in range(pre.shape[0]):
        _multiply(s[:1], U, a)
        for j in range(H):
            i = sigmoid(pre[t, j] + a[0, j])
            f = sigmoid(pre[t, H + j] + a[0, H + j])
            g = tanh(pre[t, 2 * H + j] + a[0, 2 * H + j])
            o = sigmoid(pre[t, 3 * H + j] + a[0, 3 * H + j])
            J[t, 0, j] = f
            J[t, 6, j] = i
            J[t, 7, j] = o
            J[t, 8, j] = h[j]
            J[t, 1, j] = g * i * (1 - i)
            J[t, 2, j] = c[j] * f * (1 - f)
            J[t, 3, j] = i * (1 - g * g)
            c[j] = f * c[j] + i * g
            m = tanh(c[j])
            h[j] = o * m
            J[t, 4, j] = m * o * (1 - o)
            J[t, 5, j] = o * (1 - m * m)


@jit
def _pull_lstm(UT: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
    _, k, H = u.shape
    through_gates = np.empty((k, H))
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        for p in range(k):
            for j in range(H):
                dc = u[1, p, j] + J[t, 5, j] * u[0, p, j]
                for g in range(3):
                    d[p, g * H + j] = J[t, 1 + g, j] * dc
                d[p, 3 * H + j] = J[t, 4, j] * u[0, p, j]
                u[1, p, j] = J[t, 0, j] * dc
        _multiply(d, UT, through_gates)
        u[0] = through_gates
        growth[t], share[t] = _rescale(u)


@jit
def _push_lstm(U: Array, J: Array, v: Array, growth: Array, share: Array) -> None:
    _, k, H = v.shape
    da = np.empty((k, 4 * H))
    for t in range(J.shape[0]):
        _multiply(v[0], U, da)
        for p in range(k):
            for j in range(H):
                v[1, p, j] *= J[t, 0, j]
                for g in range(3):
                    v[1, p, j] += J[t, 1 + g, j] * da[p, g * H + j]
                v[0, p, j] = J[t, 4, j] * da[p, 3 * H + j] + J[t, 5, j] * v[1, p, j]
        growth[t], share[t] = _rescale(v)
