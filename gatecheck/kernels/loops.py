"""The loop over time of each cell, with its arguments.

A loop takes arrays in the kernels' layouts; this module allocates them and converts the
caller's. The intermediate values of a forward loop are kept on a tape, which the backward loop
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.kernels.activations import ACTIVATION_CODES
from gatecheck.kernels.buffer_pool import aligned_empty
from gatecheck.kernels.cells import gru, lstm, rnn
from gatecheck.kernels.gemm import choose_steps_per_gemm, pack_weights
from gatecheck.kernels.schedule import Schedule

# Infinity times zero is NaN, which the caller may intend and will see.
ignore_float_errors = np.errstate(all="ignore")


class Tape(NamedTuple):
    """Saved values of a forward call, with sorted rows.

    ``run.backward`` and ``run.tangent`` read it and do not change it.

    Attributes
    ----------
    schedule
        The schedule: order of the rows, and the active rows at each step.
    x, h
        Inputs ``(T, B, D)``, zero where a row has ended, and states ``(T + 1, B, H)``.
    intermediates
        The gates and the cell's other intermediate values.
    """

    schedule: Schedule
    x: Array
    h: Array
    intermediates: tuple[Array, ...] = ()


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
        "b": as_kernel_array(params["b"]).reshape(G, H),
    }
    a = aligned_empty((G, (T if steps == T else choose_steps_per_gemm(B)) * B, H), x.dtype)
    h = _allocate_states(order, T + 1, H, x, h0)
    if cell.kind == "rnn":
        return ForwardLoop(
            rnn.forward,
            ACTIVATION_CODES[cell.activation],
            arrays | {"x": merge_time_batch(x), "a": a, "h": h},
        )
    intermediate = aligned_empty((steps, B, H), x.dtype)
    if cell.kind == "gru":
        if steps == T:
            order.clear_padding(intermediate)
        more = {
            "c_n": as_kernel_array(params.get("c_n", arrays["b"][0])),
            "x": merge_time_batch(x),
            "a": a,
            "h": h,
            "s": intermediate,
        }
        return ForwardLoop(gru.forward, cell.reset == "after", arrays | more)
    c = _allocate_states(order, states, H, x, c0)
    more = {
        "p": pad_peepholes(cell, params.get("p"), x, H),
        "x": merge_time_batch(x),
        "a": a,
        "h": h,
        "c": c,
        "m": intermediate,
    }
    return ForwardLoop(lstm.forward, cell.peepholes, arrays | more)


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


def merge_time_batch(sequence: Array) -> Array:
    """View a contiguous (T, B, n) as (T * B, n)."""
    T, B, n = sequence.shape
    return sequence.reshape(T * B, n)


def as_kernel_array(array: Array) -> Array:
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
