"""Column blocks of parameters, gate by gate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.spec import Cell, Params


def block(cell: Cell, array: Array, gate: str) -> Array:
    """Return the view of `gate`'s columns: the last axis holds all gates' blocks."""
    H = array.shape[-1] // len(cell.gates)
    k = cell.gates.index(gate)
    return array[..., k * H : (k + 1) * H]


def peephole(cell: Cell, array: Array, gate: str) -> Array:
    """Return the view of `gate`'s weights in an array of all peephole weights."""
    H = array.shape[-1] // len(cell.sigmoid_gates)
    k = cell.sigmoid_gates.index(gate)
    return array[..., k * H : (k + 1) * H]


def layer_params(cell: Cell, arrays: Params, tag: str) -> dict[str, Array]:
    """Return the parameters of one layer and direction, named as in a plain cell."""
    return {name: arrays[f"{name}{tag}"] for name in cell.layer_cell.param_shapes(1, 1)}


def split(cell: Cell, params: Params) -> dict[str, Array]:
    """Split parameters by gate: ``W_i``, ``U_i``, ``b_i``, ….

    A parameter without blocks keeps its name.
    """
    out: dict[str, Array] = {}
    for name, array in params.items():
        if name in ("W", "U", "b"):
            out |= {f"{name}_{k}": block(cell, array, k) for k in cell.gates}
        elif name == "p":
            out |= {f"p_{k}": peephole(cell, array, k) for k in cell.sigmoid_gates}
        else:
            out[name] = array
    return out


def join(cell: Cell, blocks: Mapping[str, Array]) -> dict[str, Array]:
    """Join blocks into parameters, the inverse of :func:`split`."""
    out = {
        name: np.concatenate([blocks[f"{name}_{k}"] for k in cell.gates], axis=-1)
        for name in ("W", "U", "b")
    }
    if cell.peepholes:
        out["p"] = np.concatenate([blocks[f"p_{k}"] for k in cell.sigmoid_gates], axis=-1)
    return out | {name: blocks[name] for name in ("c_n", "R") if name in blocks}
