"""Closed forms to known digits, and the edge against eigenvalues of a network."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import GRU, LSTM, RNN, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.initializers import uniform
from gatecheck.decay.jacobians.profile import tangent_profile
from gatecheck.decay.theory.predictions import (
    constant_gate,
    predict,
    scalar_path_split,
    zero_state_edge,
)


@pytest.mark.parametrize(
    ("bias", "e_lag", "half_life"),
    [(0, 1.4427, 1), (1, 3.1922, 2.2127), (2, 7.8785, 5.4609), (5, 148.913, 103.218)],
)
def test_ground_truth_4_constant_gate(bias, e_lag, half_life):
    # Half a unit of the last digit stated.
    found = constant_gate(bias)
    assert found.rate == pytest.approx(math.log(1 / (1 + math.exp(-bias))), rel=1e-14)
    digits = 5e-4 if bias == 5 else 5e-5
    assert (found.e_lag, found.half_life) == pytest.approx((e_lag, half_life), abs=digits)


@pytest.mark.parametrize(
    ("cell", "bias", "edge", "rate"),
    [(GRU(), 0, 0.64434, -0.43953), (LSTM(), 0, 0.64434, -0.43953), (LSTM(), 1, 0.87540, -0.1331)],
)
def test_ground_truth_9_zero_state_edge(cell, bias, edge, rate):
    found = zero_state_edge(cell, 1 / math.sqrt(3), bias)
    assert found == pytest.approx(edge, abs=5e-6)
    assert math.log(found) == pytest.approx(rate, abs=5e-5 if bias else 5e-6)


@pytest.mark.parametrize(
    ("name", "bias"),
    [("rnn", 0.0), ("gru", 0.0), ("gru-before", 1.0), ("lstm", 0.0), ("lstm", 1.0)],
)
def test_the_edge_is_the_spectral_radius_of_a_network_at_rest(name, bias):
    cell, H = as_cell(name), 200
    params = uniform(np.random.default_rng(4), cell, 1, H)
    params["b"][:] = 0
    if "c_n" in params:
        params["c_n"][:] = 0
    if cell.kind != "rnn":
        block(cell, params["b"], "f" if cell.kind == "lstm" else "z")[:] = (
            bias if cell.kind == "lstm" else -bias
        )
    n = len(cell.state)
    basis = np.eye(n * H).reshape(n * H, n, H).transpose(1, 0, 2)
    step = tangent_profile(cell, params, np.zeros((1, 1)), basis)
    jacobian = math.exp(step.log_norm[1]) * step.direction.transpose(0, 2, 1).reshape(n * H, n * H)
    moduli = np.sort(abs(np.linalg.eigvals(jacobian)))
    edge = zero_state_edge(cell, 1 / math.sqrt(3), bias)
    # The largest eigenvalue of an H×H block leaves the circle of radius g by about √(ln H / 4H) g =
    # 0.08 g at H = 200 (Rider 2003).
    assert moduli[-1] == pytest.approx(
        edge, abs=0.08 / math.sqrt(3) * (1 if cell.kind == "rnn" else 0.25)
    )
    if cell.kind == "lstm":
        assert np.count_nonzero(moduli < 1e-6) == H


def test_ground_truth_13_path_split():
    f = 1 / (1 + math.exp(-1))
    found = scalar_path_split(f, 0.5, 0.5, 1.0, 100)
    assert found.total == pytest.approx(0.147739, abs=5e-7)
    assert found.cell_path == pytest.approx(2.484e-14, abs=5e-18)


def test_ground_truth_5_the_chrono_mixture_is_an_exponential_integral():
    # RMS √E₂(2k/Tmax), half-life 0.3306 Tmax, 1/e at 0.5316 Tmax; the limit of large Tmax, so 1 +
    # O(1/Tmax).
    lags = np.arange(1, 10**4)
    log_size = predict(LSTM(), "chrono:10000").log_size(lags)
    assert math.exp(2 * log_size[4999]) == pytest.approx(0.1484955, rel=2e-3)
    for level, share in ((1 / 2, 0.3306), (1 / math.e, 0.5316)):
        assert lags[np.argmax(log_size <= math.log(level))] == pytest.approx(share * 1e4, rel=2e-3)


@pytest.mark.parametrize("name", ["rnn-relu", "rnn-sigmoid"])
def test_no_prediction_where_there_is_no_theory(name):
    assert predict(as_cell(name), "uniform") is None
    assert predict(as_cell("rnn"), "uniform_gate") is None


@pytest.mark.parametrize(
    ("cell", "initialiser"),
    [
        (RNN(), "uniform"),
        (LSTM(), "unit_forget_bias"),
        (GRU(), "chrono:50"),
        (GRU(), "uniform_gate"),
    ],
)
def test_a_prediction_starts_at_lag_one_and_ends_at_its_rate(cell, initialiser):
    found = predict(cell, initialiser)
    log_size = found.log_size(np.array([1, 10**6, 2 * 10**6]))
    assert log_size[0] == 0
    assert (log_size[2] - log_size[1]) / 10**6 == pytest.approx(found.rate, rel=1e-3, abs=1e-6)
    assert found.assumption
