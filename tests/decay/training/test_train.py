"""Training: gradients against oracles, the optimizer against the paper, learning."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import CELLS, as_cell
from gatecheck.cells.initializers import uniform
from gatecheck.decay.training import train as training
from gatecheck.decay.training.tasks import TASKS, copying
from gatecheck.decay.training.train import Adam, loss, train
from gatecheck.errors import InputError, UsageError
from gatecheck.oracles.gradcheck import gradcheck

COPYING, ADDING = copying(1, 2), TASKS["adding"]


def network(cell, task, H=2, seed=0):
    rng = np.random.default_rng(seed)
    params = uniform(rng, cell, task.inputs, H)
    return params | {"V": rng.normal(size=(H, task.outputs)), "v": rng.normal(size=task.outputs)}


def check_gradient(cell, task, lag):
    batch = task.draw(np.random.default_rng(1), 2, lag)
    return gradcheck(
        lambda **w: loss(cell, task, w, batch).value,
        network(cell, task),
        lambda d, **w: {name: d * g for name, g in loss(cell, task, w, batch).gradient.items()},
    )


@pytest.mark.parametrize(
    ("name", "task"), [("rnn", COPYING), ("gru", COPYING), ("gru-before", ADDING), ("lstm", ADDING)]
)
def test_the_gradient_of_the_whole_loss(name, task):
    result = check_gradient(as_cell(name), task, 3)
    assert result.verdict == "pass"
    assert result.oracles["complex step"].verdict == "pass"


@pytest.mark.parametrize("wrong", [lambda d: d[::-1], lambda d: d * 1.001])
def test_a_wrong_gradient_is_seen(wrong, monkeypatch):
    backward = training.backward
    monkeypatch.setattr(
        training,
        "backward",
        lambda cell, params, tape, dy, *states: backward(cell, params, tape, wrong(dy), *states),
    )
    assert check_gradient(as_cell("rnn"), ADDING, 3).verdict == "fail"


def test_the_loss_is_that_of_the_readout_alone_where_nothing_is_remembered():
    task = TASKS["copy"]
    weights = {name: np.zeros_like(array) for name, array in network(as_cell("gru"), task).items()}
    batch = task.draw(np.random.default_rng(0), 5, 6)
    assert loss(as_cell("gru"), task, weights, batch).value == pytest.approx(
        task.baseline, rel=1e-15
    )
    weights["v"][:] = 1000, 1000, 0, -1000  # no overflow
    right = batch.target[batch.weight > 0]
    expected = np.where(
        right < 2, math.log(2), np.where(right == 2, 1000, 2000) + math.log(2)
    ).mean()
    assert loss(as_cell("gru"), task, weights, batch).value == pytest.approx(expected, rel=1e-12)


def test_the_optimiser_steps_by_weighted_means():
    # Kingma & Ba 2015, section 3: with the bias corrected, both moments are means with weights
    # β^(age), of g and of g².
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    flat, adam, seen = np.concatenate([weights["a"].ravel(), weights["b"]]), Adam(weights, 0.02), []
    for scale in (10.0, 0.1, 0.01, 3.0, 0.0):
        g = scale * rng.normal(size=10)
        adam.update(weights, {"a": g[:6].reshape(3, 2), "b": g[6:]})
        seen.append(g / max(1, math.sqrt(sum(g**2))))
        age = np.arange(len(seen))[::-1]
        m, v = (
            np.average(seen, axis=0, weights=0.9**age),
            np.average(np.square(seen), axis=0, weights=0.999**age),
        )
        flat -= 0.02 * m / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(
            np.concatenate([weights["a"].ravel(), weights["b"]]), flat, rtol=0, atol=1e-14
        )


EASY = dict(hidden=8, lag=7, updates=300, batch=16, learning_rate=0.02)


@pytest.mark.parametrize(
    ("cell", "start"),
    [("rnn", "glorot_orthogonal"), ("gru", "unit_forget_bias"), ("lstm", "unit_forget_bias")],
)
@pytest.mark.parametrize("task", TASKS)
def test_it_learns_short_lags(cell, start, task):
    found = train(cell, task, start, **EASY)
    # A predictor without memory has the baseline as its mean loss; with 512 sequences it scatters
    # by less than a tenth of it.
    assert found.loss < 0.7 * found.baseline
    assert found.losses[0] > 0.8 * found.baseline
    assert task == "adding" or found.accuracy > {"copy": 0.5, "agreement": 0.8}[task]


def test_accuracy_counts_sums_that_are_close():
    batch = ADDING.draw(np.random.default_rng(0), 4000, 5)
    # A constant 1 is right within 0.04 with probability 1 - 0.96². Four standard errors.
    assert training._accuracy(ADDING, batch, np.ones((6, 4000, 1))) == pytest.approx(
        0.0784, abs=4 * math.sqrt(0.0784 / 4000)
    )


def test_the_same_call_gives_the_same_bits_and_changes_nothing():
    cell = as_cell("lstm")
    params = uniform(np.random.default_rng(0), cell, 2, 8)
    kept = {name: array.copy() for name, array in params.items()}
    seen = []
    first, second, other = (
        train(
            "lstm",
            "adding",
            params,
            **EASY | {"updates": 20},
            seed=seed,
            progress=lambda *step: seen.append(step),
        )
        for seed in (5, 5, 6)
    )
    assert first.losses.tolist() == second.losses.tolist()
    assert first.losses.tolist() != other.losses.tolist()
    for name, array in params.items():
        np.testing.assert_array_equal(array, kept[name])
        np.testing.assert_array_equal(first.initial_params[name], array)
        assert not np.shares_memory(first.initial_params[name], array)
        np.testing.assert_array_equal(first.params[name], second.params[name])
        assert first.params[name].shape == array.shape
        assert not np.array_equal(first.params[name], array)
    assert seen == 3 * [(k, 20) for k in range(1, 21)]


def test_it_stops_when_it_has_solved_the_task():
    found = train("gru", "agreement", "unit_forget_bias", **EASY | {"updates": 2000})
    assert found.solved_at == len(found.losses) < 2000
    assert found.losses[-50:].mean() < 0.05 * math.log(2) < found.losses[-51:-1].mean()
    assert found.accuracy > 0.98
    assert (
        train("gru", "agreement", "unit_forget_bias", **EASY | {"updates": 60}, enough=0).solved_at
        is None
    )


def test_a_loss_that_is_not_finite_names_the_update():
    with pytest.raises(
        InputError,
        match=r"the loss is (nan|inf) at update [1-9]\d* of 300: try a learning_rate below 1e\+30",
    ):
        train("rnn-relu", "adding", "uniform", **EASY | {"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"the loss is (nan|inf) after update 0 of 1: "):
        train("rnn-relu", "adding", "uniform", **EASY | {"learning_rate": 1e30, "updates": 1})
    broken = uniform(np.random.default_rng(0), as_cell("gru"), 2, 8) | {"c_n": np.full(8, np.nan)}
    with pytest.raises(InputError, match="the parameters have entries that are not finite"):
        train("gru", "adding", broken, **EASY)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "parity"}, UsageError, "there is no task 'parity'"),
        ({"cell": "lstm-peepholes"}, UsageError, "training knows the cells"),
        ({"start": "zeros"}, UsageError, "there is no initializer 'zeros'"),
        ({"cell": "rnn", "start": "chrono:9"}, UsageError, "has no gate that keeps"),
        (
            {"start": uniform(np.random.default_rng(0), as_cell("gru"), 3, 8)},
            InputError,
            r"W has shape \(3, 24\)",
        ),
        (
            {"start": uniform(np.random.default_rng(0), as_cell("gru"), 2, 9)},
            InputError,
            "hidden is 8, but the parameters have H = 9",
        ),
        ({"hidden": 0}, UsageError, "hidden is 0, but should be at least 1"),
        ({"updates": 0}, UsageError, "updates is 0, but should be at least 1"),
        ({"updates": 2.5}, UsageError, "updates is 2.5, but should be a whole number"),
        ({"seed": -1}, UsageError, "seed is -1, but should be at least 0"),
        ({"batch": 0}, UsageError, "batch is 0, but should be at least 1"),
        ({"lag": "far"}, UsageError, "lag is 'far', but should be a whole number"),
        ({"learning_rate": 0}, UsageError, "learning_rate is 0, but should be a positive number"),
        ({"learning_rate": math.nan}, UsageError, "learning_rate is nan"),
        ({"enough": -1}, UsageError, "enough is -1, but should be a number of at least 0"),
    ],
)
def test_what_does_not_fit_is_named(change, error, message):
    arguments = {"cell": "gru", "start": "uniform", "task": "adding"} | EASY | change
    with pytest.raises(error, match=message):
        train(**arguments)


def test_every_plain_cell_can_be_trained():
    for name in CELLS:  # from its usual start
        assert math.isfinite(train(name, "adding", **EASY | {"updates": 2}).loss)
