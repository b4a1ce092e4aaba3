"""Loops over time of the GRU.

h' = z n + (1 - z) h with r, z = σ(a + h U), where a = x W + b. With the reset after the product,
the candidate is n = tanh(a + r s) with s = h U + c_n; before it, n = tanh(a + s U) with s = r h.
Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.elementwise.

z = r = 1 gives the plain recurrent cell and z = 0 a copy, bit for bit in h and in the gradients:
there is one product per gate, sums start from the term that then remains, and there is no z - z n
or the like, which would round.
"""

from __future__ import annotations

from gatecheck._util.typing import Array
from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.elementwise import broadcast_row, clear, copy, multiply_by_slope
from gatecheck.kernels.gemm import gemm_acc, input_backward, input_forward
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias

R, Z, N, S = 0, 1, 2, 3


@jit
def forward(
    reset_after: bool, n_active: Array, steps_per_gemm: int, W: Array, U: Array, b: Array,
    c_n: Array, x: Array, a: Array, h: Array, s: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Fill h[1:], a with the gates, and s.

    Arrays with room for fewer steps keep the last ones. `reset_after` is true if the reset comes
    after the product.
    """
    T, B = h.shape[0] - 1, h.shape[1]
    for t in range(T):
        rows = min(n_active[t], last)
        if rows <= first:
            break
        slot, h_prev, h_next, s_t = (
            t % (a.shape[1] // B),
            h[t, first:rows],
            h[t + 1, first:rows],
            s[t % s.shape[0], first:rows],
        )
        input_forward(x, W, b, a, t, slot, steps_per_gemm, B, first, rows)
        low, high = slot * B + first, slot * B + rows
        r, z, n = a[R, low:high], a[Z, low:high], a[N, low:high]
        for k in (R, Z):
            gemm_acc(a[k, low:high], h_prev, U[k])
            activate(SIGMOID, a[k, low:high])
        if reset_after:
            broadcast_row(s_t, c_n)
            gemm_acc(s_t, h_prev, U[N])
            _multiply_add(n, r, s_t)
        else:
            clear(s_t)
            _multiply_add(s_t, r, h_prev)
            gemm_acc(n, s_t, U[N])
        activate(TANH, n)
        _update_forward(z, n, h_prev, h_next)


@jit
def _multiply_add(out: Array, a: Array, b: Array) -> None:
    assume_no_alias()
    for p in range(out.shape[0]):
        for q in range(out.shape[1]):
            out[p, q] += a[p, q] * b[p, q]


@jit
def _update_forward(z: Array, n: Array, h_prev: Array, h_next: Array) -> None:
    assume_no_alias()
    one = z.dtype.type(1)
    for p in range(z.shape[0]):
        for q in range(z.shape[1]):
            h_next[p, q] = z[p, q] * n[p, q] + (one - z[p, q]) * h_prev[p, q]


@jit
def backward(
    reset_after: bool, n_active: Array, steps_per_gemm: int, Wt: Array, Ut: Array,
    a: Array, h: Array, s: Array, dy: Array, dh: Array, d: Array, dx: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    """Fill `d`, the gradients at the preactivations of r, z, n and at s, and `dx`.

    `dh` is the gradient at h_T on entry, at h_0 on return. `a` holds the gates; `Wt` and `Ut` are W
    and U transposed.
    """
    B = dh.shape[0]
    for t in range(dy.shape[0] - 1, -1, -1):
        rows = min(n_active[t], last)
        if rows <= first:
            continue
        low, high = t * B + first, t * B + rows
        r, z, n = a[R, low:high], a[Z, low:high], a[N, low:high]
        dr, dz, dn, ds = d[R, low:high], d[Z, low:high], d[N, low:high], d[S, low:high]
        dhs, h_prev = dh[first:rows], h[t, first:rows]
        _update_backward(z, n, h_prev, dy[t, first:rows], dhs, dz, dn)
        if reset_after:
            _reset_after_backward(r, s[t, first:rows], dn, dr, ds)
            gemm_acc(dhs, ds, Ut[N])
        else:
            clear(ds)
            gemm_acc(ds, dn, Ut[N])
            _reset_before_backward(r, h_prev, ds, dr, dhs)
        gemm_acc(dhs, dr, Ut[R])
        gemm_acc(dhs, dz, Ut[Z])
        input_backward(d, 3, Wt, dx, t, steps_per_gemm, B, first, rows)


@jit
def _update_backward(
    z: Array, n: Array, h_prev: Array, dy: Array, dh: Array, dz: Array, dn: Array
) -> None:
    """Backpropagate through h' = z n + (1 - z) h."""
    assume_no_alias()
    one = z.dtype.type(1)
    for p in range(z.shape[0]):
        for q in range(z.shape[1]):
            z_t, n_t = z[p, q], n[p, q]
            dh_t = dh[p, q] + dy[p, q]
            dz[p, q] = (dh_t * (n_t - h_prev[p, q])) * (z_t * (one - z_t))
            dn[p, q] = (dh_t * z_t) * (one - n_t * n_t)
            dh[p, q] = dh_t * (one - z_t)


@jit
def _reset_after_backward(r: Array, s: Array, dn: Array, dr: Array, ds: Array) -> None:
    """Backpropagate through a + r s."""
    assume_no_alias()
    one = r.dtype.type(1)
    for p in range(r.shape[0]):
        for q in range(r.shape[1]):
            r_t = r[p, q]
            dr[p, q] = (dn[p, q] * s[p, q]) * (r_t * (one - r_t))
            ds[p, q] = dn[p, q] * r_t


@jit
def _reset_before_backward(r: Array, h_prev: Array, ds: Array, dr: Array, dh: Array) -> None:
    """Backpropagate through s = r h."""
    assume_no_alias()
    one = r.dtype.type(1)
    for p in range(r.shape[0]):
        for q in range(r.shape[1]):
            r_t = r[p, q]
            dr[p, q] = (ds[p, q] * h_prev[p, q]) * (r_t * (one - r_t))
            dh[p, q] += ds[p, q] * r_t


@jit
def tangent(
    reset_after: bool,
    n_active: Array,
    U: Array,
    a: Array,
    h: Array,
    s: Array,
    da: Array,
    dh: Array,
    dy: Array,
    first: int,
    last: int,
) -> None:
    """Fill `dy`, the derivative of every h.

    `da` holds the derivatives of the preactivations and of s without the terms of dh; it is
    overwritten. `dh` is the derivative of h_0 on entry, of h_T on return. `a` holds the gates. With
    a reset before the product, slot s of `da` is not used as input.
    """
    one, B = dh.dtype.type(1), dh.shape[0]
    for t in range(dy.shape[0]):
        rows = min(n_active[t], last)
        if rows <= first:
            break
        low, high = t * B + first, t * B + rows
        r, z, n = a[R, low:high], a[Z, low:high], a[N, low:high]
        dr, dz, dn, ds = da[R, low:high], da[Z, low:high], da[N, low:high], da[S, low:high]
        dhs, h_prev, s_t = dh[first:rows], h[t, first:rows], s[t, first:rows]
        for k in (R, Z):
            gemm_acc(da[k, low:high], dhs, U[k])
            multiply_by_slope(SIGMOID, da[k, low:high], a[k, low:high])
        if reset_after:
            gemm_acc(ds, dhs, U[N])
            for p in range(rows - first):
                for q in range(dh.shape[1]):
                    dn[p, q] += r[p, q] * ds[p, q] + dr[p, q] * s_t[p, q]
        else:
            for p in range(rows - first):
                for q in range(dh.shape[1]):
                    ds[p, q] = r[p, q] * dhs[p, q] + dr[p, q] * h_prev[p, q]
            gemm_acc(dn, ds, U[N])
        multiply_by_slope(TANH, dn, n)
        for p in range(rows - first):
            for q in range(dh.shape[1]):
                dhs[p, q] = (
                    z[p, q] * dn[p, q]
                    + dz[p, q] * (n[p, q] - h_prev[p, q])
                    + (one - z[p, q]) * dhs[p, q]
                )
        copy(dy[t, first:rows], dhs)
