"""Linearized steps of each cell: the new state, and products with the Jacobian.

`advance_*` runs a cell over some steps and keeps, for each step, the few rows of H numbers from
which both J v and Jᵀ u follow in O(H²). They are derived from the equations and not from the
backward kernels, so that each can check the other.

Layouts, with n = 1 state (h) or 2 (h, c), k vectors and L steps: state `s` is ``(n, H)``, a block
of vectors ``(n, k, H)``, inputs with biases `pre` ``(L, G*H)``, rows `J` ``(L, rows, H)``; all
float64 and contiguous. Every function works in place. A block has norm 1 after each step; the log
of the factor divided out goes to `growth` ``(L,)`` and the share of c in the squared norm to
`share` ``(L,)``.

`pull` leaves the cotangents of the preactivations x W + b in `da`, ``(L, k, G*H)`` or, where
nothing reads them, ``(1, k, G*H)``. Those of step t belong to the block of norm 1 before it is
pulled through step t. The last row of `J` is h before the step, which no product needs but the
gradients of U do; an LSTM's i and o are kept for its gate statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.kernels.activations import ACTIVATION_CODES, SIGMOID, TANH, activate
from gatecheck.kernels.elementwise import broadcast_row, clear
from gatecheck.kernels.gemm import gemm_acc, pack_weights
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias


class Kernel(NamedTuple):
    """Functions of a cell with its weights, and the number of rows of J.

    They are ``advance(pre, s, J)``, ``pull(J, u, da, growth, share)`` and ``push(J, v, growth,
    share)``.
    """

    rows: int
    advance: Callable[[Array, Array, Array], None]
    pull: Callable[[Array, Array, Array, Array, Array], None]
    push: Callable[[Array, Array, Array, Array], None]


def cell_kernel(cell: Cell, params: Params) -> Kernel:
    """Return the functions of a cell with these canonical float64 parameters."""
    U, UT = _pack_both(params["U"])
    H = len(params["U"])
    if cell.kind == "lstm":
        return Kernel(9, partial(_advance_lstm, U), partial(_pull_lstm, UT), partial(_push_lstm, U))
    if cell.reset == "before":
        (gates, gates_t), (candidate, candidate_t) = (
            _pack_both(params["U"][:, : 2 * H]),
            _pack_both(params["U"][:, 2 * H :]),
        )
        return Kernel(
            6,
            partial(_advance_gru_before, gates, candidate),
            partial(_pull_reset_before_gru, gates_t, candidate_t),
            partial(_push_gru_before, gates, candidate),
        )
    if cell.kind == "gru":
        return Kernel(
            6, partial(_advance_gru_after, U, params["c_n"]), partial(_pull, UT), partial(_push, U)
        )
    return Kernel(
        3,
        partial(_advance_rnn, ACTIVATION_CODES[cell.activation], U),
        partial(_pull, UT),
        partial(_push, U),
    )


def _pack_both(M: Array) -> tuple[Array, Array]:
    """Return a matrix and its transpose, each packed for :func:`_multiply`."""
    return pack_weights(M, 1)[0], pack_weights(M, 1, transposed=True)[0]


@jit
def _multiply(v: Array, M: Array, out: Array) -> None:
    """Set `out` to the matrix product v M.

    np.dot is slower for so few rows, and on a busy machine its BLAS waits 5 ms a step for its
    threads.
    """
    clear(out)
    gemm_acc(out, v, M)


@jit
def _preactivate(v: Array, M: Array, start: Array, out: Array) -> None:
    """Set `out` to a row `start` plus the product of the row v and M."""
    broadcast_row(out, start)
    gemm_acc(out, v, M)


@jit
def _rescale(u: Array) -> tuple[float, float]:
    """Scale the block to norm 1.

    Returns the log of its norm before, and the share of the second state in the squared norm.
    """
    first = _sum_of_squares(u[0])
    second = _sum_of_squares(u[1]) if u.shape[0] > 1 else 0.0
    norm = np.sqrt(first + second)
    # A zero block stays zero, its log -inf; a NaN stays NaN.
    if norm != 0.0:
        for n in range(u.shape[0]):
            _divide(u[n], norm)
        return np.log(norm), second / (first + second)
    return -np.inf, np.nan


@jit
def _sum_of_squares(u: Array) -> float:
    """Return the sum of the squares, added by column so that it vectorizes."""
    columns = np.zeros(u.shape[1])
    _add_squares(columns, u)
    total = 0.0
    for j in range(columns.size):
        total += columns[j]
    return total


@jit
def _add_squares(columns: Array, u: Array) -> None:
    assume_no_alias()
    for p in range(u.shape[0]):
        for j in range(u.shape[1]):
            columns[j] += u[p, j] * u[p, j]


@jit
def _divide(u: Array, norm: float) -> None:
    assume_no_alias()
    for p in range(u.shape[0]):
        for j in range(u.shape[1]):
            u[p, j] /= norm


# ---- RNN and GRU with the reset after:
# ---- J v = keep ⊙ v + Σ_g A_g ⊙ (v U_g), in the candidate's term r ⊙ (v U_n);
# ---- rows (keep, A_n, h) and (keep, A_r, A_z, A_n, r, h) with A_g = ∂h'/∂a_g


@jit
def _advance_rnn(code: int, U: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    a = np.empty((1, h.size))
    for t in range(pre.shape[0]):
        _preactivate(s, U, pre[t], a)
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
def _advance_gru_after(U: Array, c_n: Array, pre: Array, s: Array, J: Array) -> None:
    H = s.shape[1]
    a, start = np.empty((1, pre.shape[1])), np.empty(pre.shape[1])
    for t in range(pre.shape[0]):
        for j in range(2 * H):
            start[j] = pre[t, j]
        for j in range(H):
            start[2 * H + j] = c_n[j]
        _preactivate(s, U, start, a)
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
def _pull(UT: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
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
        _multiply(product, UT, through_gates)
        _add_kept_part(u[0], J[t, 0], through_gates)
        growth[t], share[t] = _rescale(u)


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
def _push(U: Array, J: Array, v: Array, growth: Array, share: Array) -> None:
    _, k, H = v.shape
    G = 3 if J.shape[1] == 6 else 1
    da = np.empty((k, G * H))
    for t in range(J.shape[0]):
        _multiply(v[0], U, da)
        if G == 3:
            _scale_columns(da, J[t, 4], 2 * H)
        for p in range(k):
            for j in range(H):
                v[0, p, j] *= J[t, 0, j]
                for g in range(G):
                    v[0, p, j] += J[t, 1 + g, j] * da[p, g * H + j]
        growth[t], share[t] = _rescale(v)


# ---- GRU with the reset before, whose candidate takes p = r ⊙ h:
# ---- rows (keep, dp/da_r, dh'/da_z, dh'/da_n, r, h)


@jit
def _advance_gru_before(gates: Array, candidate: Array, pre: Array, s: Array, J: Array) -> None:
    h = s[0]
    H = h.size
    a, p, n = np.empty((1, 2 * H)), np.empty((1, H)), np.empty((1, H))
    for t in range(pre.shape[0]):
        _preactivate(s, gates, pre[t, : 2 * H], a)
        activate(SIGMOID, a)
        r, z = a[0, :H], a[0, H:]
        for j in range(H):
            p[0, j] = r[j] * h[j]
            J[t, 1, j] = p[0, j] * (1 - r[j])
        _preactivate(p, candidate, pre[t, 2 * H :], n)
        activate(TANH, n)
        for j in range(H):
            J[t, 4, j] = r[j]
            J[t, 5, j] = h[j]
            J[t, 0, j] = 1 - z[j]
            J[t, 2, j] = (n[0, j] - h[j]) * z[j] * (1 - z[j])
            J[t, 3, j] = z[j] * (1 - n[0, j] * n[0, j])
            h[j] = z[j] * n[0, j] + (1 - z[j]) * h[j]


@jit
def _pull_reset_before_gru(
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
        _multiply(dn, candidate_t, dp)
        for p in range(k):
            for j in range(H):
                d[p, j] = drz[p, j] = J[t, 1, j] * dp[p, j]
                d[p, H + j] = drz[p, H + j] = J[t, 2, j] * u[0, p, j]
        _multiply(drz, gates_t, through_gates)
        for p in range(k):
            for j in range(H):
                u[0, p, j] = J[t, 0, j] * u[0, p, j] + J[t, 4, j] * dp[p, j] + through_gates[p, j]
        growth[t], share[t] = _rescale(u)


@jit
def _push_gru_before(
    gates: Array, candidate: Array, J: Array, v: Array, growth: Array, share: Array
) -> None:
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
                v[0, p, j] = (
                    J[t, 0, j] * v[0, p, j] + J[t, 2, j] * da[p, H + j] + J[t, 3, j] * dn[p, j]
                )
        growth[t], share[t] = _rescale(v)


# ---- LSTM: rows (f, dc'/da_i, dc'/da_f, dc'/da_g, dh'/da_o, dh'/dc', i, o, h)


@jit
def _advance_lstm(U: Array, pre: Array, s: Array, J: Array) -> None:
    H = s.shape[1]
    a, m = np.empty((1, 4 * H)), np.empty((1, H))
    for t in range(pre.shape[0]):
        _preactivate(s[:1], U, pre[t], a)
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
def _pull_lstm(UT: Array, J: Array, u: Array, da: Array, growth: Array, share: Array) -> None:
    for t in range(J.shape[0] - 1, -1, -1):
        d = da[t % da.shape[0]]
        _gates_backward(d, J[t], u[0], u[1])
        _multiply(d, UT, u[0])
        growth[t], share[t] = _rescale(u)


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
