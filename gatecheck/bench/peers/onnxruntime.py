"""ONNX Runtime: a model of one node, its weights constants as in a file.

It has no gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gatecheck.bench.job import Job, outputs
from gatecheck.cases import Case
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError, UsageError
from gatecheck.weights.onnx_nodes import DEFAULT_ACTIVATIONS, cell_of, node_of

try:
    import onnxruntime
    from onnx import helper, numpy_helper
except ImportError as error:
    raise MissingExtraError('pip install "gatecheck[onnx]"') from error

PACKAGES = ("onnx", "onnxruntime")

_FATAL = 4


def prepare(case: Case, work: str, threads: int) -> Job:
    """Prepare a point for ONNX Runtime.

    Raises
    ------
    UsageError
        If it is for gradients, of float64, which ONNX Runtime's kernels do not take, or of a cell
        that ONNX does not have.
    """
    cell, op = case.cell, case.cell.kind.upper()
    if work != "forward":
        raise UsageError("ONNX Runtime has no gradients")
    if case.dtype != np.float32:
        raise UsageError(f"ONNX Runtime computes a {op} in float32 only")
    if (
        op not in DEFAULT_ACTIVATIONS
        or cell.layers > 1
        or cell.projection
        or cell_of(node_of(op, cell)) != cell
    ):
        raise UsageError(f"ONNX has no {cell}")
    constants = as_convention("onnx").from_canonical(cell, case.params)
    feeds = {"X": case["x"].copy()} | {
        f"initial_{k}": case[f"{k}0"][None].copy() for k in cell.state
    }
    session = _session(cell, case.sizes.H, constants, feeds, threads)

    def call() -> Any:
        return session.run(None, feeds)

    return Job(call, lambda: outputs(case, [v[:, 0] if v.ndim == 4 else v[0] for v in call()]))


def _session(cell: Any, H: int, constants: Any, feeds: Any, threads: int) -> Any:
    node, op = node_of(cell.kind.upper(), cell), cell.kind.upper()
    tensor = helper.np_dtype_to_tensor_dtype(np.dtype("float32"))
    names = ["X", "W", "R", "B", "", *(f"initial_{k}" for k in cell.state)]
    outs = ["Y", *(f"Y_{k}" for k in cell.state)]
    graph = helper.make_graph(
        [helper.make_node(op, names, outs, hidden_size=H, **node.attributes)],
        "gatecheck",
        [helper.make_tensor_value_info(k, tensor, v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info(k, tensor, [None] * (4 if k == "Y" else 3)) for k in outs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", node.opset)], ir_version=node.ir_version
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _FATAL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
