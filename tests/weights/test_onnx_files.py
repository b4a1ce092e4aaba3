"""Recurrent nodes of ONNX files are read as layers with weights."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import as_cell
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import WeightsFileError
from gatecheck.weights import load, read_arrays
from gatecheck.weights.onnx_nodes import uncouple

D, H = 3, 4


OPTIONS = {
    "rnn-relu": {"activations": ["Relu"]},
    "gru": {"linear_before_reset": 1},
    "gru-before": {},
    "lstm": {"direction": "reverse"},
    "lstm-peepholes": {},
    "lstm-coupled": {"input_forget": 1},
    "gru-hard5": {"linear_before_reset": 1, "activations": ["HardSigmoid", "Tanh"]},
}


def saved(path, cell, weights, **options):
    """Save a model of one node, with its weights and another array as initializers."""
    onnx = pytest.importorskip("onnx")
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    inputs = ["X", "w", "r", "b", *(["", "", "", "p"] if "P" in weights else [])]
    node = helper.make_node(
        cell.kind.upper(), inputs, ["Y"], name="/enc/cell", hidden_size=H, **options
    )
    ends = [
        helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, shape)
        for k, shape in (("X", [None, None, D]), ("Y", None))
    ]
    own = [array(a, k.lower()) for k, a in weights.items()]
    graph = helper.make_graph(
        [node], "g", ends[:1], ends[1:], [*own, array(np.ones((2, 2)), "other")]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


@pytest.mark.parametrize("name", OPTIONS)
def test_a_node_of_onnx(tmp_path, name, make_case, assert_same_weights, compute_outputs):
    runtime = pytest.importorskip("onnxruntime")
    case = make_case(name, "float32")
    weights = CONVENTIONS["onnx"].from_canonical(case.cell, case.params)
    weights = uncouple(weights) if case.cell.coupled else weights
    path = saved(tmp_path / "m.onnx", case.cell, weights, **OPTIONS[name])
    layer = load(path)
    backwards = name == "lstm"
    assert (layer.label, layer.convention, layer.reverse) == (
        "enc.cell" + ".reverse" * backwards,
        "onnx",
        backwards,
    )
    assert_same_weights(layer, case)
    assert set(read_arrays(path)) == {*(f"/enc/cell/{k}" for k in weights), "other"}
    y = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"X": case["x"]}
    )[0][:, 0]
    turn = slice(None, None, -1 if backwards else 1)
    np.testing.assert_allclose(compute_outputs(layer, case["x"][turn])[turn], y, atol=3e-5)
    with pytest.raises(
        WeightsFileError,
        match=r"enc\.cell is a .* according to the file, but should be a rnn-sigmoid",
    ):
        load(path, cell="rnn-sigmoid")


def test_halves_and_nodes_that_no_cell_of_ours_computes(tmp_path, make_case):
    case = make_case("gru", "float32")
    weights = {
        k: a.astype(np.float16)
        for k, a in CONVENTIONS["onnx"].from_canonical(case.cell, case.params).items()
    }
    layer = load(saved(tmp_path / "m.onnx", case.cell, weights))
    assert layer.cell == as_cell("gru-before")
    np.testing.assert_array_equal(
        layer.params["U"][:, H : 2 * H], -weights["R"][0, :H].T.astype(float)
    )
    saved(tmp_path / "m.onnx", case.cell, weights, clip=1.0)
    with pytest.raises(
        WeightsFileError, match="/enc/cell was left out: it clips the arguments of its activations"
    ):
        load(tmp_path / "m.onnx")
