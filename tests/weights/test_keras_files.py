"""Files that Keras writes: weights and configuration are read exactly."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from gatecheck.cells import as_cell
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import UsageError
from gatecheck.weights import load

D, H = 3, 4

# NumPy warns about PyTorch's tensors when Keras copies them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


KERAS = {
    "rnn-relu": ("SimpleRNN", {"activation": "relu"}),
    "gru": ("GRU", {}),
    "gru-before": ("GRU", {"reset_after": False}),
    "lstm": ("LSTM", {}),
    "gru-hard6": ("GRU", {"recurrent_activation": "hard_sigmoid"}),
}


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_a_model_of_keras(
    tmp_path, keras, name, suffix, make_case, assert_same_weights, compute_outputs
):
    case = make_case(name, "float32")
    kind, options = KERAS[name]
    layer = getattr(keras.layers, kind)(H, return_sequences=True, name="enc", **options)
    model = keras.Sequential([keras.Input((None, D)), layer, keras.layers.Dense(5)])
    layer.set_weights(list(CONVENTIONS["keras"].from_canonical(case.cell, case.params).values()))
    path = tmp_path / f"model{suffix}"
    if suffix == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    # These files have no configuration that shows the cell.
    plain = suffix == ".weights.h5" and name in ("rnn-relu", "gru-hard6")
    loaded = load(path, cell=name if plain else None)
    assert_same_weights(loaded, case)
    expected = np.asarray(keras.ops.convert_to_numpy(layer(np.swapaxes(case["x"], 0, 1)))).swapaxes(
        0, 1
    )
    # In float32: a few hundred roundings of numbers below one.
    np.testing.assert_allclose(compute_outputs(loaded, case["x"]), expected, atol=3e-5)


def test_both_directions_of_keras_and_cells_that_are_not_ours(tmp_path, keras):
    both = keras.layers.Bidirectional(
        keras.layers.GRU(4, return_sequences=True, use_bias=False, reset_after=False), name="both"
    )
    gelu = keras.layers.LSTM(5, activation="gelu", return_sequences=True, name="strange")
    inner = keras.layers.RNN([keras.layers.LSTMCell(2), keras.layers.LSTMCell(6)], name="stack")
    model = keras.Sequential([keras.Input((None, 3)), both, gelu, inner])
    model.save(tmp_path / "m.keras")
    layers = {
        one.label: one
        for one in (load(tmp_path / "m.keras", layer=label) for label in KERAS_LABELS)
    }
    assert [(one.cell.name, one.D, one.H, one.reverse) for one in layers.values()] == [
        ("gru-before", 3, 4, False),
        ("gru-before", 3, 4, True),
        ("lstm", 5, 2, False),
        ("lstm", 2, 6, False),
    ]
    kernel = keras.ops.convert_to_numpy(both.backward_layer.cell.kernel)
    np.testing.assert_array_equal(layers[KERAS_LABELS[1]].params["W"][:, 8:], kernel[:, 8:])
    with pytest.raises(
        UsageError,
        match=r"layers.lstm.cell: a LSTM with the activations gelu and sigmoid, "
        "which gatecheck does not support",
    ):
        load(tmp_path / "m.keras", layer="layers.lstm.cell")
    # Without a configuration and without biases the GRU may reset before or after.
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(
        UsageError, match="a gru as in keras, or a gru-before as in keras; say --cell"
    ):
        load(tmp_path / "m.weights.h5", layer=KERAS_LABELS[0])
    assert load(
        tmp_path / "m.weights.h5", layer=KERAS_LABELS[0], cell="gru-before"
    ).cell == as_cell("gru-before")


def test_a_user_class_needs_an_explicit_cell(tmp_path, keras):
    class LSTMCell(keras.layers.LSTMCell):  # has the name of one of Keras's classes
        pass

    backwards = keras.layers.LSTM(4, return_sequences=True, go_backwards=True)
    keras.Sequential([keras.Input((None, 3)), backwards, keras.layers.RNN(LSTMCell(5))]).save(
        tmp_path / "m.keras"
    )
    layer = load(tmp_path / "m.keras")
    assert (layer.label, layer.reverse) == ("layers.lstm.cell.reverse", True)
    assert load(tmp_path / "m.keras", layer="layers.rnn.cell", cell="lstm").H == 5
    with pytest.raises(
        UsageError,
        match=r"layers.rnn.cell is not an RNN, GRU or LSTM according to the file; say --cell",
    ):
        load(tmp_path / "m.keras", layer="layers.rnn.cell")


@pytest.mark.parametrize(("version", "cell"), [("2.4.0", "gru-hard5"), ("3.0.1", "gru-hard6")])
def test_the_hard_sigmoid_of_keras_2_is_another(tmp_path, version, cell):
    """The file imitates one of Keras 2, which needs an old Python."""
    own = {
        "name": "enc",
        "units": 4,
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid",
        "reset_after": True,
    }
    config = {
        "class_name": "Sequential",
        "config": {"name": "net", "layers": [{"class_name": "GRU", "config": own}]},
    }
    with pytest.importorskip("h5py").File(tmp_path / "m.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = version, json.dumps(config)
        for name, shape in (("kernel", (3, 12)), ("recurrent_kernel", (4, 12)), ("bias", (2, 12))):
            file[f"model_weights/enc/enc/gru_cell/{name}:0"] = np.ones(shape, "float32")
    assert load(tmp_path / "m.h5").cell == as_cell(cell)


KERAS_LABELS = (
    "layers.bidirectional.forward_layer.cell",
    "layers.bidirectional.backward_layer.cell",
    "layers.rnn.cell.cells.lstm_cell",
    "layers.rnn.cell.cells.lstm_cell_1",
)
