"""Batched forward and backward calls, from which Jacobians are computed.

Inputs differ in one entry, backward calls in the cotangents. Each forward is the loop over time
that :func:`gatecheck.kernels.run.forward` calls, on arrays of the same values, so its result is the
same to the bit. So are the gradients of the states and of x; NumPy sums those of the parameters, in
another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.kernels import loops
from gatecheck.kernels.cells import gru, lstm, rnn
from gatecheck.kernels.elementwise import copy
from gatecheck.kernels.gemm import choose_steps_per_gemm
from gatecheck.kernels.jit import jit
from gatecheck.kernels.schedule import make_schedule
from gatecheck.kernels.threads import run_in_threads

LOOP_ARRAY_NAMES = {"h0": "h", "c0": "c"}
"""Names of the inputs' arrays in a loop, where they differ."""


def forward_each(
    cell: Cell,
    params: Mapping[str, Array],
    x: Array,
    h0: Array,
    c0: Array | None,
    name: str,
    entries: Array,
    values: Array,
) -> tuple[Array, Array, Array | None]:
    """Return the outputs for each of many replacements of one entry of an input.

    Parameters
    ----------
    cell, params, x, h0, c0
        As for :func:`gatecheck.kernels.run.forward`; not changed.
    name
        Name of the input: a parameter, ``"x"``, ``"h0"`` or ``"c0"``.
    entries
        Indices of the replaced entries in C order, ``(n,)``.
    values
        Their replacements, ``(n,)``, of the dtype of x.

    Returns
    -------
    y, hT, cT
        ``(n, T, B, H)``, ``(n, B, H)`` and ``(n, B, H)`` or None.
    """
    (T, B, D), H, n = x.shape, params["U"].shape[0], len(entries)
    order = make_schedule(T, B, None)
    _, flag, arrays = loops.forward_loop(
        cell, params, np.ascontiguousarray(x), h0, c0, order, steps=1, states=T + 1
    )
    offsets = _entry_positions(cell, name, arrays[LOOP_ARRAY_NAMES.get(name, name)], H)[entries]
    y, cT = np.empty((n, T, B, H), x.dtype), np.empty((n, B, H), x.dtype)

    def run_entries(first: int, last: int) -> None:
        copies = {k: array.copy() for k, array in arrays.items()}
        replaced = copies[LOOP_ARRAY_NAMES.get(name, name)].reshape(-1)
        BATCHED_FORWARDS[cell.kind](
            (flag, order.n_active, choose_steps_per_gemm(B), *copies.values(), 0, B),
            replaced,
            offsets,
            values,
            copies["h"],
            copies.get("c", copies["h"]),
            y,
            cT,
            first,
            last,
        )

    run_in_threads(run_entries, n, 2.0 * n * T * B * (D + H) * len(cell.gates) * H)
    hT = y[:, -1].copy() if T else np.broadcast_to(h0, (n, B, H)).copy()
    return y, hT, cT if cell.kind == "lstm" else None


def _entry_positions(cell: Cell, name: str, holder: Array, H: int) -> Array:
    """Return the position of each entry of an input in the array that holds it."""
    if name in ("W", "U"):
        _, panels, rows, width = holder.shape
        row, column = np.divmod(np.arange(rows * len(cell.gates) * H), len(cell.gates) * H)
        gate, unit = np.divmod(column, H)
        places: Array = ((gate * panels + unit // width) * rows + row) * width + unit % width
        return places
    if name == "p":
        return np.concatenate([k * H + np.arange(H) for k in (lstm.I, lstm.F, lstm.O)])
    return np.arange(holder.size)


@jit
def _batched_rnn_forward(
    loop_args: tuple[Any, ...],
    replaced: Array,
    positions: Array,
    values: Array,
    h: Array,
    c: Array,
    y: Array,
    cT: Array,
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        original = replaced[positions[k]]
        replaced[positions[k]] = values[k]
        rnn.forward(*loop_args)
        replaced[positions[k]] = original
        for t in range(y.shape[1]):
            copy(y[k, t], h[t + 1])


@jit
def _batched_gru_forward(
    loop_args: tuple[Any, ...],
    replaced: Array,
    positions: Array,
    values: Array,
    h: Array,
    c: Array,
    y: Array,
    cT: Array,
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        original = replaced[positions[k]]
        replaced[positions[k]] = values[k]
        gru.forward(*loop_args)
        replaced[positions[k]] = original
        for t in range(y.shape[1]):
            copy(y[k, t], h[t + 1])


@jit
def _batched_lstm_forward(
    loop_args: tuple[Any, ...],
    replaced: Array,
    positions: Array,
    values: Array,
    h: Array,
    c: Array,
    y: Array,
    cT: Array,
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        original = replaced[positions[k]]
        replaced[positions[k]] = values[k]
        lstm.forward(*loop_args)
        copy(cT[k], c[-1])
        replaced[positions[k]] = original
        for t in range(y.shape[1]):
            copy(y[k, t], h[t + 1])


BATCHED_FORWARDS = {
    "rnn": _batched_rnn_forward,
    "gru": _batched_gru_forward,
    "lstm": _batched_lstm_forward,
}


@loops.ignore_float_errors
def backward_each(
    cell: Cell,
    params: Mapping[str, Array],
    tape: loops.Tape,
    dy: Array,
    dhT: Array,
    dcT: Array | None,
) -> dict[str, Array]:
    """Return the gradients for each of many cotangents.

    Parameters
    ----------
    cell, params, tape
        As for :func:`gatecheck.kernels.run.backward`.
    dy, dhT, dcT
        ``(n, T, B, H)``, ``(n, B, H)``, and ``(n, B, H)`` where there is a cell state; not changed.

    Returns
    -------
    dict
        Gradients as from :func:`gatecheck.kernels.run.backward`, each with n as its first axis.
    """
    _, x, h, rest = tape
    (n, T, B, H), D, G = dy.shape, x.shape[2], len(cell.gates)
    d = np.empty((n, 4 if cell.kind == "gru" else G, T * B, H), x.dtype)
    dx, dh, dc = (
        np.empty((n, T * B, D), x.dtype),
        dhT.copy(),
        np.zeros_like(dhT) if dcT is None else dcT.copy(),
    )
    _, loop_args = loops.backward_loop(cell, params, tape)
    loop = partial(BATCHED_BACKWARDS[cell.kind], loop_args, np.ascontiguousarray(dy), dh, dc, d, dx)
    run_in_threads(loop, n, 4.0 * n * T * B * (D + H) * G * H)
    grads = {
        "W": _weight_gradients([(x, d[:, :G])]),
        "b": d[:, :G].sum(axis=2).reshape(n, -1),
        "x": dx.reshape(n, T, B, D),
        "h0": dh,
    }
    if cell.reset == "after":
        grads["c_n"] = d[:, gru.S].sum(axis=1)
    if cell.kind == "lstm":
        grads["c0"] = dc
    if cell.peepholes:
        grads["p"] = np.concatenate(
            [
                (d[:, k] * states.reshape(T * B, H)).sum(axis=1)
                for k, states in loops.peephole_inputs(rest[1])
            ],
            axis=1,
        )
    return grads | {
        "U": _weight_gradients(
            [(inputs, d[:, slots]) for inputs, slots in loops.recurrent_operands(cell, h[:T], rest)]
        )
    }


def _weight_gradients(pairs: list[tuple[Array, Array]]) -> Array:
    """Return the gradients of weights.

    They are sums over steps and rows of inputs ``(T, B, m)`` times gradients ``(n, g, T * B, H)``.
    """
    parts = [np.matmul(x.reshape(-1, x.shape[2]).T, d) for x, d in pairs]
    product = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    n, g, m, H = product.shape
    return np.ascontiguousarray(product.transpose(0, 2, 1, 3)).reshape(n, m, g * H)


@jit
def _batched_rnn_backward(
    loop_args: tuple[Any, ...],
    dy: Array,
    dh: Array,
    dc: Array,
    d: Array,
    dx: Array,
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        rest = (dy[k], dh[k], d[k], dx[k], 0, dy.shape[2])
        rnn.backward(*(loop_args + rest))


@jit
def _batched_gru_backward(
    loop_args: tuple[Any, ...],
    dy: Array,
    dh: Array,
    dc: Array,
    d: Array,
    dx: Array,
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        rest = (dy[k], dh[k], d[k], dx[k], 0, dy.shape[2])
        gru.backward(*(loop_args + rest))


@jit
def _batched_lstm_backward(
    loop_args: tuple[Any, ...],
    dy: Array,
    dh: Array,
    dc: Array,
    d: Array,
    dx: Array,
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        rest = (dy[k], dh[k], dc[k], d[k], dx[k], 0, dy.shape[2])
        lstm.backward(*(loop_args + rest))


BATCHED_BACKWARDS = {
    "rnn": _batched_rnn_backward,
    "gru": _batched_gru_backward,
    "lstm": _batched_lstm_backward,
}
