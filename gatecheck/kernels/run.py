"""From canonical arrays to kernels and back: layout, and what needs no loop over time.

The products with x are formed for all steps at once, one a gate, and so are the gradients of the parameters and of x; the kernels keep
what lies between. Nothing is validated here; :class:`gatecheck.kernels.Builtin` is the door with a guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell
from gatecheck.kernels import gru, lstm, rnn
from gatecheck.kernels.activations import CODES
from gatecheck.kernels.schedule import Schedule, schedule

Array = NDArray[Any]

quiet = np.errstate(all="ignore")  # infinity times zero is NaN, which the caller may mean and will see


class Tape(NamedTuple):
    """What :func:`forward` leaves for :func:`backward` and :func:`tangent`, which do not change it. The rows are sorted.

    Attributes
    ----------
    order
        How they are sorted, and which run at which step.
    x, h
        Inputs ``(T, B, D)``, zero where a row has ended, and states ``(T + 1, B, H)``.
    rest
        The gates and what else the cell computed.
    """

    order: Schedule
    x: Array
    h: Array
    rest: tuple[Array, ...] = ()


@quiet
def forward(
    cell: Cell, params: Mapping[str, Array], x: Array, h0: Array | None = None, c0: Array | None = None, lengths: Array | None = None
) -> tuple[Array, Array, Array | None, Tape]:
    """Run a cell over a sequence.

    Parameters
    ----------
    cell
        The cell.
    params
        Canonical parameters, of the dtype of x: float32, float64 or complex128 (a relu has no complex extension).
    x
        Inputs ``(T, B, D)``.
    h0, c0
        Initial states ``(B, H)``, or None for zeros.
    lengths
        How many steps each row runs, ``(B,)``; None is T for all. Nothing sees x beyond, and y is zero there.

    Returns
    -------
    y, hT, cT
        All hidden states ``(T, B, H)``, each row's last one, and its last cell state or None.
    tape
        What :func:`backward` and :func:`tangent` need, in copies.
    """
    (T, B, _), H = x.shape, params["U"].shape[0]
    order = schedule(T, B, lengths)
    x = np.array(order.rows(x), order="C")
    order.clear(x)
    W, U, b = (_stacked(cell, params[name]) for name in "WUb")
    a = np.stack([_rows(x) @ W[k] + b[k] for k in range(len(W))]).reshape(len(W), T, B, H)
    h, cT = _states(order, H, x, h0), None
    rest: tuple[Array, ...] = ()
    if cell.kind == "rnn":
        rnn.forward(CODES[cell.activation], order.running, U, a, h)
    elif cell.kind == "gru":
        s = np.empty((T, B, H), x.dtype)
        order.clear(s)
        gru.forward(cell.reset == "after", order.running, U, _owned(params.get("c_n", b[0])), a, h, s)
        rest = a, s
    else:
        c, m = _states(order, H, x, c0), np.empty((T, B, H), x.dtype)
        lstm.forward(cell.peepholes, order.running, U, _peepholes(cell, params.get("p"), x, H), a, h, c, m)
        cT = order.last(c)
        rest = a, c, m
    return np.array(order.rows_back(h[1:]), order="C"), order.last(h), cT, Tape(order, x, h, rest)


@quiet
def backward(
    cell: Cell, params: Mapping[str, Array], tape: Tape, dy: Array | None, dhT: Array | None, dcT: Array | None
) -> dict[str, Array]:
    """Backpropagation through time.

    Parameters
    ----------
    cell, params
        As they were given to :func:`forward`; float32 or float64.
    tape
        What it returned.
    dy, dhT, dcT
        Cotangents of y ``(T, B, H)``, h_T and c_T ``(B, H)``; None is zero. Nothing sees dy where a row has ended.

    Returns
    -------
    dict
        Gradients in the shapes of the parameters, ``x`` (zero where a row has ended), ``h0`` and, where there is a cell state, ``c0``.
    """
    order, x, h, rest = tape
    (T, B, _), H = x.shape, h.shape[2]
    W, Ut = _stacked(cell, params["W"]), _stacked(cell, params["U"]).transpose(0, 2, 1).copy()
    dy = np.zeros((T, B, H), x.dtype) if dy is None else _owned(order.rows(dy))
    dh, dc = (np.zeros((B, H), x.dtype) if state is None else np.array(order.rows(state), order="C") for state in (dhT, dcT))
    d = np.empty((4 if cell.kind == "gru" else len(W), T, B, H), x.dtype)
    order.clear(d)
    lefts, rights = [order.cleared(h[:T])] * len(W), list(d[: len(W)])
    more = {}
    if cell.kind == "rnn":
        rnn.backward(CODES[cell.activation], order.running, Ut, h, dy, dh, d)
    elif cell.kind == "gru":
        a, s = rest
        gru.backward(cell.reset == "after", order.running, Ut, a, h, s, dy, dh, d)
        if cell.reset == "after":
            rights[gru.N] = d[gru.S]
        else:
            lefts[gru.N] = s
    else:
        a, c, m = rest
        lstm.backward(cell.peepholes, order.running, Ut, _peepholes(cell, params.get("p"), x, H), a, c, m, dy, dh, dc, d)
        more["c0"] = order.rows_back(dc)
        if cell.peepholes:
            more["p"] = np.concatenate([_rows(d[k] * order.cleared(seen)).sum(axis=0) for k, seen in _seen(c)])
    dx = sum((_rows(d[k]) @ W[k].T for k in range(1, len(W))), start=_rows(d[0]) @ W[0].T).reshape(x.shape)
    order.clear(dx)
    grads = {
        "W": np.concatenate([_rows(x).T @ _rows(d[k]) for k in range(len(W))], axis=-1),
        "U": np.concatenate([_rows(left).T @ _rows(right) for left, right in zip(lefts, rights, strict=True)], axis=-1),
        "b": np.concatenate([_rows(d[k]).sum(axis=0) for k in range(len(W))]),
        "x": np.ascontiguousarray(order.rows_back(dx)),
        "h0": order.rows_back(dh),
    }
    if cell.reset == "after":
        grads["c_n"] = _rows(d[gru.S]).sum(axis=0)
    return grads | more


@quiet
def tangent(
    cell: Cell,
    params: Mapping[str, Array],
    tape: Tape,
    dparams: Mapping[str, Array | None] | None = None,
    dx: Array | None = None,
    dh0: Array | None = None,
    dc0: Array | None = None,
) -> tuple[Array, Array, Array | None]:
    """Directional derivative of the outputs.

    Parameters
    ----------
    cell, params
        As they were given to :func:`forward`; float32 or float64.
    tape
        What it returned.
    dparams, dx, dh0, dc0
        The direction, in the shapes of the inputs; whatever is absent or None is zero. Nothing sees dx where a row has ended.

    Returns
    -------
    dy, dhT, dcT
        Derivatives of y ``(T, B, H)``, h_T and, or None, c_T ``(B, H)``.
    """
    order, x, h, rest = tape
    (T, B, _), H = x.shape, h.shape[2]
    W, U = _stacked(cell, params["W"]), _stacked(cell, params["U"])
    d = {name: array for name, array in (dparams or {}).items() if array is not None}
    da = np.zeros((4 if cell.kind == "gru" else len(W), T, B, H), x.dtype)
    lefts, slots = [h[:T]] * len(W), list(range(len(W)))
    if cell.reset == "after":
        slots[gru.N] = gru.S
    elif cell.reset == "before":
        lefts[gru.N] = rest[1]
    for k in range(len(W)):
        into = _rows(da[k])
        if dx is not None:
            into += _rows(_owned(order.rows(dx))) @ W[k]
        if "W" in d:
            into += _rows(x) @ _stacked(cell, d["W"])[k]
        if "b" in d:
            into += _stacked(cell, d["b"])[k]
        if "U" in d:
            _rows(da[slots[k]])[:] += _rows(lefts[k]) @ _stacked(cell, d["U"])[k]
    if "c_n" in d:
        da[gru.S] += d["c_n"]
    dy = np.empty((T, B, H), x.dtype)
    order.clear(dy)
    dh, dc = (np.zeros((B, H), x.dtype) if state is None else np.array(order.rows(state), order="C") for state in (dh0, dc0))
    if cell.kind == "rnn":
        rnn.tangent(CODES[cell.activation], order.running, U, h, da, dh, dy)
    elif cell.kind == "gru":
        a, s = rest
        gru.tangent(cell.reset == "after", order.running, U, a, h, s, da, dh, dy)
    else:
        a, c, m = rest
        if "p" in d:
            dp = _peepholes(cell, d["p"], x, H)
            for k, seen in _seen(c):
                da[k] += dp[k] * seen
        lstm.tangent(cell.peepholes, order.running, U, _peepholes(cell, params.get("p"), x, H), a, c, m, da, dh, dc, dy)
    back = order.rows_back
    return np.ascontiguousarray(back(dy)), back(dh), back(dc) if cell.kind == "lstm" else None


def _stacked(cell: Cell, array: Array) -> Array:
    """A contiguous copy with the gate first: (D, G*H) as (G, D, H), (G*H,) as (G, H)."""
    return np.ascontiguousarray(np.stack(np.split(array, len(cell.gates), axis=-1)))


def _rows(sequence: Array) -> Array:
    """The view (T * B, n) of a contiguous (T, B, n)."""
    T, B, n = sequence.shape
    return sequence.reshape(T * B, n)


def _owned(array: Array) -> Array:
    """The array itself if a kernel can read it, else a copy: kernels are compiled for aligned, writable, contiguous ones only."""
    return np.require(array, requirements=["C", "A", "W", "E"])


def _states(order: Schedule, H: int, x: Array, first: Array | None) -> Array:
    states = np.empty((len(x) + 1, x.shape[1], H), x.dtype)
    states[0] = 0 if first is None else order.rows(first)
    order.clear(states[1:])
    return states


def _peepholes(cell: Cell, p: Array | None, x: Array, H: int) -> Array:
    """Peephole weights with a slot a gate, as the kernels take them; zeros where the cell has none."""
    out = np.zeros((len(cell.gates), H), x.dtype)
    if p is not None:
        out[[lstm.I, lstm.F, lstm.O]] = p.reshape(3, H)
    return out


def _seen(c: Array) -> tuple[tuple[int, Array], ...]:
    """What each peephole sees of the cell states ``(T + 1, B, H)``, by gate."""
    return (lstm.I, c[:-1]), (lstm.F, c[:-1]), (lstm.O, c[1:])
