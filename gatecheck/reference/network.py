"""Layers upon layers, in one direction or both, over rows that end at lengths of their own.

Arrays may carry further leading axes, as in :mod:`gatecheck.reference.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.gate_blocks import of_tag
from gatecheck.reference.equations import Equations
from gatecheck.reference.options import masked
from gatecheck.reference.run import Results, backward, forward, outputs
from gatecheck.reference.scope import Scope


class Pass(NamedTuple):
    """One layer in one direction, run forward: what its backward needs."""

    tag: str
    equations: Equations
    steps: list[Scope]
    params: Mapping[str, Array]
    x: Array


Tape = list[Pass]


def in_order(sequence: Array, order: Array) -> Array:
    """The steps ``(..., T, B, N)`` of each row in that order ``(T, B)``."""
    lead = (np.newaxis,) * (sequence.ndim - 3)
    moved: Array = np.take_along_axis(sequence, order[(*lead, ..., np.newaxis)], -3).view(
        type(sequence)
    )
    return moved


def _running(T: int, lengths: Array) -> Array:
    """Which rows are still running at each step ``(T, B, 1)``."""
    running: Array = (np.arange(T)[:, None] < lengths)[..., None]
    return running


def in_reverse(sequence: Array, lengths: Array | None) -> Array:
    """The steps ``(..., T, B, N)`` of each row in reverse; padding stays where it is, behind the
    end. It is its own inverse.
    """
    T, B = sequence.shape[-3:-1]
    t, n = np.arange(T)[:, None], np.full(B, T) if lengths is None else np.asarray(lengths)
    return in_order(sequence, np.where(t < n, n - 1 - t, t))


def _part(arrays: Mapping[str, Array], name: str, k: int, of: int) -> dict[str, Array]:
    """The share of a state, or its cotangent, that belongs to the k-th pass."""
    if name not in arrays:
        return {}
    return {name: arrays[name] if of == 1 else arrays[name][..., k, :, :]}


def _together(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=-3)


def ahead(
    equations: Equations,
    arrays: Mapping[str, Array],
    hold: Callable[[Equations], Equations] = masked,
) -> tuple[Results, Tape]:
    """The outputs of a network, and what its gradients need.

    Parameters
    ----------
    equations
        The mathematics of each of its layers, edited or not.
    arrays
        Parameters, ``x``, and perhaps ``h0``, ``c0``, ``lengths``; absent states are zero.
    hold
        What is done to the equations where there are lengths.

    Returns
    -------
    results
        ``y``, ``hT`` and, where there is a cell state, ``cT``.
    tape
        One pass a layer and direction, in the order of the states.
    """
    cell, x = equations.cell, arrays["x"]
    lengths, valid = arrays.get("lengths"), None
    if lengths is not None:
        valid = _running(x.shape[-3], lengths)
        equations = hold(equations)
        x = np.where(valid, x, 0)  # what stands in the padding, NaN too, is seen by nothing
    tape: Tape = []
    final: dict[str, list[Array]] = {f"{k}T": [] for k in cell.state}
    for _ in range(cell.layers):
        sides = []
        for direction in range(cell.directions):
            k = len(tape)
            params = of_tag(cell, arrays, cell.tags[k])
            seen = in_reverse(x, lengths) if direction else x
            initial = {
                n: v
                for s in cell.state
                for n, v in _part(arrays, f"{s}0", k, len(cell.tags)).items()
            }
            steps = forward(equations, params, seen, **initial, valid=valid)
            out = outputs(equations, steps, seen, params, **initial)
            for name, states in final.items():
                states.append(out[name])
            y = out["y"] if valid is None else np.where(valid, out["y"], 0)
            sides.append(in_reverse(y, lengths) if direction else y)
            tape.append(Pass(cell.tags[k], equations, steps, params, seen))
        x = sides[0] if len(sides) == 1 else np.concatenate(sides, axis=-1)
    return {"y": x} | {name: _together(states) for name, states in final.items()}, tape


def back(equations: Equations, arrays: Mapping[str, Array], tape: Tape) -> Results:
    """The gradients of the sum of outputs times cotangents, named ``d`` and the name of the array.

    Parameters
    ----------
    equations, arrays
        As in :func:`ahead`; and perhaps ``dy``, ``dhT``, ``dcT``, which are zero where absent.
    tape
        What it returned.
    """
    cell = equations.cell
    dy, lengths = arrays.get("dy"), arrays.get("lengths")
    if dy is not None and lengths is not None:
        dy = np.where(_running(dy.shape[-3], lengths), dy, 0)
    grads: Results = {}
    states: dict[str, list[Array]] = {f"d{k}0": [] for k in cell.state}
    for layer in reversed(range(cell.layers)):
        shares: list[Array] = []
        for direction in reversed(range(cell.directions)):
            k = layer * cell.directions + direction
            made = tape[k]
            given = {
                n: v
                for s in cell.state
                for n, v in _part(arrays, f"d{s}T", k, len(cell.tags)).items()
            }
            if dy is not None:
                P = dy.shape[-1] // cell.directions
                side = dy[..., direction * P : (direction + 1) * P] if cell.directions > 1 else dy
                given["dy"] = in_reverse(side, lengths) if direction else side
            got = backward(made.equations, made.steps, made.x, made.params, **given)
            grads |= {f"d{name}{made.tag}": got[f"d{name}"] for name in made.params}
            for name, parts in states.items():
                parts.insert(0, got[name])
            shares.append(in_reverse(got["dx"], lengths) if direction else got["dx"])
        dy = shares[0] if len(shares) == 1 else shares[0] + shares[1]
    return (
        grads
        | ({} if dy is None else {"dx": dy})
        | {name: _together(parts) for name, parts in states.items()}
    )


def run(equations: Equations, arrays: Mapping[str, Array]) -> Results:
    """Forward and backward in one call.

    Parameters
    ----------
    equations
        The mathematics of each layer.
    arrays
        Parameters, ``x``, and perhaps ``h0``, ``c0``, ``lengths``, ``dy``, ``dhT``, ``dcT``;
        whatever is absent is zero.

    Returns
    -------
    dict
        y, hT, (cT) and every gradient, named ``d`` and the name of the array.
    """
    results, tape = ahead(equations, arrays)
    return results | back(equations, arrays, tape)
