"""Reader of the recurrent nodes of an ONNX file, with attributes and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import MissingExtraError, TargetError, first_line
from gatecheck.weights.onnx_nodes import INPUTS, N_GATES, OPSETS, Node, cell_of, couple
from gatecheck.weights.stored import HALF_DTYPES, LayerMetadata, StoredArrays, normalize_name

try:
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError
    from onnx import helper, numpy_helper
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
except ImportError as error:
    raise MissingExtraError(
        'reading an ONNX file needs onnx: pip install "gatecheck[onnx]"'
    ) from error

_DOMAINS = ("", "ai.onnx")

Constants = Mapping[str, Any]
"""Initializers and outputs of nodes, by name, that are visible in a subgraph."""


def recurrent_nodes(path: Path) -> dict[str, tuple[Any, Constants, Any]]:
    """Return the recurrent nodes of a file, also those in subgraphs and functions.

    Each name maps to the node, the constants visible to it, and its model.

    Raises
    ------
    TargetError
        If it cannot be read, or is not an ONNX model.
    """
    model = _load_model(path)
    nodes: dict[str, tuple[Any, Constants, Any]] = {}
    for label, node, constants in _walk_nodes(model.graph, {}, ""):
        same = sum(name.partition("#")[0] == label for name in nodes)
        nodes[f"{label}#{same + 1}" if same else label] = node, constants, model
    return nodes


def _load_model(path: Path) -> Any:
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError, RuntimeError) as error:
        raise TargetError(
            f"{path} is damaged, or not an ONNX model: {first_line(error)}"
        ) from error
    if not model.graph.node:
        raise TargetError(f"{path} is damaged, or not an ONNX model: its graph has no nodes")
    return model


def _walk_nodes(
    graph: Any, constants: Constants, prefix: str
) -> Iterator[tuple[str, Any, Constants]]:
    inside = {
        **constants,
        **{name: node for node in graph.node for name in node.output},
        **{t.name: t for t in graph.initializer},
    }
    for node in graph.node:
        label = prefix + _decode_strings(node.name or next(filter(None, node.output), node.op_type))
        if node.op_type in N_GATES and node.domain in _DOMAINS:
            yield label, node, inside
        for attribute in node.attribute:
            for subgraph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _walk_nodes(subgraph, inside, f"{label}/")


def read_node(
    label: str,
    node: Any,
    constants: Constants,
    model: Any,
    folder: Path,
    dtypes: tuple[str, ...] = ("float32", "float64"),
) -> Node:
    """Read the weights and attributes of a node from :func:`recurrent_nodes`.

    Raises
    ------
    TargetError
        If it has no weights, they are not of one of `dtypes`, or they or its attributes are
        damaged.
    """
    opset = next((o.version for o in model.opset_import if o.domain in _DOMAINS), None)
    newest = onnx.defs.onnx_opset_version()
    if opset is None or not OPSETS[0] <= opset <= newest:
        raise TargetError(
            f"{label} is of opset {opset}, but gatecheck with onnx {onnx.__version__} "
            f"can audit {OPSETS[0]} to {newest}"
        )
    if not helper.VERSION_TABLE[0][1] <= model.ir_version <= onnx.IR_VERSION:
        raise TargetError(
            f"{label} is of IR version {model.ir_version}, "
            f"but onnx {onnx.__version__} knows {onnx.IR_VERSION} at most"
        )
    names = dict(zip(INPUTS[node.op_type], node.input, strict=False))
    arrays = {
        k: _read_constant(f"{k} of {label}", names[k], constants, folder)
        for k in ("W", "R", "B", "P")
        if names.get(k)
    }
    if absent := [k for k in ("W", "R") if k not in arrays]:
        raise TargetError(f"{label} has no {absent[0]}")
    if mistyped := [
        f"{k} of {label} is of {a.dtype}" for k, a in arrays.items() if a.dtype.name not in dtypes
    ]:
        raise TargetError(f"{mistyped[0]}, but gatecheck can audit {' and '.join(dtypes)}")
    try:
        attributes = {
            _decode_strings(a.name): _decode_strings(helper.get_attribute_value(a))
            for a in node.attribute
        }
    except ValueError as error:
        raise TargetError(f"{label} is damaged: {first_line(error)}") from error
    if valueless := [k for k, v in attributes.items() if v is None]:
        raise TargetError(f"{label} is damaged: its attribute {valueless[0]} has no value")
    _check_shapes(label, node.op_type, arrays, attributes.pop("hidden_size", None))
    H = arrays["R"].shape[-1]
    arrays.setdefault(
        "B", np.zeros((len(arrays["W"]), 2 * N_GATES[node.op_type] * H), arrays["W"].dtype)
    )
    return Node(node.op_type, attributes, "P" in arrays, opset, model.ir_version, arrays)


def _read_constant(label: str, name: str, constants: Constants, folder: Path) -> Array:
    value, visited = constants.get(name), {name}
    # An exporter that shares weights between nodes writes Identity.
    while (
        value is not None
        and getattr(value, "op_type", None) == "Identity"
        and value.input[0] not in visited
    ):
        visited.add(value.input[0])
        value = constants.get(value.input[0])
    if isinstance(value, onnx.NodeProto) and value.op_type == "Constant":
        value = next((a.t for a in value.attribute if a.name == "value"), None)
    if not isinstance(value, onnx.TensorProto):
        origin = (
            f"a node {value.op_type}" if isinstance(value, onnx.NodeProto) else "outside the graph"
        )
        raise TargetError(
            f"{label}, {name}, is not in the file but comes from {origin}: "
            "only constant weights can be audited; fold constants first"
        )
    try:
        if uses_external_data(value):
            load_external_data_for_tensor(value, str(folder))
        array: Array = numpy_helper.to_array(value)
    # Protobuf, NumPy, the checker and the file system raise many exceptions for a damaged tensor.
    except Exception as error:
        raise TargetError(f"{label}, {name}, cannot be read: {first_line(error)}") from error
    return array


def _check_shapes(label: str, op: str, arrays: Mapping[str, Array], hidden: Any) -> None:
    """Check that weights have the shapes of onnx/docs/Operators.md.

    Elsewhere an array of the wrong shape may be read past its end.
    """
    W, R, gates = arrays["W"], arrays["R"], N_GATES[op]
    if W.ndim != 3 or R.ndim != 3 or hidden != R.shape[-1] or not all((*W.shape, *R.shape)):
        raise TargetError(
            f"{label} has hidden_size {hidden}, W of shape {W.shape} and R of shape {R.shape}, "
            "which do not fit each other"
        )
    dirs, H = len(W), R.shape[-1]
    shapes = {
        "W": (dirs, gates * H, W.shape[-1]),
        "R": (dirs, gates * H, H),
        "B": (dirs, 2 * gates * H),
        "P": (dirs, 3 * H),
    }
    for k, a in arrays.items():
        if a.shape != shapes[k] or a.dtype != W.dtype:
            raise TargetError(
                f"{k} of {label} is {a.dtype} of shape {a.shape}, "
                f"but should be {W.dtype} of shape {shapes[k]}"
            )


def _decode_strings(value: Any) -> Any:
    """Decode strings: ONNX's are bytes, and so are protobuf's that are not UTF-8."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_decode_strings(v) for v in value] if isinstance(value, list | tuple) else value


def read_onnx(path: Path) -> StoredArrays:
    """Read W, R, B and P of each recurrent node, and the initializers of other nodes.

    The arrays of a node are named ``NODE/W`` and so on; its cell is recorded.

    Raises
    ------
    TargetError
        As :func:`recurrent_nodes`.
    """
    stored, used = StoredArrays(), set()
    for label, (node, constants, model) in recurrent_nodes(path).items():
        used |= set(node.input)
        try:
            read = read_node(
                label, node, constants, model, path.parent, (*HALF_DTYPES, "float32", "float64")
            )
            cell = cell_of(read)
        except TargetError as error:
            stored.skipped[label] = str(error)
            continue
        for k, a in (couple(read.weights or {}) if cell.coupled else read.weights or {}).items():
            stored.add(f"{label}/{k}", a)
        stored.metadata[normalize_name(label)] = LayerMetadata(
            cell.layer_cell, "onnx", read.attributes.get("direction") == "reverse"
        )
    own = {
        _decode_strings(tensor.name): tensor
        for tensor in _load_model(path).graph.initializer
        if tensor.name not in used
    }
    for name in own:
        try:
            stored.add(name, _read_constant("an initializer", name, own, path.parent))
        except TargetError as error:
            stored.skipped[name] = str(error)
    return stored
