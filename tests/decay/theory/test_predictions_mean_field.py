"""Theory of gates and wide networks, against known digits, samples and networks."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq

from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.cells.initializers import glorot_orthogonal, uniform
from gatecheck.decay.jacobians.profile import Adjoint, adjoint_profile
from gatecheck.decay.jacobians.sweep import prepare_run, run_passes
from gatecheck.decay.measures.lyapunov import product_spectrum
from gatecheck.decay.measures.truncation import TruncationReading
from gatecheck.decay.theory.predictions import (
    chrono_sizes,
    input_driven_gate,
    input_variance,
    linear_memory,
    mean_field,
    predict,
    uniform_gate_sizes,
    untied_rate,
    zero_state_edge,
)

GAIN = 1 / math.sqrt(3)


def test_ground_truth_5_time_constants_that_are_uniform():
    lag_at = lambda size, level: brentq(lambda x: size(x) - math.log(level), 1e-3, 5)
    mean, rms = (
        (lambda x: float(chrono_sizes(x, 1.0).mean)),
        (lambda x: float(chrono_sizes(x, 1.0).rms)),
    )
    assert (lag_at(mean, 1 / 2), lag_at(rms, 1 / 2), lag_at(rms, 1 / math.e)) == pytest.approx(
        (0.2674, 0.3306, 0.5316), abs=5e-5
    )
    assert math.exp(mean(1.0)) == pytest.approx(0.1484955, abs=5e-8)
    rate = 1 / np.random.default_rng(1).uniform(0, 1000, 10**6)
    for lag in (100, 1000):
        sample, found = np.exp(-lag * rate), chrono_sizes(lag, 1000)
        assert math.exp(found.mean) == pytest.approx(sample.mean(), abs=4 * sample.std() / 1000)
        assert math.exp(2 * found.rms) == pytest.approx(
            (sample**2).mean(), abs=4 * (sample**2).std() / 1000
        )


def test_ground_truth_6_gates_that_are_uniform():
    k = np.array([0, 1, 7, 1000])
    found = uniform_gate_sizes(k)
    exact = [
        (
            mpmath.quad(lambda f, n=n: f ** int(n), [0, 1]),
            mpmath.quad(lambda f, n=n: f ** (2 * int(n)), [0, 1]),
        )
        for n in k
    ]
    np.testing.assert_allclose(np.exp(found.mean), [float(mean) for mean, _ in exact], rtol=1e-12)
    np.testing.assert_allclose(
        np.exp(2 * found.rms), [float(square) for _, square in exact], rtol=1e-12
    )
    for cell in (GRU(), LSTM()):
        prediction = predict(cell, "uniform_gate")
        assert prediction.rate == 0
        np.testing.assert_allclose(
            prediction.log_size(k[1:]), np.log(3 / (2 * k[1:] + 1)) / 2, rtol=1e-12
        )


@pytest.mark.parametrize(
    ("a", "b", "typical", "mean"),
    [(1, 0, -0.80605918, -0.69314718), (1, 1, -0.40685628, -0.36135061)],
)
def test_ground_truth_8_gates_driven_by_inputs(a, b, typical, mean):
    assert input_driven_gate(a, b) == pytest.approx((typical, mean), abs=5e-9)
    # An LSTM with such gates and no recurrence: its log-norm is a mean of ln f over steps.
    T, params = (
        10**5,
        {
            "W": np.array([[0.0, a, 0.0, 0.0]]),
            "U": np.zeros((1, 4)),
            "b": np.array([0.0, b, 0.0, 0.0]),
        },
    )
    x = np.random.default_rng(2).standard_normal((T, 1))
    log_norm = adjoint_profile(LSTM(), params, x, np.array([[[0.0]], [[1.0]]])).log_norm
    sd = np.diff(log_norm).std() / math.sqrt(T)
    assert log_norm[-1] / T == pytest.approx(typical, abs=4 * sd)
    assert abs(log_norm[-1] / T - mean) > 10 * sd


def test_a_gate_without_input_is_constant():
    assert input_driven_gate(0.0, 2.0) == pytest.approx(
        (-math.log1p(math.exp(-2.0)),) * 2, rel=1e-13
    )
    exact = mpmath.quad(
        lambda x: mpmath.npdf(x) * mpmath.log1p(mpmath.exp(-(20 * x + 1))), [-12, -2, -0.05, 2, 12]
    )
    assert input_driven_gate(20.0, 1.0).typical == pytest.approx(-float(exact), rel=1e-9)


@pytest.mark.parametrize(
    ("g", "q_in", "rate"),
    [
        (2, 0, 0.154724),
        (3, 0, 0.310250),
        (2, 1, 0.045975),
        (1, 0.1, -0.186374),
        (GAIN, 1 / 3, -0.782523),
    ],
)
def test_ground_truth_10_mean_field_of_a_tanh_rnn(g, q_in, rate):
    # To 20 digits the second is 0.31024931451.
    assert mean_field(g, q_in).rate == pytest.approx(rate, abs=1e-6)


def test_the_mean_field_of_an_inactive_rnn():
    for g in (0.5, 1.0):
        assert mean_field(g, 0.0) == pytest.approx((0, g**2, math.log(g)))
    # just alive, not the dead fixed point, whose rate is ln 1.001 = 1e-3
    assert 0 < mean_field(1.001, 0.0).rate < 1e-5


def measure_rate(cell, params, x, T):
    run = prepare_run(cell, params, x)
    adjoint = Adjoint(
        run, np.random.default_rng(3).standard_normal((len(cell.state), 1, run.state.shape[1]))
    )
    run_passes(run, backward=[adjoint])
    log_norm = adjoint.profile().log_norm[: T + 1]
    local = np.diff(log_norm[T // 10 :])
    return local.mean(), local.std() / math.sqrt(local.size / 2)


@pytest.mark.parametrize(("g", "q_in"), [(2.0, 0.0), (2.0, 1.0), (1.0, 0.1)])
def test_a_wide_network_has_the_rate_of_its_mean_field(g, q_in):
    H, T, rng = 300, 600, np.random.default_rng(4)
    params = {
        "W": math.sqrt(q_in) * rng.standard_normal((H, H)) / math.sqrt(H),
        "U": g * rng.standard_normal((H, H)) / math.sqrt(H),
    }
    params["b"] = np.zeros(H)
    x = (
        rng.standard_normal((T + 100, H))
        if q_in
        else np.vstack([rng.standard_normal((1, H)), np.zeros((T + 99, H))])
    )
    if not q_in:
        params["W"] = np.eye(H)  # a first kick, without which it stays dead
    rate, sd = measure_rate(RNN(), params, x, T)
    # The theory is within 0.01 at H = 1000; corrections fall as 1/H.
    assert rate == pytest.approx(mean_field(g, q_in).rate, abs=0.01 * 1000 / H + 4 * sd)


def test_the_variance_of_inputs_at_an_initialisation():
    for name, draw in (("uniform", uniform), ("glorot_orthogonal", glorot_orthogonal)):
        rng = np.random.default_rng(5)
        params = draw(rng, RNN(), 16, 300)
        seen = (params["W"] ** 2).sum(axis=0) + params["b"] ** 2
        assert input_variance(name, 16, 300) == pytest.approx(
            seen.mean(), abs=4 * seen.std() / math.sqrt(300)
        )
    assert input_variance("chrono:9", 16, 128) is None
    # The sanity table has -0.261 ± 0.002 for the orthogonal RNN, and the edge at rest says 0.
    assert predict(
        RNN(), "glorot_orthogonal", input_variance("glorot_orthogonal", 16, 128)
    ).rate == pytest.approx(-0.261, abs=0.002)
    assert predict(RNN(), "glorot_orthogonal").rate == 0
    assert predict(GRU(), "uniform", 0.1).rate == predict(GRU(), "uniform").rate


def test_ground_truth_11_tied_weights_are_not_fresh_ones():
    rng, H, T = np.random.default_rng(6), 400, 300
    tied, untied = math.log(zero_state_edge(GRU(), GAIN)), untied_rate(GRU(), GAIN)
    assert (tied, untied) == pytest.approx((-0.4395, -0.6532), abs=1e-4)
    assert untied_rate(LSTM(), GAIN) == untied
    assert untied_rate(RNN(), GAIN) is None
    params = {name: np.zeros(shape) for name, shape in GRU().param_shapes(1, H).items()}
    params["U"] = GAIN * rng.standard_normal((H, 3 * H)) / math.sqrt(H)
    rate = np.diff(
        adjoint_profile(GRU(), params, np.zeros((T, 1)), rng.standard_normal((1, 1, H))).log_norm
    )[T // 2 :].mean()
    # The edge of a finite matrix leaves the circle by √(ln H / 4H) g (Rider 2003), of which a
    # quarter counts here.
    assert rate == pytest.approx(
        tied, abs=0.25 * GAIN * math.sqrt(math.log(H) / H) / 2 / math.exp(tied)
    )
    # With fresh weights at each step, the other formula is right.
    size = 60
    fresh = 0.5 * np.eye(size) + 0.25 * GAIN * rng.standard_normal((1000, size, size)) / math.sqrt(
        size
    )
    found = product_spectrum(fresh, rng, count=1)
    assert found.exponents[0] == pytest.approx(untied, abs=4 * found.errors[0] + 1 / size)
    assert abs(found.exponents[0] - tied) > 0.15


@pytest.mark.parametrize("weight", [0.0, 0.5, -0.9, 0.99])
def test_ground_truth_15_long_memory_costs_sensitivity(weight):
    # h = Σ λ^k ξ_k and dh/dλ = Σ k λ^(k-1) ξ_k, so both mean squares are sums.
    k = np.arange(1, 20_000)
    found = linear_memory(weight)
    assert found.state == pytest.approx(1 + (weight ** (2.0 * k)).sum(), rel=1e-12)
    assert found.sensitivity == pytest.approx((k**2 * weight ** (2.0 * k - 2)).sum(), rel=1e-12)


def test_ground_truth_15_measured_in_a_relu_that_is_never_off():
    # About a mean of 200 the unit is linear; there x is 1 larger in its mean, which adds dh/dλ of
    # the mean: 1/(1 - λ)².
    weight, T, runs, offset = 0.5, 40, 400, 100.0
    rng, squares = np.random.default_rng(7), []
    params = {"W": np.ones((1, 1)), "U": np.array([[weight]]), "b": np.array([offset])}
    for _ in range(runs):
        run = prepare_run(
            RNN("relu"), params, rng.standard_normal((T, 1)), np.array([[offset / (1 - weight)]])
        )
        gradient = TruncationReading(run, [])
        run_passes(run, backward=[Adjoint(run, np.ones((1, 1, 1)), readings=[gradient])])
        flat, log = gradient.gradient()
        squares.append((flat[1] * math.exp(log) - offset / (1 - weight) ** 2) ** 2)
    assert np.mean(squares) == pytest.approx(
        linear_memory(weight).sensitivity, abs=4 * np.std(squares) / math.sqrt(runs)
    )


@pytest.mark.parametrize("weight", [1.0, -1.5, math.nan])
def test_no_stationary_state_no_memory(weight):
    with pytest.raises(ValueError, match="needs one between -1 and 1"):
        linear_memory(weight)
