"""A recurrent node of an ONNX file as an implementation."""

from __future__ import annotations

from pathlib import Path

from gatecheck.cells import as_cell
from gatecheck.errors import TargetError, UsageError
from gatecheck.targets.adapters.onnx.operators import Engine, Layer, layer
from gatecheck.weights.onnx_files import read_node, recurrent_nodes

SUFFIX = ".onnx"


def adapted(engine: Engine, name: str, cell: str | None) -> Layer:
    """An operator by its name, as ``LSTM``, or a node of a file, as ``model.onnx:NODE``; a file
    with one recurrent node needs no name.

    A node without a name goes by that of its first output; one in a subgraph has the name of the
    node that it is in before its own.

    Raises
    ------
    UsageError
        If there is no such operator or node, several to choose from, or it is another cell than the
        one asked for.
    TargetError
        If the file is none, is damaged, has no weights for the node, or the node computes no cell
        of gatecheck's.
    """
    path, found, node = name.partition(f"{SUFFIX}:")
    if not found and not name.endswith(SUFFIX):
        return layer(engine, name, cell)
    file = path + SUFFIX if found else name
    nodes = recurrent_nodes(Path(file))
    listed = ", ".join(nodes)
    if not nodes:
        raise TargetError(f"{file} has no RNN, GRU or LSTM")
    if not node and len(nodes) > 1:
        raise UsageError(
            f"{file} has {len(nodes)} recurrent nodes; choose one with {file}:NODE, of {listed}"
        )
    chosen = node or listed
    if chosen not in nodes:
        raise UsageError(f"{file} has no recurrent node {chosen}; it has {listed}")
    label = f"{file}:{chosen}"
    own = read_node(label, *nodes[chosen], Path(file).parent)
    made = Layer(engine, own, label)
    if cell is not None and as_cell(cell) != made.cell:
        raise UsageError(f"{label} is a {made.cell}; --cell {cell} does not apply to it")
    return made
