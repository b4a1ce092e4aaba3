"""Recurrent nodes of ONNX files as layers with weights."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.conventions import CONVENTIONS
from gatecheck.weights import load, read_arrays

D, H = 3, 4


@pytest.mark.parametrize("name", ["rnn-relu", "gru", "gru-before", "lstm", "lstm-peepholes"])
def test_a_node_of_onnx(tmp_path, name, case_of, same_weights, ours):
    onnx, evaluator = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from onnx import helper, numpy_helper

    case = case_of(name, "float32")
    weights = CONVENTIONS["onnx"].spell(case.cell, case.params)
    options = {"linear_before_reset": 1} if name == "gru" else {"activations": ["Relu"]} if name == "rnn-relu" else {}
    inputs = ["X", "w", "r", "b", *(["", "", "", "p"] if "P" in weights else [])]
    node = helper.make_node(case.cell.kind.upper(), inputs, ["Y"], name="/enc/cell", hidden_size=4, **options)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [None, None, 3])],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, k.lower()[0]) for k, a in weights.items()] + [numpy_helper.from_array(np.ones((2, 2)), "other")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    layer = load(path)
    assert (layer.label, layer.convention) == ("enc.cell", "onnx")
    same_weights(layer, case)
    assert set(read_arrays(path)) == {*(f"/enc/cell/{k}" for k in weights), "other"}
    y = evaluator.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"X": case["x"]})[0][:, 0]
    np.testing.assert_allclose(ours(layer, case["x"]), y, atol=3e-5)
    with pytest.raises(Exception, match="as the file says, and no rnn-sigmoid"):
        load(path, cell="rnn-sigmoid")
