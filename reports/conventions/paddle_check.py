"""Check that `paddle` and `paddle-cell` reproduce PaddlePaddle's layers.

They are SimpleRNN, GRU and LSTM, and their cells. In an environment with ``pip install paddlepaddle
.``, from the repository's root: ``python reports/conventions/paddle_check.py``
"""

from __future__ import annotations

import numpy as np
import paddle
from against import compare_with_reference

from gatecheck._util.typing import Array
from gatecheck.cases import Case

CELLS = [
    "rnn",
    "rnn-relu",
    "gru",
    "lstm",
    "gru-layers2",
    "lstm-bidirectional",
    "lstm-layers2-bidirectional",
]

SINGLE_CELLS = ["rnn", "rnn-relu", "gru", "lstm", "lstm-proj4"]


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of one layer on the CPU."""
    cell, (_, _, D, H) = case.cell, case.sizes
    more = {"activation": cell.activation} if cell.kind == "rnn" else {}
    make = {"rnn": paddle.nn.SimpleRNN, "gru": paddle.nn.GRU, "lstm": paddle.nn.LSTM}[cell.kind]
    layer = make(
        D, H, cell.layers, direction="bidirect" if cell.bidirectional else "forward", **more
    )
    if len(layer.parameters()) != len(arrays):
        raise SystemExit(
            f"Paddle has the parameters {sorted(layer.state_dict())}, the entry {sorted(arrays)}"
        )
    for name, array in arrays.items():
        getattr(layer, name).set_value(array)
    states = [
        paddle.to_tensor(case[f"{k}0"].reshape(len(cell.param_suffixes), *case[f"{k}0"].shape[-2:]))
        for k in cell.state
    ]
    with paddle.no_grad():
        y, last = layer(
            paddle.to_tensor(np.swapaxes(case["x"], 0, 1)),
            tuple(states) if len(states) > 1 else states[0],
        )
    last = last if len(states) > 1 else (last,)
    results = {"y": np.swapaxes(y.numpy(), 0, 1)}
    return results | {
        f"{k}T": v.numpy().reshape(case[f"{k}0"].shape)
        for k, v in zip(cell.state, last, strict=True)
    }


def compute_steps(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of a cell, step by step."""
    cell, (_, _, D, H) = case.cell, case.sizes
    more = (
        {"activation": cell.activation}
        if cell.kind == "rnn"
        else {"proj_size": cell.projection}
        if cell.projection
        else {}
    )
    make = {"rnn": paddle.nn.SimpleRNNCell, "gru": paddle.nn.GRUCell, "lstm": paddle.nn.LSTMCell}[
        cell.kind
    ]
    layer = make(D, H, **more)
    if set(layer.state_dict()) != set(arrays):
        raise SystemExit(
            f"Paddle has the parameters {sorted(layer.state_dict())}, the entry {sorted(arrays)}"
        )
    for name, array in arrays.items():
        getattr(layer, name).set_value(array)
    states, y = [paddle.to_tensor(case[f"{k}0"]) for k in cell.state], []
    with paddle.no_grad():
        for x_t in case["x"]:
            out, new = layer(paddle.to_tensor(x_t), tuple(states) if len(states) > 1 else states[0])
            states = list(new) if len(states) > 1 else [new]
            y.append(out.numpy())
    return {"y": np.stack(y)} | {
        f"{k}T": s.numpy() for k, s in zip(cell.state, states, strict=True)
    }


if __name__ == "__main__":
    paddle.set_default_dtype("float64")
    compare_with_reference("paddle", CELLS, compute, paddle.__version__, "float64")
    compare_with_reference(
        "paddle-cell", SINGLE_CELLS, compute_steps, paddle.__version__, "float64"
    )
