"""Recurrent nodes of ONNX files as implementations."""

from __future__ import annotations

from pathlib import Path

from gatecheck._util.plain_files import open_plain
from gatecheck._util.text import list_names
from gatecheck.cells import as_cell
from gatecheck.errors import ArchiveError, TargetError, UsageError, shorten
from gatecheck.targets.adapters.onnx.operators import Engine, OnnxLayer, operator_layer
from gatecheck.weights.onnx_files import read_node, recurrent_nodes
from gatecheck.weights.onnx_nodes import Node

ONNX_SUFFIX = ".onnx"

MAX_LISTED = 20
"""Number of nodes that a message names."""


def adapt_node(engine: Engine, name: str, cell: str | None) -> OnnxLayer:
    """Return an operator such as ``LSTM``, or a node such as ``model.onnx:NODE``.

    A file with one recurrent node needs no name of the node. A node without a name has that of its
    first output; a node in a subgraph has the name of the node that contains it before its own.

    Raises
    ------
    UsageError
        If there is no such operator or node, several to choose from, or it is another cell than the
        requested one.
    TargetError
        If there is no such file, it is damaged, has no weights for the node, or the node computes
        no cell of gatecheck's.
    """
    path, found, node = name.partition(f"{ONNX_SUFFIX}:")
    if not found and not name.endswith(ONNX_SUFFIX):
        return operator_layer(engine, name, cell)
    file = path + ONNX_SUFFIX if found else name
    label, content = _read_file(file, node)
    implementation = OnnxLayer(engine, content, label)
    if cell is not None and as_cell(cell) != implementation.cell:
        raise UsageError(f"{label} is a {implementation.cell}; --cell {cell} does not apply to it")
    return implementation


def _read_file(file: str, node: str) -> tuple[str, Node]:
    """Return the label and the content of a node; the only one needs no name."""
    try:
        with open_plain(file) as opened:
            nodes = recurrent_nodes(opened)
            if not nodes:
                raise TargetError(f"{file} has no RNN, GRU or LSTM")
            listed = list_names(list(nodes), MAX_LISTED)
            if not node and len(nodes) > 1:
                raise UsageError(
                    f"{file} has {len(nodes)} recurrent nodes; "
                    f"choose one with {file}:NODE, of {listed}"
                )
            chosen = node or next(iter(nodes))
            if chosen not in nodes:
                raise UsageError(f"{file} has no recurrent node {chosen}; it has {listed}")
            label = f"{file}:{chosen}"
            return label, read_node(label, nodes[chosen], Path(file).parent)
    except OSError as error:
        raise TargetError(f"{file} cannot be read: {error.strerror}") from error
    except ArchiveError as error:
        raise TargetError(shorten(f"{file} cannot be used: {error}")) from error
