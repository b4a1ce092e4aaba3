"""Gradients on a task's own sequences, for networks with closed-form gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import LSTM, RNN, as_cell
from gatecheck.cells.initializers import uniform
from gatecheck.decay.jacobians.profile import adjoint_profile
from gatecheck.decay.training.horizon import last_loss_step, measure_trained_profiles
from gatecheck.decay.training.tasks import TASKS
from gatecheck.decay.training.train import TrainedNetwork
from gatecheck.errors import UsageError


def make_trained(cell, task, lag, before, after):
    return TrainedNetwork(
        cell, task, lag, before, after, {}, np.zeros(0), task.baseline, 0.0, 1.0, None
    )


@pytest.mark.parametrize("name", TASKS)
def test_before_and_after_are_not_mixed_up(name):
    task, H, lag = TASKS[name], 4, 12
    # Without input h stays zero, each step multiplies by U, and the identity has the norm √H.
    before, after = (
        {"W": np.zeros((task.inputs, H)), "U": keep * np.eye(H), "b": np.zeros(H)}
        for keep in (0.5, 0.9)
    )
    found = measure_trained_profiles(make_trained(RNN(), task, lag, before, after), sequences=3)
    assert found.task_lag == lag
    assert found.before.shape == found.after.shape
    assert found.after.shape[0] == 3
    assert found.after.shape[1] > lag  # some of this many sentences have the longest clause
    for curve, keep in ((found.before, 0.5), (found.after, 0.9)):
        np.testing.assert_allclose(
            curve,
            math.log(2) + np.log(keep) * np.arange(curve.shape[1])[None] * np.ones((3, 1)),
            atol=1e-12,
        )


def test_each_row_is_the_profile_up_to_the_question():
    task, lag, cell = TASKS["agreement"], 12, LSTM()
    params = uniform(np.random.default_rng(0), cell, task.inputs, 3)
    found = measure_trained_profiles(
        make_trained(cell, task, lag, params, params), sequences=2, seed=4
    )
    batch = task.draw(np.random.default_rng([4, 1]), 32, lag)
    last = last_loss_step(batch)
    rows = sorted(range(32), key=lambda row: -last[row])[:2]
    assert found.after.shape == (2, last[rows].min() + 2)  # back to the state before the first step
    for row, curve in zip(rows, found.after, strict=True):
        total, x = 0.0, batch.x[: last[row] + 1, row].copy()
        for unit in np.eye(6).reshape(6, 2, 1, 3):  # one cotangent at a time
            total += np.exp(
                2 * adjoint_profile(cell, params, x, unit).log_norm[: found.after.shape[1]]
            )
        np.testing.assert_allclose(curve, np.log(total) / 2, atol=1e-12)
    np.testing.assert_array_equal(found.before, found.after)


def test_the_last_step_in_the_loss():
    batch = TASKS["copy"].draw(np.random.default_rng(0), 3, 8)
    assert last_loss_step(batch).tolist() == [10, 10, 10]
    batch = TASKS["agreement"].draw(np.random.default_rng(0), 50, 20)
    assert [np.flatnonzero(batch.weight[:, row]).tolist() for row in range(50)] == [
        [step] for step in last_loss_step(batch)
    ]


def test_what_does_not_fit_is_named():
    task = TASKS["adding"]
    params = uniform(np.random.default_rng(0), as_cell("gru"), 2, 3)
    with pytest.raises(UsageError, match="sequences is 0, but should be at least 1"):
        measure_trained_profiles(make_trained(as_cell("gru"), task, 5, params, params), sequences=0)
