"""From canonical arrays to kernels and back: layout, and what needs no loop over time.

The products with x are formed for all steps at once, one a gate, and so are the gradients of the parameters and of x; the kernels keep
what lies between. Nothing is validated here; :class:`gatecheck.kernels.Builtin` is the door with a guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell
from gatecheck.kernels import gru, lstm, rnn
from gatecheck.kernels.activations import CODES

Array = NDArray[Any]
Tape = tuple[Array, ...]

quiet = np.errstate(all="ignore")  # infinity times zero is NaN, which the caller may mean and will see


@quiet
def forward(
    cell: Cell, params: Mapping[str, Array], x: Array, h0: Array | None = None, c0: Array | None = None
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

    Returns
    -------
    y, hT, cT
        All hidden states ``(T, B, H)``, the last one, and the last cell state or None.
    tape
        What :func:`backward` and :func:`tangent` need: copies of x and the states, the gates, and what else the cell computed.
    """
    (T, B, _), H = x.shape, params["U"].shape[0]
    x = np.array(x, order="C")
    W, U, b = (_stacked(cell, params[name]) for name in "WUb")
    a = np.stack([_rows(x) @ W[k] + b[k] for k in range(len(W))]).reshape(len(W), T, B, H)
    h = _states(T, B, H, x, h0)
    if cell.kind == "rnn":
        rnn.forward(CODES[cell.activation], U, a, h)
        return h[1:].copy(), h[T].copy(), None, (x, h)
    if cell.kind == "gru":
        s = np.empty((T, B, H), x.dtype)
        gru.forward(cell.reset == "after", U, _owned(params.get("c_n", b[0])), a, h, s)
        return h[1:].copy(), h[T].copy(), None, (x, h, a, s)
    c, m = _states(T, B, H, x, c0), np.empty((T, B, H), x.dtype)
    lstm.forward(U, a, h, c, m)
    return h[1:].copy(), h[T].copy(), c[T].copy(), (x, h, a, c, m)


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
        What it returned. It is not changed.
    dy, dhT, dcT
        Cotangents of y ``(T, B, H)``, h_T and c_T ``(B, H)``; None is zero.

    Returns
    -------
    dict
        Gradients in the shapes of the parameters, ``x``, ``h0`` and, where the cell has a cell state, ``c0``.
    """
    x, h = tape[:2]
    (T, B, _), H = x.shape, h.shape[2]
    W, Ut = _stacked(cell, params["W"]), _stacked(cell, params["U"]).transpose(0, 2, 1).copy()
    dy = np.zeros((T, B, H), x.dtype) if dy is None else _owned(dy)
    dh = np.zeros((B, H), x.dtype) if dhT is None else np.array(dhT, order="C")
    d = np.empty((4 if cell.kind == "gru" else len(W), T, B, H), x.dtype)
    lefts, rights, states = [h[:T]] * len(W), list(d[: len(W)]), {"h0": dh}
    if cell.kind == "rnn":
        rnn.backward(CODES[cell.activation], Ut, h, dy, dh, d)
    elif cell.kind == "gru":
        a, s = tape[2:]
        gru.backward(cell.reset == "after", Ut, a, h, s, dy, dh, d)
        if cell.reset == "after":
            rights[gru.N] = d[gru.S]
        else:
            lefts[gru.N] = s
    else:
        a, c, m = tape[2:]
        states["c0"] = np.zeros((B, H), x.dtype) if dcT is None else np.array(dcT, order="C")
        lstm.backward(Ut, a, c, m, dy, dh, states["c0"], d)
    grads = {
        "W": np.concatenate([_rows(x).T @ _rows(d[k]) for k in range(len(W))], axis=-1),
        "U": np.concatenate([_rows(left).T @ _rows(right) for left, right in zip(lefts, rights, strict=True)], axis=-1),
        "b": np.concatenate([_rows(d[k]).sum(axis=0) for k in range(len(W))]),
        "x": sum((_rows(d[k]) @ W[k].T for k in range(1, len(W))), start=_rows(d[0]) @ W[0].T).reshape(x.shape),
    }
    if cell.reset == "after":
        grads["c_n"] = _rows(d[gru.S]).sum(axis=0)
    return grads | states


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
        What it returned. It is not changed.
    dparams, dx, dh0, dc0
        The direction, in the shapes of the inputs; whatever is absent or None is zero.

    Returns
    -------
    dy, dhT, dcT
        Derivatives of y ``(T, B, H)``, h_T and, or None, c_T ``(B, H)``.
    """
    x, h = tape[:2]
    (T, B, _), H = x.shape, h.shape[2]
    W, U = _stacked(cell, params["W"]), _stacked(cell, params["U"])
    d = {name: array for name, array in (dparams or {}).items() if array is not None}
    da = np.zeros((4 if cell.kind == "gru" else len(W), T, B, H), x.dtype)
    lefts, slots = [h[:T]] * len(W), list(range(len(W)))
    if cell.reset == "after":
        slots[gru.N] = gru.S
    elif cell.reset == "before":
        lefts[gru.N] = tape[3]
    for k in range(len(W)):
        into = _rows(da[k])
        if dx is not None:
            into += _rows(_owned(dx)) @ W[k]
        if "W" in d:
            into += _rows(x) @ _stacked(cell, d["W"])[k]
        if "b" in d:
            into += _stacked(cell, d["b"])[k]
        if "U" in d:
            _rows(da[slots[k]])[:] += _rows(lefts[k]) @ _stacked(cell, d["U"])[k]
    if "c_n" in d:
        da[gru.S] += d["c_n"]
    dy = np.empty((T, B, H), x.dtype)
    dh, dc = (np.zeros((B, H), x.dtype) if state is None else np.array(state, order="C") for state in (dh0, dc0))
    if cell.kind == "rnn":
        rnn.tangent(CODES[cell.activation], U, h, da, dh, dy)
    elif cell.kind == "gru":
        a, s = tape[2:]
        gru.tangent(cell.reset == "after", U, a, h, s, da, dh, dy)
    else:
        a, c, m = tape[2:]
        lstm.tangent(U, a, c, m, da, dh, dc, dy)
        return dy, dh, dc
    return dy, dh, None


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


def _states(T: int, B: int, H: int, like: Array, first: Array | None) -> Array:
    states = np.empty((T + 1, B, H), like.dtype)
    states[0] = 0 if first is None else first
    return states
