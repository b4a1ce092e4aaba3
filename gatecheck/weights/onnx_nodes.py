"""Conversion between ONNX's RNN, GRU and LSTM nodes and cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import GRU, LSTM, RNN, Cell
from gatecheck.errors import TargetError

INPUTS = {
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
}
"""The inputs of each operator, in order (onnx/docs/Operators.md)."""

N_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}

OPSETS = (7, 14)
"""Oldest supported opset, and the opset of nodes that do not come from a file.

The three operators have had their present form since the first; the second added ``layout``. Opset
22 added bfloat16 (onnx/docs/Changelog.md).
"""
DEFAULT_ACTIVATIONS = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}
_ACTIVATION_NAMES = {name.lower(): name for name in ("Tanh", "Relu", "Sigmoid", "HardSigmoid")}
_HARD_SIGMOIDS = {np.float32(0.2): 5, np.float32(1 / 6): 6}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True)
class Node:
    """Node from a file or for a cell.

    Attributes
    ----------
    op
        ``"RNN"``, ``"GRU"`` or ``"LSTM"``.
    attributes
        As in ONNX, strings as str, without ``hidden_size``, which depends on the case.
    peepholes
        True if it has an input P.
    opset, ir_version
        The versions of its model.
    weights
        W, R, B and P of a file; None if there is no file.
    """

    op: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    peepholes: bool = False
    opset: int = OPSETS[1]
    ir_version: int = 8
    weights: Mapping[str, Array] | None = None


def node_of(op: str, cell: Cell) -> Node:
    """Return the node for a cell; :func:`cell_of` checks whether it can compute it."""
    gate = [] if op == "RNN" else ["HardSigmoid" if cell.hard else "Sigmoid"]
    functions = [
        *gate,
        *({"RNN": [cell.activation.capitalize()], "GRU": ["Tanh"]}.get(op, ["Tanh", "Tanh"])),
    ]
    attributes: dict[str, Any] = (
        {"activations": functions * cell.directions}
        if tuple(functions) != DEFAULT_ACTIVATIONS[op]
        else {}
    )
    if cell.hard:
        attributes |= {
            "activation_alpha": [1 / cell.hard] * cell.directions,
            "activation_beta": [0.5] * cell.directions,
        }
    attributes |= {"linear_before_reset": 1} if cell.reset == "after" else {}
    attributes |= {"input_forget": 1} if cell.coupled else {}
    attributes |= {"direction": "bidirectional"} if cell.bidirectional else {}
    return Node(op, attributes, cell.peepholes)


def cell_of(node: Node) -> Cell:
    """Return the cell that a node computes.

    Raises
    ------
    TargetError
        If no cell has its attributes.
    """
    attributes = node.attributes
    if "clip" in attributes:
        raise TargetError(
            f"it clips the arguments of its activations (clip = {attributes['clip']:g}), "
            "which gatecheck does not support"
        )
    if attributes.get("direction", "forward") not in _DIRECTIONS:
        raise TargetError(
            f"its direction is {attributes['direction']!r}, "
            f"but should be one of {', '.join(_DIRECTIONS)}"
        )
    bidirectional = attributes.get("direction") == "bidirectional"
    first, *others = _activations(node, 1 + bidirectional)
    if others and others != [first]:
        raise TargetError(
            f"its two directions have different activations, {_format_functions(first)} "
            f"and {_format_functions(others[0])}"
        )
    *gate, candidate = first[: 2 if node.op == "LSTM" else None]
    if (node.op != "RNN" and candidate != "Tanh") or (node.op == "LSTM" and first[2] != "Tanh"):
        raise TargetError(
            f"its activations are {_format_functions(first)}, "
            f"but should be a sigmoid and tanh for a {node.op} in gatecheck"
        )
    if node.op == "RNN":
        if candidate not in ("Tanh", "Relu", "Sigmoid"):
            raise TargetError(
                f"its activation is {_format_functions(first)}, "
                "but should be Tanh, Relu or Sigmoid for an RNN in gatecheck"
            )
        return RNN(str(candidate).lower(), bidirectional=bidirectional)  # type: ignore[arg-type]
    hard = None if gate == ["Sigmoid"] else _hard_variant(first)
    if node.op == "GRU":
        return GRU(
            "after" if attributes.get("linear_before_reset") else "before",
            hard=hard,
            bidirectional=bidirectional,
        )
    coupled = bool(attributes.get("input_forget"))
    return LSTM(hard=hard, peepholes=node.peepholes, coupled=coupled, bidirectional=bidirectional)


def _activations(node: Node, directions: int) -> list[list[Any]]:
    """Return each direction's activations: names, or (alpha, beta) of a hard sigmoid."""
    usual = DEFAULT_ACTIVATIONS[node.op]
    names = [str(name) for name in node.attributes.get("activations", usual * directions)]
    if len(names) != len(usual) * directions:
        raise TargetError(
            f"it has {len(names)} activations, but should have {len(usual) * directions}: "
            f"a {node.op} in {directions} directions"
        )
    if unknown := [name for name in names if name.lower() not in _ACTIVATION_NAMES]:
        raise TargetError(f"its activation {unknown[0]} is not supported by gatecheck")
    # Values are consumed in the order of the functions that take one (onnx/docs/Operators.md:
    # activation_alpha).
    parameters: list[Iterator[float]] = [
        iter(node.attributes.get(f"activation_{k}", ())) for k in ("alpha", "beta")
    ]
    functions: list[Any] = []
    for name in (_ACTIVATION_NAMES[name.lower()] for name in names):
        functions.append(
            tuple(next(v, default) for v, default in zip(parameters, (0.2, 0.5), strict=True))
            if name == "HardSigmoid"
            else name
        )
    if any(next(v, None) is not None for v in parameters):
        raise TargetError(
            "it has more values in activation_alpha or activation_beta "
            "than activations that take one"
        )
    return [functions[: len(usual)], functions[len(usual) :]][:directions]


def _hard_variant(functions: list[Any]) -> Any:
    gate = functions[0]
    if isinstance(gate, tuple) and gate[1] == 0.5 and np.float32(gate[0]) in _HARD_SIGMOIDS:
        return _HARD_SIGMOIDS[np.float32(gate[0])]
    raise TargetError(
        f"its gates are {_format_functions(functions[:1])}, "
        "but should be Sigmoid or HardSigmoid(1/5 or 1/6, 1/2) in gatecheck"
    )


def _format_functions(functions: list[Any]) -> str:
    return ", ".join(
        f if isinstance(f, str) else f"HardSigmoid({f[0]:g}, {f[1]:g})" for f in functions
    )


# ---- input_forget
#
# If input_forget is 1, all four blocks are present, f = 1 - i, and the weights of f are ignored:
# this is what the operator's authors (onnx/onnx#149, review of defs.cc) and ONNX Runtime do; the
# documentation only says "couple the input and forget gates". A coupled cell of gatecheck has the
# weights of f, and i = 1 - f. So ONNX's block of i is the negative of gatecheck's f, since
# 1 - σ(a) = σ(-a), and its block of f is zero. In the order of the convention gatecheck's blocks
# are o, f, g, and those of the peepholes o, f.


def uncouple(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Convert arrays of a coupled cell to ``input_forget = 1``.

    Blocks o, f, c of the convention become blocks i, o, f, c.
    """
    return {
        k: _rearrange_blocks(
            k, a, {"W": 3, "R": 3, "B": 3, "P": 2}[k], lambda o, f, *g: (-f, o, 0 * f, *g)
        )
        for k, a in arrays.items()
    }


def couple(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Invert :func:`uncouple`, ignoring the block of f."""
    return {
        k: _rearrange_blocks(
            k, a, {"W": 4, "R": 4, "B": 4, "P": 3}[k], lambda i, o, f, *g: (o, -i, *g)
        )
        for k, a in arrays.items()
    }


def _rearrange_blocks(
    name: str, a: Array, count: int, permute: Callable[..., tuple[Array, ...]]
) -> Array:
    biases = 2 if name == "B" else 1
    H = a.shape[1] // (biases * count)
    blocks = a.reshape(len(a), biases, count, H, -1)
    new = np.stack(permute(*(blocks[:, :, k] for k in range(count))), axis=2)
    return new.reshape(len(a), -1, *a.shape[2:])
