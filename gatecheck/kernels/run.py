"""From canonical arrays to kernels and back: layout, and what needs no loop over time.

The products with x are formed for all steps at once, and so are the gradients of the parameters and
of x; the kernels keep what lies between. Whatever takes long is shared among threads, the rows of
the batch or, for gradients of weights, their columns. Nothing is validated here;
:class:`gatecheck.kernels.Builtin` is the door with a guard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.kernels import gru, lstm, rnn
from gatecheck.kernels.activations import CODES
from gatecheck.kernels.buffer_pool import aligned, copied
from gatecheck.kernels.gemm import add_product, correlate, hoisted, packed, width
from gatecheck.kernels.schedule import Schedule, schedule
from gatecheck.kernels.threads import share

# infinity times zero is NaN, which the caller may mean and will see
quiet = np.errstate(all="ignore")


class Tape(NamedTuple):
    """What :func:`forward` leaves for :func:`backward` and :func:`tangent`, which do not change it.
    The rows are sorted.

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


def forward(
    cell: Cell,
    params: Mapping[str, Array],
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    lengths: Array | None = None,
    *,
    taped: bool = True,
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
        How many steps each row runs, ``(B,)``; None is T for all. Nothing sees x beyond, and y is
        zero there.
    taped
        Whether what lies between is kept; without it the tape is of no use, and less memory is
        taken.

    Returns
    -------
    y, hT, cT
        All hidden states ``(T, B, H)``, each row's last one, and its last cell state or None.
    tape
        What :func:`backward` and :func:`tangent` need, in copies.
    """
    (T, B, _), H, G = x.shape, params["U"].shape[0], len(cell.gates)
    order = schedule(T, B, lengths)
    x = copied(order.rows(x)) if taped or lengths is not None else _owned(order.rows(x))
    order.clear(x)
    loop, flag, arrays = arranged(
        cell,
        params,
        x,
        h0,
        c0,
        order,
        steps=T if taped else 1,
        states=T + 1 if taped or lengths is not None else 2,
    )
    share(
        partial(loop, flag, order.running, hoisted(B), *arrays.values()),
        B,
        _operations(arrays["h"], G * H) + _operations(x, G * H),
    )
    h, rest = arrays["h"], tuple(arrays[name] for name in KEPT[cell.kind])
    cT = None
    if cell.kind == "lstm":
        c = arrays["c"]
        cT = order.last(c) if len(c) == T + 1 else c[T % 2].copy()
    y = order.rows_back(h[1:])
    return (
        copied(y) if taped else np.ascontiguousarray(y),
        order.last(h),
        cT,
        Tape(order, x, h, rest),
    )


KEPT = {"rnn": (), "gru": ("a", "s"), "lstm": ("a", "c", "m")}
"""What a tape holds besides x and h."""


class Arranged(NamedTuple):
    """A loop over time, the flag that it begins with, and, after the schedule, its arrays in order,
    by name.
    """

    loop: Callable[..., None]
    flag: int | bool
    arrays: dict[str, Array]


def arranged(
    cell: Cell,
    params: Mapping[str, Array],
    x: Array,
    h0: Array | None,
    c0: Array | None,
    order: Schedule,
    *,
    steps: int,
    states: int,
) -> Arranged:
    """What runs a cell over sorted rows `x`, with room for what lies between at so many steps and
    for so many cell states.
    """
    (T, B, _), H, G = x.shape, params["U"].shape[0], len(cell.gates)
    arrays = {
        "W": packed(params["W"], G),
        "U": packed(params["U"], G),
        "b": _owned(params["b"]).reshape(G, H),
    }
    a = aligned((G, (T if steps == T else hoisted(B)) * B, H), x.dtype)
    h = _states(order, T + 1, H, x, h0)
    if cell.kind == "rnn":
        return Arranged(
            rnn.forward, CODES[cell.activation], arrays | {"x": _rows(x), "a": a, "h": h}
        )
    between = aligned((steps, B, H), x.dtype)
    if cell.kind == "gru":
        if steps == T:
            order.clear(between)
        more = {
            "c_n": _owned(params.get("c_n", arrays["b"][0])),
            "x": _rows(x),
            "a": a,
            "h": h,
            "s": between,
        }
        return Arranged(gru.forward, cell.reset == "after", arrays | more)
    c = _states(order, states, H, x, c0)
    more = {
        "p": peepholes(cell, params.get("p"), x, H),
        "x": _rows(x),
        "a": a,
        "h": h,
        "c": c,
        "m": between,
    }
    return Arranged(lstm.forward, cell.peepholes, arrays | more)


@quiet
def backward(
    cell: Cell,
    params: Mapping[str, Array],
    tape: Tape,
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
) -> dict[str, Array]:
    """Backpropagation through time.

    Parameters
    ----------
    cell, params
        As they were given to :func:`forward`; float32 or float64.
    tape
        What it returned.
    dy, dhT, dcT
        Cotangents of y ``(T, B, H)``, h_T and c_T ``(B, H)``; None is zero. Nothing sees dy where a
        row has ended.

    Returns
    -------
    dict
        Gradients in the shapes of the parameters, ``x`` (zero where a row has ended), ``h0`` and,
        where there is a cell state, ``c0``.
    """
    order, x, h, rest = tape
    (T, B, _), H = x.shape, h.shape[2]
    G = len(cell.gates)
    dy = np.zeros((T, B, H), x.dtype) if dy is None else _owned(order.rows(dy))
    dh, dc = (
        np.zeros((B, H), x.dtype) if state is None else np.array(order.rows(state), order="C")
        for state in (dhT, dcT)
    )
    d = aligned((4 if cell.kind == "gru" else G, T, B, H), x.dtype)
    order.clear(d)
    dx = aligned(x.shape, x.dtype)
    into = d.reshape(len(d), T * B, H), _rows(dx)
    seen = order.cleared(h[:T])
    loop, before = returning(cell, params, tape)
    states = (dh, dc) if cell.kind == "lstm" else (dh,)
    share(
        partial(loop, *before, dy, *states, *into), B, _operations(h, G * H) + _operations(x, G * H)
    )
    more = {}
    if cell.kind == "lstm":
        more["c0"] = order.rows_back(dc)
        if cell.peepholes:
            more["p"] = np.concatenate(
                [_rows(d[k] * order.cleared(seen)).sum(axis=0) for k, seen in seen_by(rest[1])]
            )
    order.clear(dx)
    grads = {
        "W": _correlated([(x, d[:G])]),
        "U": _correlated([(left, d[slots]) for left, slots in fed(cell, seen, rest)]),
        "b": into[0][:G].sum(axis=1).reshape(-1),
        "x": np.ascontiguousarray(order.rows_back(dx)),
        "h0": order.rows_back(dh),
    }
    if cell.reset == "after":
        grads["c_n"] = _rows(d[gru.S]).sum(axis=0)
    return grads | more


def returning(
    cell: Cell, params: Mapping[str, Array], tape: Tape
) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """The loop back through time, and its arguments before the cotangents."""
    order, x, h, rest = tape
    shared = (
        order.running,
        hoisted(x.shape[1]),
        *(packed(params[name], len(cell.gates), transposed=True) for name in "WU"),
    )
    if cell.kind == "rnn":
        return rnn.backward, (CODES[cell.activation], *shared, h)
    if cell.kind == "gru":
        a, s = rest
        return gru.backward, (cell.reset == "after", *shared, a, h, s)
    return lstm.backward, (
        cell.peepholes,
        *shared,
        peepholes(cell, params.get("p"), x, h.shape[2]),
        *rest,
    )


def fed(cell: Cell, seen: Array, rest: tuple[Array, ...]) -> list[tuple[Array, slice]]:
    """What U was multiplied with, the states `seen` or what a reset made of them, and the slots of
    the gradients that came back there.
    """
    if cell.kind != "gru":
        return [(seen, slice(len(cell.gates)))]
    return [
        (seen, slice(gru.N)),
        (seen, slice(gru.S, None)) if cell.reset == "after" else (rest[1], slice(gru.N, gru.S)),
    ]


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
        The direction, in the shapes of the inputs; whatever is absent or None is zero. Nothing sees
        dx where a row has ended.

    Returns
    -------
    dy, dhT, dcT
        Derivatives of y ``(T, B, H)``, h_T and, or None, c_T ``(B, H)``.
    """
    order, x, h, rest = tape
    (T, B, _), H = x.shape, h.shape[2]
    G = len(cell.gates)
    W, U = (packed(params[name], G) for name in "WU")
    d = {name: array for name, array in (dparams or {}).items() if array is not None}
    dW, dU = (packed(d[name], G) if name in d else None for name in "WU")
    db = d["b"].reshape(G, H) if "b" in d else None
    da = np.zeros((4 if cell.kind == "gru" else G, T, B, H), x.dtype)
    flat = da.reshape(len(da), T * B, H)
    lefts, slots = [h[:T]] * G, list(range(G))
    if cell.reset == "after":
        slots[gru.N] = gru.S
    elif cell.reset == "before":
        lefts[gru.N] = rest[1]
    for k in range(G):
        if dx is not None:
            add_product(_rows(da[k]), _rows(_owned(order.rows(dx))), W[k])
        if dW is not None:
            add_product(_rows(da[k]), _rows(x), dW[k])
        if db is not None:
            da[k] += db[k]
        if dU is not None:
            add_product(_rows(da[slots[k]]), _rows(lefts[k]), dU[k])
    if "c_n" in d:
        da[gru.S] += d["c_n"]
    dy = np.empty((T, B, H), x.dtype)
    order.clear(dy)
    dh, dc = (
        np.zeros((B, H), x.dtype) if state is None else np.array(order.rows(state), order="C")
        for state in (dh0, dc0)
    )
    if cell.kind == "rnn":
        rnn.tangent(CODES[cell.activation], order.running, U, h, flat, dh, dy, 0, B)
    elif cell.kind == "gru":
        a, s = rest
        gru.tangent(cell.reset == "after", order.running, U, a, h, s, flat, dh, dy, 0, B)
    else:
        a, c, m = rest
        if "p" in d:
            dp = peepholes(cell, d["p"], x, H)
            for k, seen in seen_by(c):
                da[k] += dp[k] * seen
        lstm.tangent(
            cell.peepholes,
            order.running,
            U,
            peepholes(cell, params.get("p"), x, H),
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
    back = order.rows_back
    return np.ascontiguousarray(back(dy)), back(dh), back(dc) if cell.kind == "lstm" else None


def _operations(sequence: Array, columns: int) -> float:
    """How many operations the products of all rows of a sequence with so many columns take."""
    return 2.0 * sequence.size * columns


def _correlated(pairs: list[tuple[Array, Array]]) -> Array:
    """The gradient of weights: the sums over steps and rows of what went in ``(T, B, n)`` times
    what came back ``(g, T, B, H)``.
    """
    n, H = pairs[0][0].shape[-1], pairs[0][1].shape[-1]
    out = np.zeros((n, H * sum(len(d) for _, d in pairs)), pairs[0][0].dtype)
    panels, column = -(-H // width(out.dtype)), 0
    for x, d in pairs:
        share(
            partial(correlate, _rows(x), d.reshape(len(d), -1, H), out, column),
            len(d) * panels,
            _operations(x, len(d) * H),
        )
        column += len(d) * H
    return out


def _rows(sequence: Array) -> Array:
    """The view (T * B, n) of a contiguous (T, B, n)."""
    T, B, n = sequence.shape
    return sequence.reshape(T * B, n)


def _owned(array: Array) -> Array:
    """The array itself if a kernel can read it, else a copy: kernels are compiled for aligned,
    writable, contiguous ones only.
    """
    return array if array.flags.carray and type(array) is np.ndarray else np.array(array, order="C")


def _states(order: Schedule, slots: int, H: int, x: Array, first: Array | None) -> Array:
    states = aligned((slots, x.shape[1], H), x.dtype)
    states[0] = 0 if first is None else order.rows(first)
    if slots == len(x) + 1:
        order.clear(states[1:])
    return states


def peepholes(cell: Cell, p: Array | None, x: Array, H: int) -> Array:
    """Peephole weights with a slot a gate, as the kernels take them; zeros where the cell has none."""
    out = np.zeros((len(cell.gates), H), x.dtype)
    if p is not None:
        out[[lstm.I, lstm.F, lstm.O]] = p.reshape(3, H)
    return out


def seen_by(c: Array) -> tuple[tuple[int, Array], ...]:
    """What each peephole sees of the cell states ``(T + 1, B, H)``, by gate."""
    return (lstm.I, c[:-1]), (lstm.F, c[:-1]), (lstm.O, c[1:])
