"""Forward, backward and tangent of one layer on canonical arrays.

This module converts layouts, and does the work that needs no loop over time: products with x are
computed for all steps at once, and so are the gradients of the parameters and of x. The kernels
keep the intermediate values. Threads share the rows of the batch or, for gradients of weights, the
columns. Nothing is validated here; :class:`gatecheck.kernels.Builtin` validates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.kernels import gru, lstm, rnn
from gatecheck.kernels.activations import ACTIVATION_CODES
from gatecheck.kernels.buffer_pool import aligned_copy, aligned_empty
from gatecheck.kernels.gemm import (
    add_product,
    add_weight_gradient,
    choose_steps_per_gemm,
    columns_per_panel,
    pack_weights,
)
from gatecheck.kernels.schedule import Schedule, make_schedule
from gatecheck.kernels.threads import run_in_threads

# Infinity times zero is NaN, which the caller may intend and will see.
ignore_float_errors = np.errstate(all="ignore")


class Tape(NamedTuple):
    """Saved values of a forward call, with sorted rows.

    :func:`backward` and :func:`tangent` read it and do not change it.

    Attributes
    ----------
    order
        The schedule: order of the rows, and the active rows at each step.
    x, h
        Inputs ``(T, B, D)``, zero where a row has ended, and states ``(T + 1, B, H)``.
    rest
        The gates and the cell's other intermediate values.
    """

    schedule: Schedule
    x: Array
    h: Array
    intermediates: tuple[Array, ...] = ()


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
        else _as_kernel_array(order.sort_rows(x))
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


TAPE_ARRAYS = {"rnn": (), "gru": ("a", "s"), "lstm": ("a", "c", "m")}
"""Arrays of a tape in addition to x and h."""


class ForwardLoop(NamedTuple):
    """A loop over time with its arguments.

    Attributes
    ----------
    loop
        The kernel.
    flag
        Its first argument.
    arrays
        Its arrays by name, in the order of the arguments after the schedule.
    """

    loop: Callable[..., None]
    flag: int | bool
    arrays: dict[str, Array]


def forward_loop(
    cell: Cell,
    params: Mapping[str, Array],
    x: Array,
    h0: Array | None,
    c0: Array | None,
    order: Schedule,
    *,
    steps: int,
    states: int,
) -> ForwardLoop:
    """Return the loop that runs a cell over sorted rows `x`.

    Its arrays have room for the intermediate values of `steps` steps and for `states` cell states.
    """
    (T, B, _), H, G = x.shape, params["U"].shape[0], len(cell.gates)
    arrays = {
        "W": pack_weights(params["W"], G),
        "U": pack_weights(params["U"], G),
        "b": _as_kernel_array(params["b"]).reshape(G, H),
    }
    a = aligned_empty((G, (T if steps == T else choose_steps_per_gemm(B)) * B, H), x.dtype)
    h = _allocate_states(order, T + 1, H, x, h0)
    if cell.kind == "rnn":
        return ForwardLoop(
            rnn.forward,
            ACTIVATION_CODES[cell.activation],
            arrays | {"x": _merge_time_batch(x), "a": a, "h": h},
        )
    intermediate = aligned_empty((steps, B, H), x.dtype)
    if cell.kind == "gru":
        if steps == T:
            order.clear_padding(intermediate)
        more = {
            "c_n": _as_kernel_array(params.get("c_n", arrays["b"][0])),
            "x": _merge_time_batch(x),
            "a": a,
            "h": h,
            "s": intermediate,
        }
        return ForwardLoop(gru.forward, cell.reset == "after", arrays | more)
    c = _allocate_states(order, states, H, x, c0)
    more = {
        "p": pad_peepholes(cell, params.get("p"), x, H),
        "x": _merge_time_batch(x),
        "a": a,
        "h": h,
        "c": c,
        "m": intermediate,
    }
    return ForwardLoop(lstm.forward, cell.peepholes, arrays | more)


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
    dy = np.zeros((T, B, H), x.dtype) if dy is None else _as_kernel_array(order.sort_rows(dy))
    dh, dc = (
        np.zeros((B, H), x.dtype) if state is None else np.array(order.sort_rows(state), order="C")
        for state in (dhT, dcT)
    )
    d = aligned_empty((4 if cell.kind == "gru" else G, T, B, H), x.dtype)
    order.clear_padding(d)
    dx = aligned_empty(x.shape, x.dtype)
    flat = d.reshape(len(d), T * B, H), _merge_time_batch(dx)
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
                    _merge_time_batch(d[k] * order.without_padding_values(c)).sum(axis=0)
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
        grads["c_n"] = _merge_time_batch(d[gru.S]).sum(axis=0)
    return grads | more


def backward_loop(
    cell: Cell, params: Mapping[str, Array], tape: Tape
) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Return the backward loop, and its arguments before the cotangents."""
    order, x, h, rest = tape
    shared = (
        order.n_active,
        choose_steps_per_gemm(x.shape[1]),
        *(pack_weights(params[name], len(cell.gates), transposed=True) for name in "WU"),
    )
    if cell.kind == "rnn":
        return rnn.backward, (ACTIVATION_CODES[cell.activation], *shared, h)
    if cell.kind == "gru":
        a, s = rest
        return gru.backward, (cell.reset == "after", *shared, a, h, s)
    return lstm.backward, (
        cell.peepholes,
        *shared,
        pad_peepholes(cell, params.get("p"), x, h.shape[2]),
        *rest,
    )


def recurrent_operands(
    cell: Cell, h_prev: Array, rest: tuple[Array, ...]
) -> list[tuple[Array, slice]]:
    """Return the left operands of the products with U, and their gradients' slots.

    The operands are the states `h_prev`, or those after a reset before the product.
    """
    if cell.kind != "gru":
        return [(h_prev, slice(len(cell.gates)))]
    return [
        (h_prev, slice(gru.N)),
        (h_prev, slice(gru.S, None)) if cell.reset == "after" else (rest[1], slice(gru.N, gru.S)),
    ]


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
                _merge_time_batch(da[k]),
                _merge_time_batch(_as_kernel_array(order.sort_rows(dx))),
                W[k],
            )
        if dW is not None:
            add_product(_merge_time_batch(da[k]), _merge_time_batch(x), dW[k])
        if db is not None:
            da[k] += db[k]
        if dU is not None:
            add_product(_merge_time_batch(da[slots[k]]), _merge_time_batch(inputs[k]), dU[k])
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
                add_weight_gradient, _merge_time_batch(x), d.reshape(len(d), -1, H), out, column
            ),
            len(d) * panels,
            _operation_count(x, len(d) * H),
        )
        column += len(d) * H
    return out


def _merge_time_batch(sequence: Array) -> Array:
    """View a contiguous (T, B, n) as (T * B, n)."""
    T, B, n = sequence.shape
    return sequence.reshape(T * B, n)


def _as_kernel_array(array: Array) -> Array:
    """Return the array itself if a kernel can read it, else a copy.

    Kernels are compiled only for aligned, writable, contiguous arrays.
    """
    return array if array.flags.carray and type(array) is np.ndarray else np.array(array, order="C")


def _allocate_states(order: Schedule, slots: int, H: int, x: Array, initial: Array | None) -> Array:
    states = aligned_empty((slots, x.shape[1], H), x.dtype)
    states[0] = 0 if initial is None else order.sort_rows(initial)
    if slots == len(x) + 1:
        order.clear_padding(states[1:])
    return states


def pad_peepholes(cell: Cell, p: Array | None, x: Array, H: int) -> Array:
    """Return peephole weights with a slot per gate; zeros if the cell has none."""
    out = np.zeros((len(cell.gates), H), x.dtype)
    if p is not None:
        out[[lstm.I, lstm.F, lstm.O]] = p.reshape(3, H)
    return out


def peephole_inputs(c: Array) -> tuple[tuple[int, Array], ...]:
    """Return the inputs of the peepholes by gate, from cell states ``(T + 1, B, H)``."""
    return (lstm.I, c[:-1]), (lstm.F, c[:-1]), (lstm.O, c[1:])
