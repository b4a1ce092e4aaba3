"""The engine ONNX Runtime, on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.onnx.models import adapt_node
from gatecheck.targets.adapters.onnx.operators import Engine, Feeds, ModelFunction, OnnxLayer

try:
    import onnxruntime
except ImportError as error:
    raise MissingExtraError(
        'auditing with ONNX Runtime needs onnxruntime: pip install "gatecheck[onnx]"'
    ) from error

TARGETS = [
    *(
        ("RNN", None),
        ("RNN", "rnn-relu"),
        ("RNN", "rnn-sigmoid"),
        ("GRU", None),
        ("GRU", "gru-before"),
    ),
    *(("LSTM", None), ("LSTM", "lstm-peepholes"), ("LSTM", "lstm-coupled")),
]
"""Operators, each with its cell where an operator can be more than one."""

EMPTY_SEQUENCE_REASON = (
    "ONNX Runtime returns zero states for T = 0 on purpose "
    "(microsoft/onnxruntime#749: no calculation for sequence length 0; "
    "#28052: it zero-fills Y and Y_h)"
)

_CHILD_CODE = """
import json, sys, numpy, onnxruntime
arrays = json.loads(sys.argv[1]).items()
feeds = {name: numpy.zeros(shape, dtype) for name, (shape, dtype) in arrays}
session = onnxruntime.InferenceSession(
    sys.stdin.buffer.read(), providers=["CPUExecutionProvider"]
)
session.run(None, feeds)
"""

_LOG_FATAL = 4


def _load_model(model: Any) -> ModelFunction:
    options = onnxruntime.SessionOptions()
    # Cases are small: on a busy machine a second thread costs ten times what it saves.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL  # a refusal raises an exception too
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(feeds: Feeds) -> Sequence[Array]:
        if not feeds["X"].size:
            _check_no_crash(model, feeds)
        outputs: Sequence[Array] = session.run(None, feeds)
        return outputs

    return run


_CRASHES: dict[Any, str | None] = {}


def _check_no_crash(model: Any, feeds: Feeds) -> None:
    """Check that a call without steps or rows returns.

    In version 1.32 some such calls end the process (std::terminate), which a caller cannot catch.
    So each kind of such a call is first tried in a separate process.
    """
    (node,) = model.graph.node
    attributes = (
        a.SerializeToString(deterministic=True) for a in node.attribute if a.name != "hidden_size"
    )
    kind = (
        node.op_type,
        *attributes,
        *((k, tuple(n == 0 for n in v.shape)) for k, v in feeds.items()),
    )
    if kind not in _CRASHES:
        shapes = json.dumps({k: (v.shape, v.dtype.name) for k, v in feeds.items()})
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD_CODE, shapes],
            input=model.SerializeToString(),
            capture_output=True,
            check=False,
        )
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        # A negative status is a signal; any other error is raised again by the call here.
        _CRASHES[kind] = (
            (lines[-1] if lines else f"signal {-child.returncode}")
            if child.returncode < 0
            else None
        )
    if (death := _CRASHES[kind]) is not None:
        raise RuntimeError(f"ONNX Runtime would end the process: {death}")


ENGINE = Engine(
    "onnxruntime",
    ("onnx", "onnxruntime"),
    ("float32",),
    _load_model,
    {op: {"empty_sequence": EMPTY_SEQUENCE_REASON} for op in ("RNN", "LSTM")},
)


def adapt(name: str, cell: str | None = None) -> OnnxLayer:
    """Return an operator, or a node in a file, run by ONNX Runtime.

    See :func:`gatecheck.targets.adapters.onnx.models.adapt_node`.
    """
    return adapt_node(ENGINE, name, cell)
