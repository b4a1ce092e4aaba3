"""ONNX's RNN, GRU and LSTM, each as the one node of a model of its own, for whatever runs ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from gatecheck.cells import GRU, LSTM, RNN, Array, Cell, as_cell
from gatecheck.errors import MissingExtraError, TargetError, UsageError, first_line

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:
    raise MissingExtraError('auditing ONNX needs onnx and onnxruntime: pip install "gatecheck[onnx]"') from error

Feeds = dict[str, Array]
Run = Callable[[Feeds], Sequence[Array]]

INPUTS = {
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
}
"""The inputs of each operator, in order (onnx/docs/Operators.md)."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}

OPSETS = (7, 14)
"""The first opset in which the three are as they are now, and that of nodes that come from no file: there layout was added. Opset 22 added
bfloat16 (onnx/docs/Changelog.md)."""

KEPT = 64
"""How many models with their weights an implementation keeps: many properties ask about the same case."""

_FUNCTIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_SPELLED = {name.lower(): name for name in ("Tanh", "Relu", "Sigmoid", "HardSigmoid")}
_HARD = {np.float32(0.2): 5, np.float32(1 / 6): 6}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True)
class Engine:
    """Something that runs ONNX.

    Attributes
    ----------
    name, packages
        For messages, and whose versions a report gives.
    dtypes
        In which it computes the three.
    load
        From a model to a function of its inputs, by name, that returns its outputs in order. It raises whatever it likes.
    refusals
        By operator, the properties that it is documented not to have, each with the reason and its source.
    """

    name: str
    packages: tuple[str, ...]
    dtypes: tuple[str, ...]
    load: Callable[[Any], Run]
    refusals: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Node:
    """A node, as a file or a cell gives it.

    Attributes
    ----------
    op
        ``"RNN"``, ``"GRU"`` or ``"LSTM"``.
    attributes
        As in ONNX, strings as str; but for ``hidden_size``, which each case has its own of.
    peepholes
        Whether it has an input P.
    opset, ir_version
        Of its model.
    weights
        W, R, B and P of a file, where there is one.
    """

    op: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    peepholes: bool = False
    opset: int = OPSETS[1]
    ir_version: int = 8
    weights: Mapping[str, Array] | None = None


def node_of(op: str, cell: Cell) -> Node:
    """The node that computes a cell; whether it can, :func:`cell_of` says."""
    gate = [] if op == "RNN" else ["HardSigmoid" if cell.hard else "Sigmoid"]
    functions = [*gate, *({"RNN": [cell.activation.capitalize()], "GRU": ["Tanh"]}.get(op, ["Tanh", "Tanh"]))]
    attributes: dict[str, Any] = {"activations": functions * cell.directions} if tuple(functions) != _FUNCTIONS[op] else {}
    if cell.hard:
        attributes |= {"activation_alpha": [1 / cell.hard] * cell.directions, "activation_beta": [0.5] * cell.directions}
    attributes |= {"linear_before_reset": 1} if cell.reset == "after" else {}
    attributes |= {"input_forget": 1} if cell.coupled else {}
    attributes |= {"direction": "bidirectional"} if cell.bidirectional else {}
    return Node(op, attributes, cell.peepholes)


def cell_of(node: Node) -> Cell:
    """The cell that a node computes.

    Raises
    ------
    TargetError
        If its attributes say something that no cell expresses.
    """
    attributes = node.attributes
    if "clip" in attributes:
        raise TargetError(f"it clips what goes into its activations (clip = {attributes['clip']:g}), and no cell of gatecheck's does")
    if attributes.get("direction", "forward") not in _DIRECTIONS:
        raise TargetError(f"its direction is {attributes['direction']!r}, and ONNX knows {', '.join(_DIRECTIONS)}")
    bidirectional = attributes.get("direction") == "bidirectional"
    first, *others = _activations(node, 1 + bidirectional)
    if others and others != [first]:
        raise TargetError(f"its two directions have different activations, {_listed(first)} and {_listed(others[0])}")
    *gate, candidate = first[: 2 if node.op == "LSTM" else None]
    if (node.op != "RNN" and candidate != "Tanh") or (node.op == "LSTM" and first[2] != "Tanh"):
        raise TargetError(f"its activations are {_listed(first)}, and those of a {node.op} in gatecheck are a sigmoid and tanh")
    if node.op == "RNN":
        if candidate not in ("Tanh", "Relu", "Sigmoid"):
            raise TargetError(f"its activation is {_listed(first)}, and an RNN's in gatecheck is Tanh, Relu or Sigmoid")
        return RNN(str(candidate).lower(), bidirectional=bidirectional)  # type: ignore[arg-type]
    hard = None if gate == ["Sigmoid"] else _hard(first)
    if node.op == "GRU":
        return GRU("after" if attributes.get("linear_before_reset") else "before", hard=hard, bidirectional=bidirectional)
    coupled = bool(attributes.get("input_forget"))
    return LSTM(hard=hard, peepholes=node.peepholes, coupled=coupled, bidirectional=bidirectional)


def _activations(node: Node, directions: int) -> list[list[Any]]:
    """The activation functions of each direction: names, and of a hard sigmoid (alpha, beta)."""
    usual = _FUNCTIONS[node.op]
    names = [str(name) for name in node.attributes.get("activations", usual * directions)]
    if len(names) != len(usual) * directions:
        raise TargetError(f"it has {len(names)} activations, and a {node.op} in {directions} directions has {len(usual) * directions}")
    if unknown := [name for name in names if name.lower() not in _SPELLED]:
        raise TargetError(f"its activation {unknown[0]} is that of no cell of gatecheck's")
    # Values are consumed in the order of the functions that take one (onnx/docs/Operators.md: activation_alpha).
    given: list[Iterator[float]] = [iter(node.attributes.get(f"activation_{k}", ())) for k in ("alpha", "beta")]
    functions: list[Any] = []
    for name in (_SPELLED[name.lower()] for name in names):
        functions.append(tuple(next(v, default) for v, default in zip(given, (0.2, 0.5), strict=True)) if name == "HardSigmoid" else name)
    if any(next(v, None) is not None for v in given):
        raise TargetError("it has more values in activation_alpha or activation_beta than activations that take one")
    return [functions[: len(usual)], functions[len(usual) :]][:directions]


def _hard(functions: list[Any]) -> Any:
    gate = functions[0]
    if isinstance(gate, tuple) and gate[1] == 0.5 and np.float32(gate[0]) in _HARD:
        return _HARD[np.float32(gate[0])]
    raise TargetError(f"its gates are {_listed(functions[:1])}, and those of gatecheck are Sigmoid or HardSigmoid(1/5 or 1/6, 1/2)")


def _listed(functions: list[Any]) -> str:
    return ", ".join(f if isinstance(f, str) else f"HardSigmoid({f[0]:g}, {f[1]:g})" for f in functions)


class Layer:
    """A node as an implementation. Its weights are constants of the model, as in a file, and what is zero is left out.

    Parameters
    ----------
    engine
        What runs it.
    node
        The node.
    name
        For messages.

    Raises
    ------
    TargetError
        If no cell is what it computes, or the engine does not take it.
    """

    convention = "onnx"

    def __init__(self, engine: Engine, node: Node, name: str) -> None:
        self.engine, self.node = engine, node
        try:
            onnx.checker.check_model(self._model("float32", 1, {k: np.zeros((1, 1, 1), np.float32) for k in "WR"}, ()))
        except (onnx.checker.ValidationError, TypeError, ValueError) as error:  # the latter two from the helper that makes attributes
            raise TargetError(f"{name} is not valid ONNX: {first_line(error)}") from error
        try:
            self.cell = cell_of(node)
        except TargetError as error:
            raise TargetError(f"{name} cannot be audited, because {error}") from error
        self.packages = engine.packages
        self.dtypes = engine.dtypes
        self.options = {"batch_first": bool(node.attributes.get("layout")), "reverse": node.attributes.get("direction") == "reverse"}
        self.expected_failures = engine.refusals.get(node.op, {})
        if node.weights is not None:
            self._carries(name, node.weights)
        self._runs: dict[Any, Run] = {}
        self._admits(name)

    def _carries(self, name: str, weights: Mapping[str, Array]) -> None:
        dtype = weights["W"].dtype.name
        if dtype not in self.engine.dtypes:
            raise TargetError(
                f"{name} is of {dtype}, but {self.engine.name} computes a {self.node.op} in {' and '.join(self.engine.dtypes)}"
            )
        self.dtypes = (dtype,)
        self.own_weights = coupled(weights) if self.cell.coupled else dict(weights)

    def _admits(self, name: str) -> None:
        """That the engine takes the node at all, so that a refusal is said once rather than by every property."""
        H, dirs = 2, self.cell.directions
        gates = GATES[self.node.op]
        shapes = {"W": (dirs, gates * H, 1), "R": (dirs, gates * H, H)} | ({"P": (dirs, 3 * H)} if self.node.peepholes else {})
        arrays = {k: np.ones(shape, self.dtypes[0]) for k, shape in shapes.items()}
        try:
            self.engine.load(self._model(self.dtypes[0], H, arrays, ()))
        except Exception as error:
            raise TargetError(f"{self.engine.name} does not take {name}: {first_line(error)}") from error

    def _model(self, dtype: str, H: int, constants: Mapping[str, Array], inputs: Sequence[str]) -> Any:
        tensor = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        known = INPUTS[self.node.op]
        names = [k if k in ("X", *constants, *inputs) or k in known[:3] else "" for k in known]
        while not names[-1]:
            names.pop()
        outputs = ["Y", "Y_h", *(["Y_c"] if self.node.op == "LSTM" else [])]
        node = helper.make_node(self.node.op, names, outputs, hidden_size=H, **self.node.attributes)
        types = {"sequence_lens": onnx.TensorProto.INT32}
        graph = helper.make_graph(
            [node],
            "gatecheck",
            [helper.make_tensor_value_info(k, types.get(k, tensor), [None] * (1 if k in types else 3)) for k in ("X", *inputs)],
            [helper.make_tensor_value_info(k, tensor, [None] * (4 if k == "Y" else 3)) for k in outputs],
            [numpy_helper.from_array(v, k) for k, v in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.node.opset)], ir_version=self.node.ir_version)

    def _run(self, constants: Mapping[str, Array], feeds: Feeds) -> Sequence[Array]:
        key = (*((k, v.shape, v.dtype.str, v.tobytes()) for k, v in constants.items()), *feeds)
        if key not in self._runs:
            for old in list(islice(self._runs, max(len(self._runs) - KEPT + 1, 0))):
                del self._runs[old]
            model = self._model(feeds["X"].dtype.name, constants["R"].shape[-1], constants, [k for k in feeds if k != "X"])
            self._runs[key] = self.engine.load(model)
        return self._runs[key](feeds)

    def forward(
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None, lengths: Array | None = None
    ) -> tuple[Array, ...]:
        """(y, hT) or (y, hT, cT)."""
        given = uncoupled(params) if self.cell.coupled else params
        constants = {k: v for k, v in given.items() if k in ("W", "R") or v.any()}
        feeds = {"X": x} | ({} if lengths is None else {"sequence_lens": lengths.astype(np.int32)})
        feeds |= {k: self._state(s) for k, s in (("initial_h", h0), ("initial_c", c0)) if s is not None}
        y, *states = self._run(constants, feeds)
        y = y if self.options["batch_first"] else y.swapaxes(1, 2)
        *rows, dirs, H = y.shape
        return (y.reshape(*rows, dirs * H), *(self._state_back(s) for s in states))

    def _state(self, s: Array) -> Array:
        s = s if self.cell.bidirectional else s[None]
        return s.swapaxes(0, 1) if self.options["batch_first"] else s

    def _state_back(self, s: Array) -> Array:
        s = s.swapaxes(0, 1) if self.options["batch_first"] else s
        return s if self.cell.bidirectional else s[0]


# ---- input_forget
#
# Where input_forget is 1 all four blocks are there, f = 1 - i, and the weights of f are ignored: so those who made the operator had it
# (onnx/onnx#149, review of defs.cc), and so does ONNX Runtime; the documentation says "couple the input and forget gates" only. A coupled
# cell of gatecheck's has the weights of f, and i = 1 - f. So the block of i is the negative of ours, since 1 - σ(a) = σ(-a), and that of f
# is nothing. In the order of the convention ours are o, f, g, and of the peepholes o, f.


def uncoupled(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of ``input_forget = 1``, blocks i, o, f, c, from those of a coupled cell in the convention, blocks o, f, c."""
    return {k: _rearranged(k, a, {"W": 3, "R": 3, "B": 3, "P": 2}[k], lambda o, f, *g: (-f, o, 0 * f, *g)) for k, a in arrays.items()}


def coupled(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of :func:`uncoupled`, for which the block of f does not matter."""
    return {k: _rearranged(k, a, {"W": 4, "R": 4, "B": 4, "P": 3}[k], lambda i, o, f, *g: (o, -i, *g)) for k, a in arrays.items()}


def _rearranged(name: str, a: Array, count: int, how: Callable[..., tuple[Array, ...]]) -> Array:
    biases = 2 if name == "B" else 1
    H = a.shape[1] // (biases * count)
    blocks = a.reshape(len(a), biases, count, H, -1)
    new = np.stack(how(*(blocks[:, :, k] for k in range(count))), axis=2)
    return new.reshape(len(a), -1, *a.shape[2:])


# ---- by name


def layer(engine: Engine, name: str, cell: str | None) -> Layer:
    """The operator of that name as an implementation.

    Raises
    ------
    UsageError
        If there is no such operator, or it cannot be the cell that is asked for.
    TargetError
        If the engine does not take it.
    """
    if name not in _FUNCTIONS:
        raise UsageError(f"{engine.name}:{name} is not an operator that gatecheck knows; those are {', '.join(_FUNCTIONS)}")
    chosen = as_cell(cell or name.lower())
    node = node_of(name, chosen)
    try:
        can = cell_of(node) == chosen
    except (TargetError, KeyError):
        can = False
    if not can:
        raise UsageError(f"{engine.name}:{name} cannot be a {chosen}")
    return Layer(engine, node, f"{engine.name}:{name} as a {chosen}")
