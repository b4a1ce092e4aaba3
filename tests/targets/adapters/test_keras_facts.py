"""Facts about Keras itself that the adapter relies on or works around."""

import numpy as np
import pytest
import torch

from gatecheck.targets.adapters.keras import adapt

import keras  # isort: skip  # after the adapter, which chooses the backend


def make_layer(kind, **options):
    """Return a layer, with the same weights each time, and x ``(2, 4, 3)``."""
    rng = np.random.default_rng(5)
    layer = getattr(keras.layers, kind)(2, return_sequences=True, return_state=True, **options)
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    layer.build((2, None, 3))
    layer.set_weights([rng.standard_normal(v.shape) for v in layer.trainable_variables])
    return layer, x


def outputs(layer, x, **given):
    return [np.asarray(v.detach()) for v in layer(x, **given)]


KINDS = pytest.mark.parametrize("kind", ["SimpleRNN", "GRU", "LSTM"])


@KINDS
def test_the_refusal_of_an_empty_sequence_is_keras_own(kind):
    layer, x = make_layer(kind)
    with pytest.raises(IndexError, match="out of bounds for dimension 1 with size 0"):
        layer(x[:, :0])


@KINDS
def test_a_mask_repeats_the_last_output_or_gives_zero(kind):
    """Before the first unmasked step an output is zero, whatever the initial state.

    The state is held in any case.
    """
    mask = torch.tensor([[False, True, False, False], [True, True, True, True]])
    layer, x = make_layer(kind)
    states = [torch.full((2, 2), 0.5) for _ in range(1 + (kind == "LSTM"))]
    y, *final = outputs(layer, x, mask=mask, initial_state=states)
    one, *after_one = outputs(layer, x[:1, 1:2], initial_state=[s[:1] for s in states])
    np.testing.assert_array_equal(y[0], np.stack([np.zeros(2), y[0, 1], y[0, 1], y[0, 1]]))
    for got, want in zip([y[:1, 1:2], *(s[:1] for s in final)], [one, *after_one], strict=True):
        # Another loop runs without a mask: roundings of numbers up to 1.
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    zeroed, _ = make_layer(kind, zero_output_for_mask=True)
    np.testing.assert_array_equal(
        outputs(zeroed, x, mask=mask, initial_state=states)[0], np.where(mask[..., None], y, 0)
    )


@KINDS
def test_go_backwards_keeps_computation_order(kind):
    (forwards, x), (backwards, _) = make_layer(kind), make_layer(kind, go_backwards=True)
    for got, want in zip(outputs(backwards, x), outputs(forwards, x[:, ::-1].copy()), strict=True):
        np.testing.assert_array_equal(got, want)


@KINDS
def test_a_stateful_layer_goes_on_where_it_ended(kind):
    """Two parts are the whole, without passing a state; a reset starts again."""
    (stateless, x), (stateful, _) = make_layer(kind), make_layer(kind, stateful=True)
    whole = outputs(stateless, x)
    for _ in range(2):
        first, second = outputs(stateful, x[:, :1]), outputs(stateful, x[:, 1:])
        for got, want in zip(
            [np.concatenate([first[0], second[0]], 1), *second[1:]], whole, strict=True
        ):
            # Products of matrices of other heights: roundings of numbers up to 1.
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
        assert abs(outputs(stateful, x)[0] - whole[0]).max() > 1e-2, (
            "it has started again by itself"
        )
        stateful.reset_state()


def test_the_unit_forget_bias_is_an_initial_value_and_nothing_else():
    """It is part of the trainable bias.

    A layer without it and of the same weights is the same function.
    """
    H, built = 2, {}
    for unit in (True, False):
        layer = keras.layers.LSTM(H, unit_forget_bias=unit)
        layer.build((None, None, 3))
        built[unit] = np.asarray(layer.cell.bias.value.detach())
    np.testing.assert_array_equal(built[True], [0] * H + [1] * H + [0] * 2 * H)
    np.testing.assert_array_equal(built[False], np.zeros(4 * H))
    (with_it, x), (without, _) = make_layer("LSTM"), make_layer("LSTM", unit_forget_bias=False)
    for got, want in zip(outputs(with_it, x), outputs(without, x), strict=True):
        np.testing.assert_array_equal(got, want)


@KINDS
def test_no_bias_equals_zero_bias(kind):
    bare, x = make_layer(kind, use_bias=False)
    biased, _ = make_layer(kind)
    biased.set_weights(
        [
            *(np.asarray(v.value.detach()) for v in bare.trainable_variables),
            np.zeros(biased.trainable_variables[2].shape),
        ]
    )
    for got, want in zip(outputs(bare, x), outputs(biased, x), strict=True):
        np.testing.assert_array_equal(got, want)


def test_keras_multiplies_float64_in_float32():
    """keras-team/keras#23704.

    When this fails, `ROUNDED` and the adapter's choice of dtypes can be removed.
    """
    a = np.random.default_rng(0).standard_normal((3, 3))
    got = keras.ops.matmul(torch.from_numpy(a), torch.from_numpy(a))
    assert got.dtype == torch.float32
    assert 1e-9 < abs(np.asarray(got) - a @ a).max() < 1e-6
    assert (
        adapt("SimpleRNN").dtypes
        == adapt("GRU", "gru-before").dtypes
        == adapt("LSTMCell").dtypes
        == ("float32",)
    )
    assert adapt("GRU").dtypes == adapt("LSTM").dtypes == ("float32", "float64")


def test_in_float64_pytorch_takes_the_slope_of_a_hard_sigmoid_from_float32():
    """The reason why a cell with hard gates is not audited in float64 on PyTorch."""
    a = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    keras.activations.hard_sigmoid(a).backward()
    assert a.grad.item() == float(np.float32(1 / 6)) != 1 / 6
    assert adapt("LSTM", "lstm-hard6").dtypes == ("float32",)


def test_default_stack_rounds_float64_to_float32():
    """The reason why the adapter makes StackedRNNCells itself.

    RNN gives it the default dtype, whatever its own and that of the cells.
    """
    cells = [keras.layers.GRUCell(2, dtype="float64") for _ in range(2)]
    left = keras.layers.RNN(cells, dtype="float64")
    assert (left.compute_dtype, left.cell.compute_dtype) == ("float64", "float32")
    x = np.random.default_rng(0).standard_normal((2, 3, 3))
    exact = keras.layers.RNN(keras.layers.StackedRNNCells(cells, dtype="float64"), dtype="float64")
    error = abs(np.asarray((left(x) - exact(x)).detach())).max()
    assert 1e-10 < error < 1e-6


def test_keras_crashes_unrolled_backwards_with_mask():
    layer, x = make_layer("GRU", unroll=True, go_backwards=True)
    with pytest.raises(AttributeError, match="'tuple' object has no attribute 'shape'"):
        layer(x, mask=torch.ones(2, 4, dtype=torch.bool))
