"""ONNX's RNN, GRU and LSTM, each as a model of one node, for any ONNX engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import as_cell
from gatecheck.errors import MissingExtraError, TargetError, UsageError, first_line
from gatecheck.weights.onnx_nodes import (
    DEFAULT_ACTIVATIONS,
    INPUTS,
    N_GATES,
    Node,
    cell_of,
    couple,
    node_of,
    uncouple,
)

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:
    raise MissingExtraError(
        'auditing ONNX needs onnx and onnxruntime: pip install "gatecheck[onnx]"'
    ) from error

Feeds = dict[str, Array]
ModelFunction = Callable[[Feeds], Sequence[Array]]

MAX_CACHED_MODELS = 64
"""Maximum number of cached models: many properties use the same case."""


@dataclass(frozen=True)
class Engine:
    """An engine that runs ONNX.

    Attributes
    ----------
    name, packages
        Name for messages, and packages whose versions a report gives.
    dtypes
        The dtypes in which it computes the three operators.
    load
        Function from a model to a function of its inputs, by name, that returns its outputs in
        order. It may raise any exception.
    expected_failures
        By operator, the properties that it is documented not to have, each with the reason and its
        source.
    """

    name: str
    packages: tuple[str, ...]
    dtypes: tuple[str, ...]
    load: Callable[[Any], ModelFunction]
    expected_failures: Mapping[str, Mapping[str, str]]


class OnnxLayer:
    """A node as an implementation.

    Its weights are constants of the model, as in a file; weights that are zero are left out.

    Parameters
    ----------
    engine
        The engine that runs it.
    node
        The node.
    name
        Name for messages.

    Raises
    ------
    TargetError
        If the node computes no known cell, or the engine does not support it.
    """

    convention = "onnx"

    def __init__(self, engine: Engine, node: Node, name: str) -> None:
        self.engine, self.node = engine, node
        try:
            onnx.checker.check_model(
                self._make_model(
                    "float32", 1, {k: np.zeros((1, 1, 1), np.float32) for k in "WR"}, ()
                )
            )
        except (
            onnx.checker.ValidationError,
            TypeError,
            ValueError,
        ) as error:  # the latter two from the helper that makes attributes
            raise TargetError(f"{name} is not valid ONNX: {first_line(error)}") from error
        try:
            self.cell = cell_of(node)
        except TargetError as error:
            raise TargetError(f"{name} cannot be audited, because {error}") from error
        self.packages = engine.packages
        self.dtypes = engine.dtypes
        self.options = {
            "batch_first": bool(node.attributes.get("layout")),
            "reverse": node.attributes.get("direction") == "reverse",
        }
        self.expected_failures = engine.expected_failures.get(node.op, {})
        if node.weights is not None:
            self._use_own_weights(name, node.weights)
        self._runs: dict[Any, ModelFunction] = {}
        self._check_supported(name)

    def _use_own_weights(self, name: str, weights: Mapping[str, Array]) -> None:
        dtype = weights["W"].dtype.name
        if dtype not in self.engine.dtypes:
            raise TargetError(
                f"{name} is of {dtype}, but {self.engine.name} computes a {self.node.op} "
                f"in {' and '.join(self.engine.dtypes)}"
            )
        self.dtypes = (dtype,)
        self.own_weights = couple(weights) if self.cell.coupled else dict(weights)

    def _check_supported(self, name: str) -> None:
        """Check that the engine supports the node, once rather than in every property."""
        H, dirs = 2, self.cell.directions
        gates = N_GATES[self.node.op]
        shapes = {"W": (dirs, gates * H, 1), "R": (dirs, gates * H, H)} | (
            {"P": (dirs, 3 * H)} if self.node.peepholes else {}
        )
        arrays = {k: np.ones(shape, self.dtypes[0]) for k, shape in shapes.items()}
        try:
            self.engine.load(self._make_model(self.dtypes[0], H, arrays, ()))
        except Exception as error:
            raise TargetError(
                f"{self.engine.name} does not take {name}: {first_line(error)}"
            ) from error

    def _make_model(
        self, dtype: str, H: int, constants: Mapping[str, Array], inputs: Sequence[str]
    ) -> Any:
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
            [
                helper.make_tensor_value_info(
                    k, types.get(k, tensor), [None] * (1 if k in types else 3)
                )
                for k in ("X", *inputs)
            ],
            [
                helper.make_tensor_value_info(k, tensor, [None] * (4 if k == "Y" else 3))
                for k in outputs
            ],
            [numpy_helper.from_array(v, k) for k, v in constants.items()],
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.node.opset)],
            ir_version=self.node.ir_version,
        )

    def _run(self, constants: Mapping[str, Array], feeds: Feeds) -> Sequence[Array]:
        key = (*((k, v.shape, v.dtype.str, v.tobytes()) for k, v in constants.items()), *feeds)
        if key not in self._runs:
            for old in list(islice(self._runs, max(len(self._runs) - MAX_CACHED_MODELS + 1, 0))):
                del self._runs[old]
            model = self._make_model(
                feeds["X"].dtype.name,
                constants["R"].shape[-1],
                constants,
                [k for k in feeds if k != "X"],
            )
            self._runs[key] = self.engine.load(model)
        return self._runs[key](feeds)

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT)."""
        given = uncouple(params) if self.cell.coupled else params
        constants = {k: v for k, v in given.items() if k in ("W", "R") or v.any()}
        feeds = {"X": x} | ({} if lengths is None else {"sequence_lens": lengths.astype(np.int32)})
        feeds |= {
            k: self._to_onnx_state(s)
            for k, s in (("initial_h", h0), ("initial_c", c0))
            if s is not None
        }
        y, *states = self._run(constants, feeds)
        y = y if self.options["batch_first"] else y.swapaxes(1, 2)
        *rows, dirs, H = y.shape
        return (y.reshape(*rows, dirs * H), *(self._from_onnx_state(s) for s in states))

    def _to_onnx_state(self, s: Array) -> Array:
        s = s if self.cell.bidirectional else s[None]
        return s.swapaxes(0, 1) if self.options["batch_first"] else s

    def _from_onnx_state(self, s: Array) -> Array:
        s = s.swapaxes(0, 1) if self.options["batch_first"] else s
        return s if self.cell.bidirectional else s[0]


# ---- by name


def operator_layer(engine: Engine, name: str, cell: str | None) -> OnnxLayer:
    """Return an operator, by its name, as an implementation.

    Raises
    ------
    UsageError
        If there is no such operator, or it cannot be the requested cell.
    TargetError
        If the engine does not support it.
    """
    if name not in DEFAULT_ACTIVATIONS:
        raise UsageError(
            f"{engine.name}:{name} is not an operator that gatecheck knows; "
            f"those are {', '.join(DEFAULT_ACTIVATIONS)}"
        )
    chosen = as_cell(cell or name.lower())
    node = node_of(name, chosen)
    try:
        possible = cell_of(node) == chosen
    except (TargetError, KeyError):
        possible = False
    if not possible:
        raise UsageError(f"{engine.name}:{name} cannot be a {chosen}")
    return OnnxLayer(engine, node, f"{engine.name}:{name} as a {chosen}")
