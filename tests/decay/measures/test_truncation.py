"""Truncated gradients against a closed form, the kernels, and their bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import CELLS, LSTM, RNN, as_cell
from gatecheck.cells.initializers import chrono, uniform
from gatecheck.decay.jacobians.profile import Adjoint
from gatecheck.decay.jacobians.sweep import prepare_run, run_passes
from gatecheck.decay.measures.truncation import (
    TruncationReading,
    geometric_bound,
    gradient_factors,
    truncation_lags,
)
from gatecheck.errors import InputError
from gatecheck.kernels.run import backward, forward


def truncate(cell, params, x, start, state=None, lags=None):
    run = prepare_run(cell, params, x, state)
    found = TruncationReading(run, lags)
    adjoint = Adjoint(run, start, readings=[found])
    run_passes(run, backward=[adjoint])
    return found, adjoint.profile()


def truncate_linear(w, T, state):
    """Truncate h' = w h + 1, as a relu that is always on."""
    params = {"W": np.zeros((1, 1)), "U": np.array([[w]]), "b": np.ones(1)}
    return truncate(
        RNN("relu"),
        params,
        np.zeros((T, 1)),
        np.ones((1, 1, 1)),
        np.array([[state]]),
        np.arange(1, 60),
    )


def test_ground_truth_14_the_bias_of_a_linear_unit_is_a_power_of_its_weight():
    # at its fixed point; 0.9^2000 = 3e-92 stands for no end
    found, profile = truncate_linear(0.9, 2000, 10.0)
    bias = found.result()
    np.testing.assert_allclose(bias.log_bias, bias.lags * math.log(0.9), rtol=1e-13)
    assert math.exp(bias.log_bias[21]) == pytest.approx(0.098477, abs=5e-7)
    assert math.exp(bias.log_bias[43]) == pytest.approx(0.0096977, abs=5e-8)
    assert (bias.first_lag_below(0.1), bias.first_lag_below(0.01)) == (22, 44)
    assert bias.first_lag_below(1e-9) is None
    # Here M, C and the rate are exact, so that E(K) = w^K ‖g‖ and ‖g_k‖ = (1 - w^k) ‖g‖, of which
    # the last K, 59, says most.
    w_K = 0.9 ** bias.lags.astype(float)
    bound = geometric_bound(bias, profile.log_norm, math.log(0.9))
    np.testing.assert_allclose(bound, w_K / (1 - 2 * 0.9**59), rtol=1e-10)
    none = geometric_bound(
        bias._replace(lags=bias.lags[:6], log_size=bias.log_size[:6]),
        profile.log_norm,
        math.log(0.9),
    )
    assert np.isinf(none).all()  # w^6 > ½: E is more than what was kept


def problem(name, T=40, H=4, D=3):
    cell, rng = as_cell(name), np.random.default_rng(9)
    params = {k: 1.5 * array for k, array in uniform(rng, cell, D, H).items()}
    params["b"] += cell.activation == "relu"
    n = len(cell.state)
    return (
        cell,
        params,
        rng.standard_normal((T, D)),
        rng.standard_normal((n, 1, H)),
        rng.standard_normal((n, H)) / 2,
    )


def kernel_gradient(cell, params, x, start, state):
    columns = [s[None] for s in state]
    _, _, _, tape = forward(cell, params, x[:, None], *columns)
    return backward(cell, params, tape, None, *start, *[None] * (2 - len(start)))


@pytest.mark.parametrize("name", CELLS)
def test_the_whole_gradient_is_that_of_the_kernels(name):
    cell, params, x, start, state = problem(name)
    found, _ = truncate(cell, params, x, start, state)
    flat, log = found.gradient()
    run = prepare_run(cell, params, x, state)
    parts = gradient_factors(
        cell, x, np.zeros((40, run.kernel.rows, 4)), np.zeros((40, params["b"].size))
    )
    names = [(key, left.shape[1], right.shape[1]) for key, left, right in parts]
    ends = np.cumsum([rows * columns for _, rows, columns in names])
    blocks = {}
    for (key, rows, columns), part in zip(
        names, np.split(flat * math.exp(log), ends[:-1]), strict=True
    ):
        blocks.setdefault(key, []).append(part.reshape(rows, columns))
    expected = kernel_gradient(cell, params, x, start, state)
    assert set(blocks) == set(params)
    for key in params:
        np.testing.assert_allclose(
            np.hstack(blocks[key]).reshape(params[key].shape), expected[key], rtol=1e-11, atol=1e-13
        )


@pytest.mark.parametrize("name", [name for name in CELLS if name != "rnn-relu"])
def test_a_truncated_gradient_is_the_gradient_of_the_last_steps(name):
    cell, params, x, start, state = problem(name)
    bias = truncate(cell, params, x, start, state)[0].result()
    whole = kernel_gradient(cell, params, x, start, state)
    size = math.sqrt(sum((g**2).sum() for key, g in whole.items() if key in params))
    for K in (1, 2, 7, 30):
        before = state
        for x_t in x[:-K]:
            _, hT, cT, _ = forward(cell, params, x_t[None, None], *(s[None] for s in before))
            before = np.concatenate([hT] if cT is None else [hT, cT])
        part = kernel_gradient(cell, params, x[-K:], start, before)
        dropped = math.sqrt(sum(((part[key] - whole[key]) ** 2).sum() for key in params))
        assert math.exp(bias.log_bias[K - 1]) == pytest.approx(dropped / size, rel=1e-9, abs=1e-13)
        kept = math.sqrt(sum((part[key] ** 2).sum() for key in params))
        assert math.exp(bias.log_size[K - 1]) == pytest.approx(kept, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "draw", "rate"),
    [("rnn", uniform, -0.3), ("gru", uniform, -0.3), ("lstm", chrono(30), -0.03)],
)
def test_the_bound_holds_and_says_something(name, draw, rate):
    cell, rng = as_cell(name), np.random.default_rng(10)
    params, x = draw(rng, cell, 2, 8), rng.standard_normal((600, 2))
    found, profile = truncate(cell, params, x, rng.standard_normal((len(cell.state), 1, 8)))
    bias = found.result()
    bound = geometric_bound(bias, profile.log_norm, rate, onset_lag=5)
    assert (bound >= np.exp(bias.log_bias)).all()
    assert np.isinf(bound[:4]).all()
    assert bound[-1] < 0.01
    assert np.isinf(geometric_bound(bias, profile.log_norm, 0.0)).all()


def test_no_lag_underflows_and_no_growth_overflows():
    # At h = 0 a unit with w = 1.5 has the cotangent w^k at lag k, which is all of db: 1216 nats in
    # the end, where a float holds 709.
    params = {"W": np.zeros((1, 1)), "U": np.array([[1.5]]), "b": np.zeros(1)}
    growing = truncate(RNN(), params, np.zeros((3000, 1)), np.ones((1, 1, 1)), lags=[1, 10, 2999])[
        0
    ].result()
    np.testing.assert_allclose(
        growing.log_size,
        [0, math.log((1.5**10 - 1) / 0.5), 2999 * math.log(1.5) + math.log(2)],
        rtol=1e-12,
        atol=1e-14,
    )
    np.testing.assert_allclose(growing.log_bias, [0, 0, math.log(1 / 3)], rtol=1e-12, atol=1e-12)
    params = {"W": np.zeros((1, 1)), "U": np.array([[0.5]]), "b": np.ones(1)}
    fading = truncate(
        RNN("relu"), params, np.zeros((3000, 1)), np.ones((1, 1, 1)), np.array([[2.0]]), [2000]
    )[0].result()
    # e^-1386 is no float either
    assert fading.log_bias[0] == pytest.approx(2000 * math.log(0.5), rel=1e-12)


def test_a_gradient_of_exactly_zero_is_dropped_without_loss():
    params = {"W": np.zeros((1, 1)), "U": np.ones((1, 1)), "b": np.array([-1.0])}
    bias = truncate(RNN("relu"), params, np.zeros((9, 1)), np.ones((1, 1, 1)))[0].result()
    assert np.isneginf(bias.log_size).all()
    assert bias.first_lag_below(0.1) is None  # 0/0 is not known to be small


def test_the_lags():
    assert truncation_lags(10).tolist() == list(range(1, 10))
    assert truncation_lags(10**6).size < 130
    # a quarter of ln 2, and rounding to whole steps
    assert np.diff(np.log([*truncation_lags(10**6)[64:], 10**6])).max() < 0.182
    with pytest.raises(InputError, match="rise from 1 to T = 5"):
        TruncationReading(
            prepare_run(RNN(), uniform(np.random.default_rng(0), RNN(), 1, 1), np.zeros((5, 1))),
            [3, 2],
        )
    with pytest.raises(InputError, match="carries 2 cotangents"):
        truncate(
            LSTM(),
            uniform(np.random.default_rng(0), LSTM(), 1, 2),
            np.zeros((5, 1)),
            np.ones((2, 2, 2)),
        )


def test_the_checkpoints_change_nothing(monkeypatch):
    cell, params, x, start, state = problem("gru-before")
    cut = truncate(cell, params, x, start, state)[0].result()
    monkeypatch.setattr(math, "isqrt", lambda n: n)
    whole = truncate(cell, params, x, start, state)[0].result()
    np.testing.assert_allclose(cut.log_bias, whole.log_bias, rtol=1e-11)
