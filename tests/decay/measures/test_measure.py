"""One sweep measures what its parts measure alone, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gatecheck.cells import GRU, LSTM, RNN, as_cell
from gatecheck.cells.initializers import uniform
from gatecheck.decay.jacobians.profile import adjoint_profile
from gatecheck.decay.jacobians.sweep import prepare_run, run_passes
from gatecheck.decay.measures.measure import measure
from gatecheck.decay.measures.paths import path_split
from gatecheck.decay.spec import MeasureSpec
from gatecheck.errors import InputError


def problem(cell, T, H=4, D=2, k=3):
    rng = np.random.default_rng(30)
    n = len(cell.state)
    params = {name: 1.5 * array for name, array in uniform(rng, cell, D, H).items()}
    return (
        params,
        rng.standard_normal((T, D)),
        rng.standard_normal((n, k, H)),
        rng.standard_normal((n, 1, H)),
        rng.standard_normal((n, H)),
    )


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_the_whole_is_its_parts(name):
    cell, calls = as_cell(name), []
    params, x, start, loss, state = problem(cell, 70)
    found = measure(cell, params, x, start, loss, state, progress=lambda *call: calls.append(call))
    np.testing.assert_array_equal(
        found.profile.log_norm, adjoint_profile(cell, params, x, start, state).log_norm
    )
    np.testing.assert_array_equal(
        found.loss.log_norm, adjoint_profile(cell, params, x, loss, state).log_norm
    )
    alone = path_split(cell, params, x, start, state)
    assert {"total", *found.paths} == set(alone)
    for path, log_norm in found.paths.items():
        np.testing.assert_array_equal(log_norm, alone[path] - alone[path][0])
    assert found.inputs.shape == (70,)
    assert set(found.gates.by_name) == set(cell.sigmoid_gates)
    assert found.truncation.lags.tolist() == list(range(1, 65))
    assert calls[-1] == (140, 140)


def test_what_is_not_chosen_is_not_measured_and_changes_nothing():
    problem_ = problem(LSTM(), 70)
    whole, bare = (
        measure(LSTM(), *problem_),
        measure(LSTM(), *problem_, quantities=MeasureSpec(False, False, False, False)),
    )
    np.testing.assert_array_equal(bare.profile.log_norm, whole.profile.log_norm)
    assert bare[1:] == ({}, None, None, None, None)


def test_memory_grows_as_the_root_of_the_length():
    cell, H, k, T = LSTM(), 32, 4, 10_000
    params, x, start, loss, state = problem(cell, T, H, 1, k)
    measure(cell, params, x[:100], start, loss, state)  # compiles
    tracemalloc.start()
    try:
        measure(cell, params, x, start, loss, state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    gradients = (64 + 30) * sum(array.size for array in params.values())
    # rows and a copy with some of them zero, da, and what is made of it
    stretch = 100 * (2 * 9 + 4 * k + 5 * 4) * H
    by_lag = 5 * 5 * T
    assert peak < 8 * (gradients + stretch + by_lag) * 1.2
    assert peak < 8 * 9 * H * T / 2  # half of the rows of all steps


def test_not_a_number_reaches_all_that_depends_on_it():
    cell = GRU()
    params, x, start, loss, state = problem(cell, 80)
    x[40] = np.nan
    found = measure(cell, params, x, start, loss, state)
    assert np.isnan(found.profile.log_norm[1:]).all()
    assert np.isnan(found.truncation.log_bias).all()
    assert np.isnan(found.gates.by_name["r"].mean)
    assert found.truncation.first_lag_below(0.5) is None


def test_a_sequence_without_steps():
    params, x, start, loss, state = problem(LSTM(), 0)
    found = measure(LSTM(), params, x, start, loss, state)
    assert found.profile.log_norm.shape == (1,)
    assert found.inputs.size == found.truncation.lags.size == 0


def test_what_does_not_fit_is_named():
    params, x, start, _, state = problem(RNN(), 5)
    with pytest.raises(InputError, match="carries 3 cotangents"):
        measure(RNN(), params, x, start, start, state)
    with pytest.raises(InputError, match=r"start has shape \(2, 1, 4\)"):
        measure(RNN(), params, x, start, np.ones((2, 1, 4)), state)


def test_a_forward_visit_alone_needs_no_backward_pass():
    params, x, _, _, state = problem(RNN(), 17)
    seen, calls = [], []
    run_passes(
        prepare_run(RNN(), params, x, state),
        forward=[lambda s: seen.append(s.steps)],
        progress=lambda *call: calls.append(call),
    )
    assert [s.start for s in seen] == [0, 4, 8, 12, 16]
    assert calls[-1] == (17, 17)
