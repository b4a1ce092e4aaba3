"""ONNX's own reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.onnx.models import adapt_node
from gatecheck.targets.adapters.onnx.operators import Engine, Feeds, ModelFunction, OnnxLayer

try:
    from onnx.reference import ReferenceEvaluator
except ImportError as error:
    raise MissingExtraError('auditing ONNX needs onnx: pip install "gatecheck[onnx]"') from error

TARGETS = [
    ("RNN", None),
    ("GRU", None),
    ("GRU", "gru-before"),
    ("LSTM", None),
    ("LSTM", "lstm-peepholes"),
]
"""Operators, each with its cell where an operator can be more than one.

The evaluator refuses every activation of an RNN but tanh and affine.
"""

EMPTY_SEQUENCE_REASON = (
    "ONNX's reference evaluator refuses T = 0 "
    "(onnx/reference/ops/op_{}.py: _run_forward stacks the steps, of which NumPy needs one)"
)


def _load_model(model: Any) -> ModelFunction:
    evaluator = ReferenceEvaluator(model)

    def run(feeds: Feeds) -> Sequence[Array]:
        # Its sigmoid is 1 / (1 + exp(-a)), which is right even if exp overflows.
        with np.errstate(over="ignore"):
            outputs: Sequence[Array] = evaluator.run(None, feeds)
        return outputs

    return run


ENGINE = Engine(
    "onnx.reference",
    ("onnx",),
    ("float32", "float64"),
    _load_model,
    {
        op: {"empty_sequence": EMPTY_SEQUENCE_REASON.format(op.lower())}
        for op in ("RNN", "GRU", "LSTM")
    },
)


def adapt(name: str, cell: str | None = None) -> OnnxLayer:
    """Return an operator, or a node in a file, run by the reference evaluator.

    See :func:`gatecheck.targets.adapters.onnx.models.adapt_node`.
    """
    return adapt_node(ENGINE, name, cell)
