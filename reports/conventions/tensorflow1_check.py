"""Check that the entry `tensorflow1` reproduces tf.compat.v1.nn.rnn_cell.

TensorFlow provides those cells only where Keras 2 is installed. In an environment with ``pip
install tensorflow-cpu tf_keras .``, from the repository's root: ``TF_USE_LEGACY_KERAS=1 python
reports/conventions/tensorflow1_check.py``
"""

from __future__ import annotations

import tensorflow as tf
from against import compare_with_reference

from gatecheck._util.typing import Array
from gatecheck.cases import Case

CELLS = ["rnn", "rnn-relu", "rnn-sigmoid", "gru-before", "lstm", "lstm-forget1"]
v1 = tf.compat.v1


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of one cell under dynamic_rnn.

    It runs in a separate graph and session.
    """
    cell, H = case.cell, case.sizes.H
    with tf.Graph().as_default(), v1.Session() as session:
        if cell.kind == "rnn":
            layer = v1.nn.rnn_cell.BasicRNNCell(H, activation=getattr(tf.nn, cell.activation))
        elif cell.kind == "gru":
            layer = v1.nn.rnn_cell.GRUCell(H)
        else:
            layer = v1.nn.rnn_cell.BasicLSTMCell(H, forget_bias=cell.forget_bias)
        initial = {k: tf.constant(case[f"{k}0"]) for k in cell.state}
        states = v1.nn.rnn_cell.LSTMStateTuple(**initial) if cell.kind == "lstm" else initial["h"]
        y, last = v1.nn.dynamic_rnn(
            layer, tf.constant(case["x"]), initial_state=states, time_major=True
        )
        variables = {
            v.name.split("/", 2)[2].removesuffix(":0"): v for v in layer.trainable_variables
        }
        if variables.keys() != arrays.keys():
            raise SystemExit(
                f"TensorFlow has the variables {sorted(variables)}, the entry {sorted(arrays)}"
            )
        for name, variable in variables.items():
            variable.load(arrays[name], session)
        out = session.run(
            {"y": y} | ({"hT": last.h, "cT": last.c} if cell.kind == "lstm" else {"hT": last})
        )
    return {k: out[k] for k in ("y", *(f"{k}T" for k in cell.state))}


if __name__ == "__main__":
    compare_with_reference("tensorflow1", CELLS, compute, tf.__version__, "float64")
