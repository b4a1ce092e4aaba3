"""Layers of all conventions are found by names and shapes, ambiguities reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.cases import draw
from gatecheck.cells import CELLS, Sizes, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import UsageError, WeightsFileError
from gatecheck.weights import find_layers, load
from gatecheck.weights.search import CONVENTION_CELLS, REQUIRED_NAMES

D, H = 3, 4


def kind_of(cell):
    return "gru-before" if cell.reset == "before" else cell.kind


PLAIN = [cell for cell in CELLS.values() if cell.activation == "tanh"]
EVERY = [
    (cell, convention)
    for convention in CONVENTIONS.values()
    for cell in PLAIN
    if kind_of(cell) in convention.layouts
]

# Required names of layers whose arrays could be a dense layer's.
REQUIRED_SCOPES = {
    ("haiku", "rnn"): "vanilla_rnn",
    ("haiku", "lstm"): "lstm_1",
    ("tensorflow1", "rnn"): "basic_rnn_cell",
    ("tensorflow1", "lstm"): "lstm_cell",
}

# Cells that arrays alone do not distinguish.
AMBIGUOUS = {("onnx", kind): {"gru", "gru-before"} for kind in ("gru", "gru-before")}


def params_of(cell, convention, seed=0):
    params = draw(cell, Sizes(1, 1, D, H), seed=seed, dtype="float32").params
    return {
        k: np.zeros_like(a) if k in convention.unsupported_params(cell) else a
        for k, a in params.items()
    }


def arrays_of(cell, convention, prefix, seed=0):
    return {
        f"{prefix}{k}": a
        for k, a in convention.from_canonical(cell, params_of(cell, convention, seed)).items()
    }


def dense(prefix=""):
    """Return arrays of layers that are not recurrent, whose sizes fit by chance."""
    names = {
        "kernel": (H + D, 4 * H),
        "bias": (4 * H,),
        "linear/w": (D, H),
        "linear/b": (H,),
        "linear_1/w": (H, H),
        "linear_1/b": (H,),
    }
    return {f"{prefix}head/{k}": np.ones(shape, "float32") for k, shape in names.items()} | {
        f"{prefix}head/steps": np.array(7)
    }


@pytest.mark.parametrize(("cell", "convention"), EVERY, ids=[f"{a}-{b.name}" for a, b in EVERY])
def test_every_convention_is_found_among_other_arrays(cell, convention):
    key = (convention.name, kind_of(cell))
    scope = f"model/{REQUIRED_SCOPES.get(key, 'enc')}"
    arrays = dense("model/") | arrays_of(cell, convention, f"{scope}/")
    layers = {one.cell.name: one for one in find_layers(arrays)}
    declared = CONVENTION_CELLS.get(key, cell)
    layer = layers[replace(declared, forget_bias=0.0).name]
    assert set(layers) == AMBIGUOUS.get(key, {layer.cell.name})
    # Paddle's layouts are those of PyTorch.
    assert layer.convention == {"paddle": "pytorch", "paddle-cell": "pytorch-cell"}.get(
        convention.name, convention.name
    )
    assert (layer.name, layer.D, layer.H) == (scope.replace("/", "."), D, H)
    expected = {k: a.astype(float) for k, a in params_of(cell, convention).items()}
    if declared.forget_bias:
        block(cell, expected["b"], "f")[...] += declared.forget_bias
    assert any(
        "1 was added to the bias of its forget gate" in note for note in layer.notes
    ) == bool(declared.forget_bias)
    assert set(layer.params) == set(expected)
    for name, a in expected.items():
        np.testing.assert_array_equal(layer.params[name], a)
    # With cell and convention given, exactly this layer is found, under any name.
    (explicit,) = (
        one
        for one in find_layers(arrays, cell=cell, convention=convention)
        if one.name == layer.name
    )
    assert (explicit.cell, explicit.convention) == (cell, convention.name)


@pytest.mark.parametrize("write", ["{}:0", "{}.value", "['{}']", "|{}"])
def test_names_as_libraries_decorate_them(write):
    arrays = {
        write.format(k): a
        for k, a in arrays_of(as_cell("gru"), CONVENTIONS["keras"], "enc/").items()
    }
    (layer,) = find_layers(
        {k.replace("/", "']['") if "[" in k else k: a for k, a in arrays.items()}
    )
    assert (layer.name, layer.cell) == ("enc", as_cell("gru"))


def test_dense_layers_are_not_recurrent():
    assert find_layers(dense()) == []
    assert find_layers(dense(), cell="lstm") == []
    assert set(REQUIRED_NAMES) == set(REQUIRED_SCOPES)


def test_a_user_defined_convention(tmp_path):
    mine = gk.Convention(
        "mine",
        {"lstm": gk.Layout("fiog", {"W{gate}": "U; W", "b{gate}": "b"}, gate_names={"g": "c"})},
        rows=True,
        vectors="column",
    )
    np.savez(tmp_path / "w.npz", **arrays_of(as_cell("lstm"), mine, "net."))
    layer = load(tmp_path / "w.npz", convention=mine)
    assert (layer.label, layer.cell, layer.convention) == ("net", as_cell("lstm"), "mine")
    np.testing.assert_array_equal(layer.params["U"], params_of(as_cell("lstm"), mine)["U"])
    with pytest.raises(
        WeightsFileError, match="no recurrent layer that gatecheck can read: its arrays are"
    ):
        load(tmp_path / "w.npz")


@pytest.mark.parametrize(
    "name", ["lstm-proj3", "lstm-peepholes", "lstm-peepholes-proj2", "lstm-proj6"]
)
@pytest.mark.parametrize("convention", ["canonical", "onednn", "tflite"])
def test_options_that_have_arrays_of_their_own(name, convention):
    (layer,) = find_layers(arrays_of(as_cell(name), CONVENTIONS[convention], "a."))
    assert layer.cell == as_cell(name)
    for k, a in params_of(as_cell(name), CONVENTIONS[convention]).items():
        np.testing.assert_array_equal(layer.params[k], a)


@pytest.mark.parametrize(
    ("convention", "labels"),
    [
        ("pytorch", ["l0", "l0.reverse", "l1", "l1.reverse"]),
        ("canonical", [".", "reverse", "l1", "l1.reverse"]),
    ],
)
def test_the_layers_and_directions_of_a_network(convention, labels):
    cell = as_cell("lstm-layers2-bidirectional")
    layers = find_layers(arrays_of(cell, CONVENTIONS[convention], ""))
    assert [one.label for one in layers] == labels
    for one, tag in zip(layers, cell.param_suffixes, strict=True):
        assert one.reverse == ("reverse" in tag)
        np.testing.assert_array_equal(
            one.params["U"], params_of(cell, CONVENTIONS[convention])[f"U{tag}"]
        )


def test_both_directions_in_one_array_and_by_name():
    cell = as_cell("rnn-bidirectional")
    for convention, labels in (("onnx", ["n", "n.reverse"]), ("flax", ["n", "n.reverse"])):
        layers = find_layers(arrays_of(cell, CONVENTIONS[convention], "n/"))
        assert [one.label for one in layers] == labels
        for one, tag in zip(layers, cell.param_suffixes, strict=True):
            np.testing.assert_array_equal(
                one.params["U"], params_of(cell, CONVENTIONS[convention])[f"U{tag}"]
            )


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "w.npz", **arrays)
    return tmp_path / "w.npz"


def torch_like(prefix="", name="lstm", **changed):
    return arrays_of(as_cell(name), CONVENTIONS["pytorch"], prefix) | changed


def test_a_choice_lists_what_is_there(tmp_path):
    path = saved(tmp_path, **torch_like("encoder.lstm."), **torch_like("decoder/gru/", "gru"))
    listed = (
        r"encoder.lstm.l0 \(lstm, D=3, H=4, as in pytorch\), "
        r"decoder.gru.l0 \(gru, D=3, H=4, as in pytorch\)"
    )
    with pytest.raises(UsageError, match=listed + "; say --layer NAME"):
        load(path)
    with pytest.raises(UsageError, match=f"has no layer middle; it holds {listed}"):
        load(path, layer="middle")
    for layer in ("encoder.lstm", "encoder/lstm", "encoder.lstm.l0"):
        assert load(path, layer=layer).cell == as_cell("lstm")
    assert load(path, cell="gru").name == "decoder.gru"
    for wrong in ({"cell": "gro"}, {"convention": "torch"}):
        with pytest.raises(UsageError, match="there is no"):
            load(path, **wrong)
    with pytest.raises(WeightsFileError, match="can read as a rnn in the convention keras"):
        load(path, cell="rnn", convention="keras")


def test_ambiguous_arrays_need_a_cell(tmp_path):
    arrays = {
        k: a
        for k, a in arrays_of(as_cell("gru"), CONVENTIONS["canonical"], "a/").items()
        if k[-1] in "WU"
    }
    path = saved(tmp_path, **arrays)
    with pytest.raises(
        UsageError,
        match="those of a gru as in canonical, or a gru-before as in canonical; "
        "say --cell or --convention",
    ):
        load(path)
    assert load(path, cell="gru").params["c_n"].shape == (H,)
    assert load(path, cell="gru-hard6").cell == as_cell("gru-hard6")


def test_a_missing_bias_is_noted(tmp_path):
    arrays = torch_like("a.")
    del arrays["a.bias_hh_l0"]
    layer = load(saved(tmp_path, **arrays))
    assert layer.notes == ("a.bias_hh_l0: not in the file, and taken as zero",)
    np.testing.assert_array_equal(layer.params["b"], arrays["a.bias_ih_l0"])
    gates = arrays_of(as_cell("lstm"), CONVENTIONS["flax"], "")
    del gates["hf/bias"]  # a single missing bias is damage
    assert find_layers(gates) == []


NO_LSTM = {"a.weight_hh_l0": np.ones(0)}

BAD_WEIGHTS = {
    "nan": (
        {"a.weight_hh_l0": np.where(np.eye(16, 4), np.nan, 1)},
        "U of a.l0 in .*w.npz is NaN or infinite in 4 of 64 entries",
    ),
    "shape": (
        {"a.bias_ih_l0": np.ones(15)},
        r"a.bias_ih_l0 \(15,\), .* are named as in pytorch, but fit none of its cells",
    ),
    "square": ({"a.weight_hh_l0": np.ones((14, 4))}, "fit none of its cells"),
    "flat": ({"a.weight_ih_l0": np.ones(48)}, "fit none of its cells"),
    "scalar": ({"a.weight_hh_l0": np.ones(())}, "fit none of its cells"),
    "empty": ({"a.weight_ih_l0": np.ones((16, 0))}, "fit none of its cells"),
    "quantized": ({"a.weight_ih_l0": np.ones((16, 3), "int8")}, r"a.weight_ih_l0 int8 \(16, 3\)"),
    "complex": (
        {"a.weight_ih_l0": np.ones((16, 3), "complex64")},
        r"a.weight_ih_l0 complex64 \(16, 3\)",
    ),
    "of three": (
        {f"b/{k}": np.ones((3, 4, 4)) for k in "WR"} | NO_LSTM,
        r"b.W \(3, 4, 4\), b.R \(3, 4, 4\) are named as in onnx",
    ),
    "twice": ({"a/weight_ih_l0": np.ones((16, 3))}, "in separators only: a.weight_ih_l0"),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_invalid_weights(tmp_path, name):
    changed, message = BAD_WEIGHTS[name]
    with pytest.raises(WeightsFileError, match=message) as raised:
        load(saved(tmp_path, **torch_like("a.", **changed)))
    assert "\n" not in str(raised.value)
