"""NumPy as a careful user writes it: vectorized over rows and gates.

There is one product a step, and one a sequence wherever there is no recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.bench.job import Job, Results, cotangents, outputs, states
from gatecheck.cases import Case
from gatecheck.errors import UsageError

PACKAGES = ("numpy",)

Params = Mapping[str, Array]


def prepare(case: Case, work: str, threads: int) -> Job:
    """Prepare a point for NumPy.

    Its threads are those that the process was started with.

    Raises
    ------
    UsageError
        If the cell has options that are not written here.
    """
    cell = case.cell
    if cell.name not in ("rnn", "gru", "gru-before", "lstm"):
        raise UsageError(f"no loop is written here for a {cell}")
    params, x = {k: v.copy() for k, v in case.params.items()}, case["x"].copy()
    initial, directions = states(case), cotangents(case)
    loops: dict[str, tuple[Callable[..., Any], Callable[..., Results]]]
    loops = {"rnn": (_rnn, _rnn_back), "gru": (_gru, _gru_back), "lstm": (_lstm, _lstm_back)}
    run, run_back = loops[cell.kind]

    def forward() -> Any:
        return run(params, x, *initial)[0]

    def backward() -> Results:
        _, tape = run(params, x, *initial)
        return run_back(params, x, tape, *directions)

    return (
        Job(backward, backward)
        if work == "gradients"
        else Job(forward, lambda: outputs(case, forward()))
    )


def _sigmoid(a: Array) -> Array:
    e = np.exp(-a)
    e += 1
    return np.reciprocal(e, out=e)


def _project(params: Params, x: Array) -> Array:
    T, B, D = x.shape
    return (x.reshape(T * B, D) @ params["W"] + params["b"]).reshape(T, B, -1)


def _gradients(params: Params, x: Array, h: Array, d: Array, du: Array | None = None) -> Results:
    """Return the gradients that need no loop: those of W, b, x and U.

    That of U is from `du`, the gradient at the product with it, where it differs from `d`.
    """
    flat, inputs = d.reshape(-1, d.shape[-1]), x.reshape(-1, x.shape[-1])
    dU = h.reshape(-1, h.shape[-1]).T @ (flat if du is None else du.reshape(flat.shape))
    return {
        "dW": inputs.T @ flat,
        "dU": dU,
        "db": flat.sum(axis=0),
        "dx": (flat @ params["W"].T).reshape(x.shape),
    }


def _states(x: Array, first: Array) -> Array:
    states = np.empty((len(x) + 1, *first.shape), x.dtype)
    states[0] = first
    return states


def _rnn(params: Params, x: Array, h0: Array) -> tuple[Any, Any]:
    a, U, h = _project(params, x), params["U"], _states(x, h0)
    for t in range(len(x)):
        np.tanh(a[t] + h[t] @ U, out=h[t + 1])
    return (h[1:], h[-1]), h


def _rnn_back(params: Params, x: Array, h: Array, dy: Array, dhT: Array) -> Results:
    Ut, d, dh = np.ascontiguousarray(params["U"].T), np.empty_like(dy), dhT
    for t in reversed(range(len(x))):
        np.multiply(dh + dy[t], 1 - h[t + 1] ** 2, out=d[t])
        dh = d[t] @ Ut
    return _gradients(params, x, h[:-1], d) | {"dh0": dh}


def _gru(params: Params, x: Array, h0: Array) -> tuple[Any, Any]:
    a, U, h, H = _project(params, x), params["U"], _states(x, h0), h0.shape[1]
    c, U_rz, U_n = (
        params.get("c_n"),
        np.ascontiguousarray(params["U"][:, : 2 * H]),
        np.ascontiguousarray(params["U"][:, 2 * H :]),
    )
    s = np.empty((*x.shape[:2], H), x.dtype)
    for t in range(len(x)):
        if c is None:
            a[t, :, : 2 * H] = _sigmoid(a[t, :, : 2 * H] + h[t] @ U_rz)
            np.multiply(a[t, :, :H], h[t], out=s[t])
            a[t, :, 2 * H :] = np.tanh(a[t, :, 2 * H :] + s[t] @ U_n)
        else:
            product = h[t] @ U
            a[t, :, : 2 * H] = _sigmoid(a[t, :, : 2 * H] + product[:, : 2 * H])
            np.add(product[:, 2 * H :], c, out=s[t])
            a[t, :, 2 * H :] = np.tanh(a[t, :, 2 * H :] + a[t, :, :H] * s[t])
        z, n = a[t, :, H : 2 * H], a[t, :, 2 * H :]
        np.add(h[t], z * (n - h[t]), out=h[t + 1])
    return (h[1:], h[-1]), (a, h, s)


def _gru_back(params: Params, x: Array, tape: Any, dy: Array, dhT: Array) -> Results:
    (a, h, s), H, after = tape, dhT.shape[1], "c_n" in params
    Ut, dh, d = np.ascontiguousarray(params["U"].T), dhT, np.empty_like(a)
    du = np.empty_like(a) if after else d
    for t in reversed(range(len(x))):
        r, z, n = a[t, :, :H], a[t, :, H : 2 * H], a[t, :, 2 * H :]
        dh = dh + dy[t]
        dn = dh * z * (1 - n * n)
        d[t, :, H : 2 * H] = dh * (n - h[t]) * z * (1 - z)
        d[t, :, 2 * H :] = dn
        if after:
            d[t, :, :H] = dn * s[t] * r * (1 - r)
            du[t, :, : 2 * H], du[t, :, 2 * H :] = d[t, :, : 2 * H], dn * r
            dh = dh * (1 - z) + du[t] @ Ut
        else:
            ds = dn @ Ut[2 * H :]
            d[t, :, :H] = ds * h[t] * r * (1 - r)
            dh = dh * (1 - z) + ds * r + d[t, :, : 2 * H] @ Ut[: 2 * H]
    gradients = _gradients(params, x, h[:-1], d, du) | {"dh0": dh}
    if after:
        return gradients | {"dc_n": du[..., 2 * H :].sum(axis=(0, 1))}
    gradients["dU"][:, 2 * H :] = s.reshape(-1, H).T @ d[..., 2 * H :].reshape(-1, H)
    return gradients


def _lstm(params: Params, x: Array, h0: Array, c0: Array) -> tuple[Any, Any]:
    a, U, h, c, H = _project(params, x), params["U"], _states(x, h0), _states(x, c0), h0.shape[1]
    m = np.empty((*x.shape[:2], H), x.dtype)
    for t in range(len(x)):
        a[t] += h[t] @ U
        a[t, :, : 2 * H], a[t, :, 3 * H :] = _sigmoid(a[t, :, : 2 * H]), _sigmoid(a[t, :, 3 * H :])
        np.tanh(a[t, :, 2 * H : 3 * H], out=a[t, :, 2 * H : 3 * H])
        i, f, g, o = np.split(a[t], 4, axis=1)
        np.add(f * c[t], i * g, out=c[t + 1])
        np.tanh(c[t + 1], out=m[t])
        np.multiply(o, m[t], out=h[t + 1])
    return (h[1:], h[-1], c[-1]), (a, h, c, m)


def _lstm_back(params: Params, x: Array, tape: Any, dy: Array, dhT: Array, dcT: Array) -> Results:
    (a, h, c, m), H = tape, dhT.shape[1]
    Ut, dh, dc, d = np.ascontiguousarray(params["U"].T), dhT, dcT, np.empty_like(a)
    for t in reversed(range(len(x))):
        i, f, g, o = np.split(a[t], 4, axis=1)
        dh = dh + dy[t]
        dc = dc + dh * o * (1 - m[t] ** 2)
        d[t, :, :H] = dc * g * i * (1 - i)
        d[t, :, H : 2 * H] = dc * c[t] * f * (1 - f)
        d[t, :, 2 * H : 3 * H] = dc * i * (1 - g * g)
        d[t, :, 3 * H :] = dh * m[t] * o * (1 - o)
        dh, dc = d[t] @ Ut, dc * f
    return _gradients(params, x, h[:-1], d) | {"dh0": dh, "dc0": dc}
