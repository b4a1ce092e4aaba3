"""Check that the entry `mlx` reproduces MLX's RNN, GRU and LSTM.

It uses MLX's build for the CPU. In an environment with ``pip install "mlx[cpu]" .``, from the
repository's root: ``python reports/conventions/mlx_check.py``
"""

from __future__ import annotations

from importlib.metadata import version

import mlx.core as mx
import numpy as np
from against import compare_with_reference
from mlx import nn

from gatecheck._util.typing import Array
from gatecheck.cases import Case

CELLS = ["rnn", "rnn-relu", "rnn-sigmoid", "gru", "lstm"]


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of one layer.

    MLX returns the states of every step, and so the last one is the final state.
    """
    cell, (_, _, D, H) = case.cell, case.sizes
    more = (
        {"nonlinearity": {"tanh": mx.tanh, "relu": nn.relu, "sigmoid": mx.sigmoid}[cell.activation]}
        if cell.kind == "rnn"
        else {}
    )
    layer = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell.kind](D, H, **more)
    layer.load_weights([(name, mx.array(a)) for name, a in arrays.items()], strict=True)
    out = layer(
        mx.array(np.swapaxes(case["x"], 0, 1)), *(mx.array(case[f"{k}0"]) for k in cell.state)
    )
    every = [np.swapaxes(np.array(v), 0, 1) for v in (out if cell.kind == "lstm" else (out,))]
    return {"y": every[0]} | {f"{k}T": v[-1] for k, v in zip(cell.state, every, strict=True)}


if __name__ == "__main__":
    compare_with_reference("mlx", CELLS, compute, version("mlx"))
