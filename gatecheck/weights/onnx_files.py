"""Reader of the recurrent nodes of an ONNX file, with attributes and weights."""

from __future__ import annotations

import math
from collections import ChainMap, Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from gatecheck._util.plain_files import ARRAY_BYTES, Allowance, file_size, open_plain
from gatecheck._util.typing import Array
from gatecheck.errors import ArchiveError, MissingExtraError, TargetError, first_line
from gatecheck.weights.onnx_nodes import INPUTS, N_GATES, OPSETS, Node, cell_of, couple
from gatecheck.weights.stored import (
    HALF_DTYPES,
    MAX_NAME,
    LayerMetadata,
    StoredArrays,
    normalize_name,
)

try:
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError
    from onnx import helper, numpy_helper
    from onnx.external_data_helper import (
        ExternalDataInfo,
        load_external_data_for_tensor,
        uses_external_data,
    )
except ImportError as error:
    raise MissingExtraError(
        'reading an ONNX file needs onnx: pip install "gatecheck[onnx]"'
    ) from error

_DOMAINS = ("", "ai.onnx")

MAX_CALLS = 64
"""Most functions and subgraphs in each other."""

CHAIN_STEPS = 8
"""Steps for a node of a chain of Identity, which takes microseconds."""

COPIES, NODE_BYTES = 4, 1000
"""Copies of a node in memory while functions are inlined, and bytes for each node."""

Constants = Mapping[str, Any]
"""Initializers and outputs of nodes, by name, that are visible in a subgraph."""


class FoundNode(NamedTuple):
    """Recurrent node with the constants visible to it, its model, and its allowance."""

    node: Any
    constants: Constants
    model: Any
    allowance: Allowance


def recurrent_nodes(file: IO[bytes]) -> dict[str, FoundNode]:
    """Return the recurrent nodes of a file by name, also in subgraphs and functions.

    Raises
    ------
    TargetError
        If it is not an ONNX model.
    ArchiveError
        If it takes more than a file of its size may.
    """
    return _nodes_of(*_load_model(file))


def _nodes_of(model: Any, allowance: Allowance) -> dict[str, FoundNode]:
    nodes: dict[str, FoundNode] = {}
    counts: Counter[str] = Counter()
    for label, node, constants in _walk_nodes(model.graph, ChainMap(), "", allowance):
        counts[label] += 1
        while (name := f"{label}#{counts[label]}" if counts[label] > 1 else label) in nodes:
            counts[label] += 1
        nodes[name] = FoundNode(node, constants, model, allowance)
    return nodes


def _load_model(file: IO[bytes]) -> tuple[Any, Allowance]:
    allowance = Allowance(file_size(file))
    try:
        model = onnx.load_model_from_string(file.read())
        if model.functions:
            _spend_inlining(model, allowance)
            model = onnx.inliner.inline_local_functions(model)
    except ArchiveError:
        raise
    except (DecodeError, ValueError, RuntimeError) as error:
        raise TargetError(
            f"{file.name} is damaged, or not an ONNX model: {first_line(error)}"
        ) from error
    if not model.graph.node:
        raise TargetError(f"{file.name} is damaged, or not an ONNX model: its graph has no nodes")
    return model, allowance


def _spend_inlining(model: Any, allowance: Allowance) -> None:
    """Spend the model with each call replaced by the nodes of its function.

    A few functions that call each other twice become very many nodes.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    unfolded: dict[tuple[str, str], tuple[int, int]] = {}

    def measure(nodes: Any, depth: int) -> tuple[int, int]:
        """Return the number of nodes and their bytes."""
        if depth > MAX_CALLS:
            raise ArchiveError(f"its functions call each other more than {MAX_CALLS} deep")
        count = size = 0
        for node in nodes:
            count, size = count + 1, size + node.ByteSize()
            called = node.domain, node.op_type
            if called in functions and called not in unfolded:
                unfolded[called] = measure(functions[called].node, depth + 1)
            inside = [unfolded.get(called, (0, 0))]
            inside += [measure(graph.node, depth + 1) for graph in _subgraphs(node)]
            count += sum(n for n, _ in inside)
            size += sum(n for _, n in inside)
        return count, size

    count, size = measure(model.graph.node, 0)
    allowance.spend("a copy of a function for each call", count, "nodes")
    allowance.spend("a copy of a function for each call", COPIES * size + NODE_BYTES * count)


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def _walk_nodes(
    graph: Any, constants: ChainMap[str, Any], prefix: str, allowance: Allowance
) -> Iterator[tuple[str, Any, Constants]]:
    own = {name: node for node in graph.node for name in node.output}
    inside = constants.new_child(own | {t.name: t for t in graph.initializer})
    for node in graph.node:
        label = prefix + _decode_strings(node.name or next(filter(None, node.output), node.op_type))
        if len(label) > MAX_NAME:
            raise ArchiveError(
                f"the name of a node, {label[:50]}…, has {len(label):,} characters, "
                f"but gatecheck reads {MAX_NAME:,} at most"
            )
        allowance.spend("its nodes", len(label) + ARRAY_BYTES)
        if node.op_type in N_GATES and node.domain in _DOMAINS:
            yield label, node, inside
        for subgraph in _subgraphs(node):
            yield from _walk_nodes(subgraph, inside, f"{label}/", allowance)


def read_node(
    label: str,
    found: FoundNode,
    folder: Path,
    dtypes: tuple[str, ...] = ("float32", "float64"),
) -> Node:
    """Read the weights and attributes of a node from :func:`recurrent_nodes`.

    Raises
    ------
    TargetError
        If it has no weights, they are not of one of `dtypes`, or they or its attributes are
        damaged.
    ArchiveError
        If they are more than the file may take.
    """
    node, constants, model, allowance = found
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
        k: _read_constant(f"{k} of {label}", names[k], constants, folder, allowance)
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


def _read_constant(
    label: str, name: str, constants: Constants, folder: Path, allowance: Allowance
) -> Array:
    value, visited = constants.get(name), {name}
    # An exporter that shares weights between nodes writes Identity.
    while (
        value is not None
        and getattr(value, "op_type", None) == "Identity"
        and value.input[0] not in visited
    ):
        allowance.spend(label, CHAIN_STEPS, "steps")
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
    if value.data_type == onnx.TensorProto.STRING:
        raise TargetError(f"{label}, {name}, holds texts")
    try:
        external = uses_external_data(value)
        if external:
            _allow_external(value, folder, allowance)
        allowance.spend(name, ARRAY_BYTES + 8 * math.prod(max(n, 0) for n in value.dims))
        if external:
            copy = onnx.TensorProto()  # which does not stay in the model with its data
            copy.CopyFrom(value)
            load_external_data_for_tensor(value := copy, str(folder))
        array: Array = numpy_helper.to_array(value)
    except ArchiveError:
        raise
    except OSError as error:
        raise TargetError(f"{label}, {name}, cannot be read: {error.strerror}") from error
    # Protobuf, NumPy, the checker and the file system raise many exceptions for a damaged tensor.
    except Exception as error:
        raise TargetError(f"{label}, {name}, cannot be read: {first_line(error)}") from error
    return array


def _allow_external(tensor: Any, folder: Path, allowance: Allowance) -> None:
    """Count a file of external data as a part of the model's, once."""
    location = folder / ExternalDataInfo(tensor).location
    with open_plain(location, links=False) as file:
        if location not in allowance.files:
            allowance.files.add(location)
            allowance.size += file_size(file)


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


def read_onnx(file: IO[bytes]) -> StoredArrays:
    """Read W, R, B and P of each recurrent node, and the initializers of other nodes.

    The arrays of a node are named ``NODE/W`` and so on; its cell is recorded.

    Raises
    ------
    TargetError
        As :func:`recurrent_nodes`.
    ArchiveError
        If it takes more than a file of its size may.
    """
    folder = Path(file.name).parent
    model, allowance = _load_model(file)
    stored, used = StoredArrays(allowance), set()
    for label, found in _nodes_of(model, allowance).items():
        used |= set(found.node.input)
        try:
            read = read_node(label, found, folder, (*HALF_DTYPES, "float32", "float64"))
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
        for tensor in model.graph.initializer
        if tensor.name not in used
    }
    for name in own:
        try:
            stored.add(name, _read_constant("an initializer", name, own, folder, allowance))
        except TargetError as error:
            stored.skipped[name] = str(error)
    return stored
