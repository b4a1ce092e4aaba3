"""Stacked and bidirectional layers, over rows of different lengths.

Arrays may have further leading axes, as in :mod:`gatecheck.reference.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.gate_blocks import layer_params
from gatecheck.reference.equations import Equations
from gatecheck.reference.options import masked
from gatecheck.reference.run import Results, backward, forward, outputs
from gatecheck.reference.scope import Scope


class Pass(NamedTuple):
    """Values of one forward layer in one direction that its backward needs."""

    tag: str
    equations: Equations
    steps: list[Scope]
    params: Mapping[str, Array]
    x: Array


Tape = list[Pass]


def reorder_steps(sequence: Array, order: Array) -> Array:
    """Reorder the steps ``(..., T, B, N)`` of each row by `order` ``(T, B)``."""
    lead = (np.newaxis,) * (sequence.ndim - 3)
    reordered: Array = np.take_along_axis(sequence, order[(*lead, ..., np.newaxis)], -3).view(
        type(sequence)
    )
    return reordered


def _active_mask(T: int, lengths: Array) -> Array:
    """Return the mask ``(T, B, 1)`` of the steps at which a row has not ended."""
    active: Array = (np.arange(T)[:, None] < lengths)[..., None]
    return active


def reverse_steps(sequence: Array, lengths: Array | None) -> Array:
    """Reverse the steps ``(..., T, B, N)`` of each row; padding stays at the end.

    This function is its own inverse.
    """
    T, B = sequence.shape[-3:-1]
    t, n = np.arange(T)[:, None], np.full(B, T) if lengths is None else np.asarray(lengths)
    return reorder_steps(sequence, np.where(t < n, n - 1 - t, t))


def _select_state(
    arrays: Mapping[str, Array], name: str, k: int, n_passes: int
) -> dict[str, Array]:
    """Return the part of a state, or of its cotangent, for the k-th pass."""
    if name not in arrays:
        return {}
    return {name: arrays[name] if n_passes == 1 else arrays[name][..., k, :, :]}


def _stack_states(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=-3)


def network_forward(
    equations: Equations,
    arrays: Mapping[str, Array],
    mask: Callable[[Equations], Equations] = masked,
) -> tuple[Results, Tape]:
    """Return the outputs of a network, and the tape for its gradients.

    Parameters
    ----------
    equations
        The equations of each of its layers, edited or not.
    arrays
        Parameters, ``x``, and optionally ``h0``, ``c0``, ``lengths``; absent states are zero.
    mask
        The edit that is applied to the equations if there are lengths.

    Returns
    -------
    results
        ``y``, ``hT`` and, if there is a cell state, ``cT``.
    tape
        One pass per layer and direction, in the order of the states.
    """
    cell, x = equations.cell, arrays["x"]
    lengths, valid = arrays.get("lengths"), None
    if lengths is not None:
        valid = _active_mask(x.shape[-3], lengths)
        equations = mask(equations)
        x = np.where(valid, x, 0)  # padding is ignored, NaN too
    tape: Tape = []
    final: dict[str, list[Array]] = {f"{k}T": [] for k in cell.state}
    for _ in range(cell.layers):
        sides = []
        for direction in range(cell.directions):
            k = len(tape)
            params = layer_params(cell, arrays, cell.param_suffixes[k])
            layer_x = reverse_steps(x, lengths) if direction else x
            initial = {
                n: v
                for s in cell.state
                for n, v in _select_state(arrays, f"{s}0", k, len(cell.param_suffixes)).items()
            }
            steps = forward(equations, params, layer_x, **initial, valid=valid)
            out = outputs(equations, steps, layer_x, params, **initial)
            for name, states in final.items():
                states.append(out[name])
            y = out["y"] if valid is None else np.where(valid, out["y"], 0)
            sides.append(reverse_steps(y, lengths) if direction else y)
            tape.append(Pass(cell.param_suffixes[k], equations, steps, params, layer_x))
        x = sides[0] if len(sides) == 1 else np.concatenate(sides, axis=-1)
    return {"y": x} | {name: _stack_states(states) for name, states in final.items()}, tape


def network_backward(equations: Equations, arrays: Mapping[str, Array], tape: Tape) -> Results:
    """Return the gradients of the sum of outputs times cotangents.

    Each is named ``d`` and the name of its array.

    Parameters
    ----------
    equations, arrays
        As in :func:`network_forward`; also ``dy``, ``dhT``, ``dcT``, each zero if absent.
    tape
        The tape that it returned.
    """
    cell = equations.cell
    dy, lengths = arrays.get("dy"), arrays.get("lengths")
    if dy is not None and lengths is not None:
        dy = np.where(_active_mask(dy.shape[-3], lengths), dy, 0)
    grads: Results = {}
    states: dict[str, list[Array]] = {f"d{k}0": [] for k in cell.state}
    for layer in reversed(range(cell.layers)):
        shares: list[Array] = []
        for direction in reversed(range(cell.directions)):
            k = layer * cell.directions + direction
            layer_pass = tape[k]
            cotangents = {
                n: v
                for s in cell.state
                for n, v in _select_state(arrays, f"d{s}T", k, len(cell.param_suffixes)).items()
            }
            if dy is not None:
                P = dy.shape[-1] // cell.directions
                side = dy[..., direction * P : (direction + 1) * P] if cell.directions > 1 else dy
                cotangents["dy"] = reverse_steps(side, lengths) if direction else side
            layer_grads = backward(
                layer_pass.equations,
                layer_pass.steps,
                layer_pass.x,
                layer_pass.params,
                **cotangents,
            )
            grads |= {
                f"d{name}{layer_pass.tag}": layer_grads[f"d{name}"] for name in layer_pass.params
            }
            for name, parts in states.items():
                parts.insert(0, layer_grads[name])
            shares.append(
                reverse_steps(layer_grads["dx"], lengths) if direction else layer_grads["dx"]
            )
        dy = shares[0] if len(shares) == 1 else shares[0] + shares[1]
    return (
        grads
        | ({} if dy is None else {"dx": dy})
        | {name: _stack_states(parts) for name, parts in states.items()}
    )


def run(equations: Equations, arrays: Mapping[str, Array]) -> Results:
    """Run forward and backward in one call.

    Parameters
    ----------
    equations
        The equations of each layer.
    arrays
        Parameters, ``x``, and optionally ``h0``, ``c0``, ``lengths``, ``dy``, ``dhT``, ``dcT``;
        absent states and cotangents are zero.

    Returns
    -------
    dict
        y, hT, (cT) and every gradient, named ``d`` and the name of the array.
    """
    results, tape = network_forward(equations, arrays)
    return results | network_backward(equations, arrays, tape)
