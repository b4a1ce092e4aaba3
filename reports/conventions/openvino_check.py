"""Check that the entry `openvino` reproduces OpenVINO's sequence operations.

They are RNNSequence, GRUSequence and LSTMSequence. In an environment with ``pip install openvino
.``, from the repository's root: ``python reports/conventions/openvino_check.py``
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from against import compare_with_reference
from openvino import opset14 as ops

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.conventions import CONVENTIONS

CELLS = [
    "rnn",
    "rnn-relu",
    "rnn-sigmoid",
    "gru",
    "gru-before",
    "lstm",
    "rnn-bidirectional",
    "gru-bidirectional",
    "lstm-bidirectional",
]


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of one sequence operation on the CPU."""
    cell, (T, B, _, H) = case.cell, case.sizes
    openvino = CONVENTIONS["openvino"]
    values = {"x": np.swapaxes(case["x"], 0, 1)} | {
        k: openvino.state_from_canonical(cell, case[f"{k}0"]) for k in cell.state
    }
    # Parameters of the model, since constants would be folded before the CPU's kernel runs.
    inputs = {k: ops.parameter(v.shape, np.float32) for k, v in values.items()}
    states = [inputs[k] for k in cell.state]
    lengths, weights = (
        ops.constant(np.full(B, T, np.int32)),
        [ops.constant(arrays[k]) for k in "WRB"],
    )
    direction = "bidirectional" if cell.bidirectional else "forward"
    operands = (inputs["x"], *states, lengths, *weights, H, direction)
    if cell.kind == "rnn":
        node = ops.rnn_sequence(*operands, activations=[cell.activation])
    elif cell.kind == "gru":
        node = ops.gru_sequence(*operands, linear_before_reset=cell.reset == "after")
    else:
        node = ops.lstm_sequence(*operands)
    core = ov.Core()
    model = core.compile_model(
        ov.Model(list(node.outputs()), list(inputs.values())),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )
    y, *last = model([np.ascontiguousarray(v) for v in values.values()]).values()
    # y is (B, directions, T, H).
    results = {"y": np.moveaxis(y, 2, 0).reshape(T, B, -1)}
    return results | {
        f"{k}T": openvino.state_to_canonical(cell, v) for k, v in zip(cell.state, last, strict=True)
    }


if __name__ == "__main__":
    compare_with_reference("openvino", CELLS, compute, ov.__version__.partition("-")[0])
