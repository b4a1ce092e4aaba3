"""Forward, backward and tangent of one layer on canonical arrays.

This module converts layouts, and does the work that needs no loop over time: products with x are
computed for all steps at once, and so are the gradients of the parameters and of x. The kernels
keep the intermediate values. Threads share the rows of the batch or, for gradients of weights, the
columns. Nothing is validated here; :class:`gatecheck.kernels.Builtin` validates.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.kernels.activations import ACTIVATION_CODES
from gatecheck.kernels.buffer_pool import aligned_copy, aligned_empty
from gatecheck.kernels.cells import gru, lstm, rnn
from gatecheck.kernels.gemm import (
    add_product,
    add_weight_gradient,
    choose_steps_per_gemm,
    pack_weights,
)
from gatecheck.kernels.loops import (
    TAPE_ARRAYS,
    Tape,
    as_kernel_array,
    backward_loop,
    forward_loop,
    ignore_float_errors,
    merge_time_batch,
    pad_peepholes,
    peephole_inputs,
    recurrent_operands,
)
from gatecheck.kernels.panels import columns_per_panel
from gatecheck.kernels.schedule import make_schedule
from gatecheck.kernels.threads import run_in_threads


def forward(
    cell: Cell,
    params: Mapping[str, Array],
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    lengths: Array | None = None,
    *,
    keep_tape: bool = True,
) -> tuple[Array, Array, Array | None, Tape]:
    """Run a cell over a sequence.

    Parameters
    ----------
    cell
        The cell.
    params
        Canonical parameters, of the dtype of x: float32, float64 or complex128 (a relu has no
        complex extension).
    x
        Inputs ``(T, B, D)``.
    h0, c0
        Initial states ``(B, H)``, or None for zeros.
    lengths
        Number of steps of each row, ``(B,)``; None is T for all. Beyond them x is ignored, and y
        is zero.
    keep_tape
        False to keep no intermediate values: the tape is then unusable, and takes less memory.

    Returns
    -------
    y, hT, cT
        All hidden states ``(T, B, H)``, each row's last one, and its last cell state or None.
    tape
        The values that :func:`backward` and :func:`tangent` need, as copies.
    """
    (T, B, _), H, G = x.shape, params["U"].shape[0], len(cell.gates)
    order = make_schedule(T, B, lengths)
    x = (
        aligned_copy(order.sort_rows(x))
        if keep_tape or lengths is not None
        else as_kernel_array(order.sort_rows(x))
    )
    order.clear_padding(x)
    loop, flag, arrays = forward_loop(
        cell,
        params,
        x,
        h0,
        c0,
        order,
        steps=T if keep_tape else 1,
        states=T + 1 if keep_tape or lengths is not None else 2,
    )
    run_in_threads(
        partial(loop, flag, order.n_active, choose_steps_per_gemm(B), *arrays.values()),
        B,
        _operation_count(arrays["h"], G * H) + _operation_count(x, G * H),
    )
    h, rest = arrays["h"], tuple(arrays[name] for name in TAPE_ARRAYS[cell.kind])
    cT = None
    if cell.kind == "lstm":
        c = arrays["c"]
        cT = order.last_states(c) if len(c) == T + 1 else c[T % 2].copy()
    y = order.restore_rows(h[1:])
    return (
        aligned_copy(y) if keep_tape else np.ascontiguousarray(y),
        order.last_states(h),
        cT,
        Tape(order, x, h, rest),
    )


@ignore_float_errors
def backward(
    cell: Cell,
    params: Mapping[str, Array],
    tape: Tape,
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
) -> dict[str, Array]:
    """Backpropagate through time.

    Parameters
    ----------
    cell, params
        The arguments of :func:`forward`; float32 or float64.
    tape
        The tape that it returned.
    dy, dhT, dcT
        Cotangents of y ``(T, B, H)``, h_T and c_T ``(B, H)``; None is zero. dy is ignored where a
        row has ended.

    Returns
    -------
    dict
        Gradients of the parameters, ``x`` (zero where a row has ended), ``h0`` and, if there is a
        cell state, ``c0``, in their shapes.
    """
    order, x, h, rest = tape
    (T, B, _), H = x.shape, h.shape[2]
    G = len(cell.gates)
    dy = np.zeros((T, B, H), x.dtype) if dy is None else as_kernel_array(order.sort_rows(dy))
    dh, dc = (
        np.zeros((B, H), x.dtype) if state is None else np.array(order.sort_rows(state), order="C")
        for state in (dhT, dcT)
    )
    d = aligned_empty((4 if cell.kind == "gru" else G, T, B, H), x.dtype)
    order.clear_padding(d)
    dx = aligned_empty(x.shape, x.dtype)
    flat = d.reshape(len(d), T * B, H), merge_time_batch(dx)
    h_prev = order.without_padding_values(h[:T])
    loop, loop_args = backward_loop(cell, params, tape)
    states = (dh, dc) if cell.kind == "lstm" else (dh,)
    run_in_threads(
        partial(loop, *loop_args, dy, *states, *flat),
        B,
        _operation_count(h, G * H) + _operation_count(x, G * H),
    )
    more = {}
    if cell.kind == "lstm":
        more["c0"] = order.restore_rows(dc)
        if cell.peepholes:
            more["p"] = np.concatenate(
                [
                    merge_time_batch(d[k] * order.without_padding_values(c)).sum(axis=0)
                    for k, c in peephole_inputs(rest[1])
                ]
            )
    order.clear_padding(dx)
    grads = {
        "W": _weight_gradient([(x, d[:G])]),
        "U": _weight_gradient(
            [(inputs, d[slots]) for inputs, slots in recurrent_operands(cell, h_prev, rest)]
        ),
        "b": flat[0][:G].sum(axis=1).reshape(-1),
        "x": np.ascontiguousarray(order.restore_rows(dx)),
        "h0": order.restore_rows(dh),
    }
    if cell.reset == "after":
        grads["c_n"] = merge_time_batch(d[gru.S]).sum(axis=0)
    return grads | more


@ignore_float_errors
def tangent(
    cell: Cell,
    params: Mapping[str, Array],
    tape: Tape,
    dparams: Mapping[str, Array | None] | None = None,
    dx: Array | None = None,
    dh0: Array | None = None,
    dc0: Array | None = None,
) -> tuple[Array, Array, Array | None]:
    """Return a directional derivative of the outputs.

    Parameters
    ----------
    cell, params
        The arguments of :func:`forward`; float32 or float64.
    tape
        The tape that it returned.
    dparams, dx, dh0, dc0
        The direction, in the shapes of the inputs; parts that are absent or None are zero. dx is
        ignored where a row has ended.

    Returns
    -------
    dy, dhT, dcT
        Derivatives of y ``(T, B, H)``, h_T ``(B, H)`` and c_T ``(B, H)`` or None.
    """
    order, x, h, rest = tape
    (T, B, _), H = x.shape, h.shape[2]
    G = len(cell.gates)
    W, U = (pack_weights(params[name], G) for name in "WU")
    d = {name: array for name, array in (dparams or {}).items() if array is not None}
    dW, dU = (pack_weights(d[name], G) if name in d else None for name in "WU")
    db = d["b"].reshape(G, H) if "b" in d else None
    da = np.zeros((4 if cell.kind == "gru" else G, T, B, H), x.dtype)
    flat = da.reshape(len(da), T * B, H)
    inputs, slots = [h[:T]] * G, list(range(G))
    if cell.reset == "after":
        slots[gru.N] = gru.S
    elif cell.reset == "before":
        inputs[gru.N] = rest[1]
    for k in range(G):
        if dx is not None:
            add_product(
                merge_time_batch(da[k]),
                merge_time_batch(as_kernel_array(order.sort_rows(dx))),
                W[k],
            )
        if dW is not None:
            add_product(merge_time_batch(da[k]), merge_time_batch(x), dW[k])
        if db is not None:
            da[k] += db[k]
        if dU is not None:
            add_product(merge_time_batch(da[slots[k]]), merge_time_batch(inputs[k]), dU[k])
    if "c_n" in d:
        da[gru.S] += d["c_n"]
    dy = np.empty((T, B, H), x.dtype)
    order.clear_padding(dy)
    dh, dc = (
        np.zeros((B, H), x.dtype) if state is None else np.array(order.sort_rows(state), order="C")
        for state in (dh0, dc0)
    )
    if cell.kind == "rnn":
        rnn.tangent(ACTIVATION_CODES[cell.activation], order.n_active, U, h, flat, dh, dy, 0, B)
    elif cell.kind == "gru":
        a, s = rest
        gru.tangent(cell.reset == "after", order.n_active, U, a, h, s, flat, dh, dy, 0, B)
    else:
        a, c, m = rest
        if "p" in d:
            dp = pad_peepholes(cell, d["p"], x, H)
            for k, c_seen in peephole_inputs(c):
                da[k] += dp[k] * c_seen
        lstm.tangent(
            cell.peepholes,
            order.n_active,
            U,
            pad_peepholes(cell, params.get("p"), x, H),
            a,
            c,
            m,
            flat,
            dh,
            dc,
            dy,
            0,
            B,
        )
    restore = order.restore_rows
    return (
        np.ascontiguousarray(restore(dy)),
        restore(dh),
        restore(dc) if cell.kind == "lstm" else None,
    )


def _operation_count(sequence: Array, columns: int) -> float:
    """Return the operations of the products of a sequence's rows with these columns."""
    return 2.0 * sequence.size * columns


def _weight_gradient(pairs: list[tuple[Array, Array]]) -> Array:
    """Return the gradient of weights.

    It is the sum over steps and rows of inputs ``(T, B, n)`` times gradients ``(g, T, B, H)``.
    """
    n, H = pairs[0][0].shape[-1], pairs[0][1].shape[-1]
    out = np.zeros((n, H * sum(len(d) for _, d in pairs)), pairs[0][0].dtype)
    panels, column = -(-H // columns_per_panel(out.dtype)), 0
    for x, d in pairs:
        run_in_threads(
            partial(
                add_weight_gradient, merge_time_batch(x), d.reshape(len(d), -1, H), out, column
            ),
            len(d) * panels,
            _operation_count(x, len(d) * H),
        )
        column += len(d) * H
    return out
