"""Check that the entry `tflite` reproduces TensorFlow Lite's LSTM.

It is UNIDIRECTIONAL_SEQUENCE_LSTM. In an environment with ``pip install tensorflow-cpu .``, from
the repository's root: ``python reports/conventions/tflite_check.py``
"""

from __future__ import annotations

import flatbuffers
import numpy as np
import tensorflow as tf
from against import compare_with_reference
from tensorflow.lite.python import schema_py_generated as schema

from gatecheck._util.typing import Array
from gatecheck.cases import Case

CELLS = [
    "lstm",
    "lstm-peepholes",
    "lstm-coupled",
    "lstm-clip0.5",
    "lstm-proj4",
    "lstm-peepholes-coupled-clip0.75-proj4",
]
GATES = ("input", "forget", "cell", "output")
# The operator's inputs in order, as lstm_shared.h numbers them.
INPUTS = [
    "x",
    *(f"input_to_{k}_weights" for k in GATES),
    *(f"recurrent_to_{k}_weights" for k in GATES),
]
INPUTS += [
    *(f"cell_to_{k}_weights" for k in ("input", "forget", "output")),
    *(f"{k}_gate_bias" for k in GATES),
]
INPUTS += ["projection_weights", "projection_bias", "h", "c"]


def model(case: Case, arrays: dict[str, Array]) -> bytes:
    """Return a model of that one operator, with variables for the states.

    Weights are constants.
    """
    T, B, _, H = case.sizes
    activations = {
        "x": case["x"],
        "h": case["h0"],
        "c": case["c0"],
        "y": np.zeros((T, B, case.cell.width(H)), np.float32),
    }
    buffers, tensors = [schema.BufferT()], []
    for name, a in (arrays | activations).items():
        buffers.append(
            schema.BufferT(data=np.frombuffer(a.tobytes(), np.uint8) if name in arrays else None)
        )
        state, buffer = name in ("h", "c"), len(buffers) - 1
        tensors.append(
            schema.TensorT(
                shape=a.shape,
                type=schema.TensorType.FLOAT32,
                buffer=buffer,
                name=name,
                isVariable=state,
            )
        )
    at = {tensor.name: k for k, tensor in enumerate(tensors)}
    builtin = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    options = schema.UnidirectionalSequenceLSTMOptionsT(
        fusedActivationFunction=schema.ActivationFunctionType.TANH,
        cellClip=case.cell.clip or 0.0,
        timeMajor=True,
    )
    kind = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    operator = schema.OperatorT(
        inputs=[at.get(k, -1) for k in INPUTS],
        outputs=[at["y"]],
        builtinOptionsType=kind,
        builtinOptions=options,
    )
    graph = schema.SubGraphT(
        tensors=tensors, inputs=[at["x"]], outputs=[at["y"]], operators=[operator]
    )
    codes = [schema.OperatorCodeT(builtinCode=builtin, deprecatedBuiltinCode=builtin)]
    builder = flatbuffers.Builder()
    builder.Finish(
        schema.ModelT(version=3, operatorCodes=codes, subgraphs=[graph], buffers=buffers).Pack(
            builder
        ),
        b"TFL3",
    )
    return bytes(builder.Output())


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the output, and the states that it leaves in its variables."""
    interpreter = tf.lite.Interpreter(model_content=model(case, arrays), num_threads=1)
    interpreter.allocate_tensors()
    at = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    for name, key in (("x", "x"), ("h", "h0"), ("c", "c0")):
        interpreter.set_tensor(at[name], case[key])
    interpreter.invoke()
    return {
        name: interpreter.get_tensor(at[k]) for name, k in (("y", "y"), ("hT", "h"), ("cT", "c"))
    }


if __name__ == "__main__":
    compare_with_reference("tflite", CELLS, compute, tf.__version__)
