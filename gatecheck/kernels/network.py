"""Stacked and bidirectional layers, each computed by :mod:`gatecheck.kernels.run`.

A reverse direction runs the kernel on reversed rows, each reversed within its own length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import layer_params
from gatecheck.kernels import loops, run

Reversal = Callable[[Array], Array]


def time_reversal(T: int, lengths: Array | None) -> Reversal:
    """Return a function that reverses the rows of a sequence ``(T, B, n)``, and back."""
    if lengths is None:
        return lambda sequence: sequence[::-1]
    t, ends = np.arange(T)[:, None], lengths.astype(np.int64)
    order = np.where(t < ends, ends - 1 - t, t)[..., None]
    return lambda sequence: np.take_along_axis(sequence, order, axis=0)


def _layer_directions(cell: Cell, layer: int) -> Iterator[tuple[int, bool]]:
    """Yield the index of each pass of a layer, and whether it is the reverse one."""
    for direction in range(cell.directions):
        yield layer * cell.directions + direction, direction == 1


def _select_state(states: Array | None, k: int, cell: Cell) -> Array | None:
    return states if states is None or len(cell.param_suffixes) == 1 else states[k]


def _stack_states(states: list[Any]) -> Any:
    return states[0] if len(states) == 1 or states[0] is None else np.stack(states)


def forward(
    cell: Cell,
    params: Mapping[str, Array],
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    lengths: Array | None = None,
    *,
    keep_tape: bool = True,
) -> tuple[Array, Array, Array | None, list[loops.Tape]]:
    """Run a network over a sequence; see :func:`gatecheck.kernels.run.forward`.

    Returns
    -------
    y, hT, cT
        The outputs of the last layer, and the final states of all layers, of the shape
        :meth:`gatecheck.cells.Cell.state_shape`.
    tapes
        One per layer and direction.
    """
    if len(cell.param_suffixes) == 1:
        y, hT, cT, tape = run.forward(cell, params, x, h0, c0, lengths, keep_tape=keep_tape)
        return y, hT, cT, [tape]
    turn = time_reversal(len(x), lengths)
    tapes: list[loops.Tape] = []
    final: list[tuple[Any, Any]] = []
    for layer in range(cell.layers):
        sides = []
        for k, reverse in _layer_directions(cell, layer):
            own_params = layer_params(cell, params, cell.param_suffixes[k])
            layer_x = turn(x) if reverse else x
            y, hT, cT, tape = run.forward(
                cell.layer_cell,
                own_params,
                layer_x,
                _select_state(h0, k, cell),
                _select_state(c0, k, cell),
                lengths,
                keep_tape=keep_tape,
            )
            sides.append(turn(y) if reverse else y)
            tapes.append(tape)
            final.append((hT, cT))
        x = sides[0] if len(sides) == 1 else np.concatenate(sides, axis=-1)
    hT, cT = (_stack_states(list(states)) for states in zip(*final, strict=True))
    return x, hT, cT, tapes


def backward(
    cell: Cell,
    params: Mapping[str, Array],
    tapes: list[loops.Tape],
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
    lengths: Array | None = None,
) -> dict[str, Array]:
    """Backpropagate through a network; see :func:`gatecheck.kernels.run.backward`."""
    if len(cell.param_suffixes) == 1:
        return run.backward(cell, params, tapes[0], dy, dhT, dcT)
    turn = time_reversal(len(tapes[0].x), lengths)
    grads: dict[str, Array] = {}
    states: dict[str, list[Array]] = {}
    for layer in reversed(range(cell.layers)):
        dx: Array | None = None
        for k, reverse in reversed(list(_layer_directions(cell, layer))):
            side = dy
            if dy is not None and cell.bidirectional:
                P = dy.shape[-1] // 2
                side = turn(dy[..., P:]) if reverse else dy[..., :P]
            own_params = layer_params(cell, params, cell.param_suffixes[k])
            layer_grads = run.backward(
                cell.layer_cell,
                own_params,
                tapes[k],
                side,
                _select_state(dhT, k, cell),
                _select_state(dcT, k, cell),
            )
            grads |= {f"{name}{cell.param_suffixes[k]}": layer_grads[name] for name in own_params}
            layer_dx = turn(layer_grads["x"]) if reverse else layer_grads["x"]
            dx = layer_dx if dx is None else dx + layer_dx
            for name in cell.state:
                states.setdefault(f"{name}0", []).insert(0, layer_grads[f"{name}0"])
        dy = dx
    if dy is None:
        return grads
    return (
        grads
        | {"x": np.ascontiguousarray(dy)}
        | {name: _stack_states(parts) for name, parts in states.items()}
    )


def tangent(
    cell: Cell,
    params: Mapping[str, Array],
    tapes: list[loops.Tape],
    dparams: Mapping[str, Array | None] | None = None,
    dx: Array | None = None,
    dh0: Array | None = None,
    dc0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array, Array | None]:
    """Return a directional derivative; see :func:`gatecheck.kernels.run.tangent`."""
    turn = time_reversal(len(tapes[0].x), lengths)
    present = {name: a for name, a in (dparams or {}).items() if a is not None}
    final: list[tuple[Any, Any]] = []
    for layer in range(cell.layers):
        sides = []
        for k, reverse in _layer_directions(cell, layer):
            tag = cell.param_suffixes[k]
            layer_dparams = {
                name: present.get(f"{name}{tag}") for name in cell.layer_cell.param_shapes(1, 1)
            }
            layer_dx = None if dx is None else turn(dx) if reverse else dx
            dy, dhT, dcT = run.tangent(
                cell.layer_cell,
                layer_params(cell, params, tag),
                tapes[k],
                layer_dparams,
                layer_dx,
                _select_state(dh0, k, cell),
                _select_state(dc0, k, cell),
            )
            sides.append(turn(dy) if reverse else dy)
            final.append((dhT, dcT))
        dx = sides[0] if len(sides) == 1 else np.concatenate(sides, axis=-1)
    dhT, dcT = (_stack_states(list(states)) for states in zip(*final, strict=True))
    return np.ascontiguousarray(dx), dhT, dcT
