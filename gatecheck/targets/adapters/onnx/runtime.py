"""The engine ONNX Runtime, on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.onnx.models import adapted
from gatecheck.targets.adapters.onnx.operators import Engine, Feeds, Layer, Run

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

ZEROED = (
    "ONNX Runtime returns zero states for T = 0 on purpose "
    "(microsoft/onnxruntime#749: no calculation for sequence length 0; "
    "#28052: it zero-fills Y and Y_h)"
)

_CHILD = """
import json, sys, numpy, onnxruntime
arrays = json.loads(sys.argv[1]).items()
feeds = {name: numpy.zeros(shape, dtype) for name, (shape, dtype) in arrays}
session = onnxruntime.InferenceSession(
    sys.stdin.buffer.read(), providers=["CPUExecutionProvider"]
)
session.run(None, feeds)
"""

_FATAL = 4


def _load(model: Any) -> Run:
    options = onnxruntime.SessionOptions()
    # Cases are small: on a busy machine a second thread costs ten times what it saves.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL  # a refusal raises an exception too
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(feeds: Feeds) -> Sequence[Array]:
        if not feeds["X"].size:
            _survives(model, feeds)
        outputs: Sequence[Array] = session.run(None, feeds)
        return outputs

    return run


_DEATHS: dict[Any, str | None] = {}


def _survives(model: Any, feeds: Feeds) -> None:
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
    if kind not in _DEATHS:
        shapes = json.dumps({k: (v.shape, v.dtype.name) for k, v in feeds.items()})
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, shapes],
            input=model.SerializeToString(),
            capture_output=True,
            check=False,
        )
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        # A negative status is a signal; any other error is raised again by the call here.
        _DEATHS[kind] = (
            (lines[-1] if lines else f"signal {-child.returncode}")
            if child.returncode < 0
            else None
        )
    if (death := _DEATHS[kind]) is not None:
        raise RuntimeError(f"ONNX Runtime would end the process: {death}")


ENGINE = Engine(
    "onnxruntime",
    ("onnx", "onnxruntime"),
    ("float32",),
    _load,
    {op: {"empty_sequence": ZEROED} for op in ("RNN", "LSTM")},
)


def adapt(name: str, cell: str | None = None) -> Layer:
    """Return an operator, or a node in a file, run by ONNX Runtime.

    See :func:`gatecheck.targets.adapters.onnx.models.adapted`.
    """
    return adapted(ENGINE, name, cell)
