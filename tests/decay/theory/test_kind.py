"""Kinds of decay: exact curves, noisy ones, and curves of no kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expn
from scipy.stats import linregress

from gatecheck.cells import LSTM, RNN
from gatecheck.decay.jacobians.profile import adjoint_profile, tangent_profile
from gatecheck.decay.spec import NetworkSpec
from gatecheck.decay.study.networks import Network
from gatecheck.decay.theory.kind import classify_decay

LAGS = np.arange(4001)


def chrono(Tmax, lags=LAGS):
    return np.log(expn(2, 2 * lags / Tmax)) / 2


EXACT = {
    "constant gate": (-LAGS * math.log1p(math.exp(-2.0)), "exponential"),  # ground truth 4
    "slow gate": (-LAGS * 1e-5, "exponential"),
    "exponential after a burst": (5 - 0.1 * LAGS - 4 * np.exp(-LAGS), "exponential"),
    "chrono": (chrono(1000), "mixture"),  # ground truth 5
    "chrono seen early": (chrono(10**5), "mixture"),
    "stretched": (-np.sqrt(LAGS), "mixture"),
    "uniform gate": (-np.log(2 * LAGS + 1) / 2, "power"),  # ground truth 6
    "steep power": (-3 * np.log(LAGS + 1), "power"),
    "floor": (np.logaddexp(-0.01 * LAGS, -9.0), "undecided"),
    "faster than exponential": (-1e-4 * LAGS**2, "undecided"),
    "growing": (0.01 * LAGS, "undecided"),
    "flat": (0.0 * LAGS, "undecided"),
    # As steep in its first windows as in its last, and steeper in the middle.
    "a bulge": (-0.1 * np.cumsum(np.exp(-0.3 * np.log((LAGS + 1) / 500) ** 2)), "undecided"),
    "ripples": (-0.01 * LAGS + 20 * np.sin(3 * np.log(LAGS + 1)), "undecided"),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("seeds", [1, 5])
def test_exact_curves(name, seeds):
    curve, expected = EXACT[name]
    assert classify_decay(np.tile(curve, (seeds, 1))).name == expected


def test_r_squared_would_misclassify_a_mixture():
    assert linregress(LAGS, chrono(1000)).rvalue ** 2 > 0.99
    assert classify_decay(chrono(1000)[None]).name == "mixture"


def test_ground_truth_7_by_length():
    scalar = lambda w, h: tangent_profile(
        RNN(),
        {"W": np.zeros((1, 1)), "U": np.array([[w]]), "b": np.zeros(1)},
        np.zeros((10**5, 1)),
        np.ones((1, 1, 1)),
        np.array([[h]]),
    ).log_norm[None]
    critical = classify_decay(scalar(1.0, 0.5))
    assert critical.name == "power"
    assert critical.power[-1] == pytest.approx(1.5, abs=0.001)
    beyond = classify_decay(scalar(2.0, 0.5))
    assert beyond.name == "exponential"
    assert beyond.rate[-1] == pytest.approx(1.793528506542228, rel=1e-9)


def add_noise(rng, curve, seeds, sd, rate_sd=0.0):
    """Add a random walk of correlated steps for each seed, and scatter of the rate."""
    steps = np.diff(curve) * (1 + rate_sd * rng.standard_normal((seeds, 1)))
    noise = sd * rng.standard_normal((seeds, steps.shape[1]))
    noise[:, 1:] += 0.5 * noise[:, :-1]
    return np.concatenate([np.zeros((seeds, 1)), np.cumsum(steps + noise, axis=1)], axis=1)


@pytest.mark.parametrize("seeds", [1, 5])
def test_noise_is_never_given_a_wrong_name(seeds):
    rng, runs = np.random.default_rng(20), 60
    for curve, expected in EXACT.values():
        for sd in (0.003, 0.05, 1.0):
            names = [classify_decay(add_noise(rng, curve, seeds, sd)).name for _ in range(runs)]
            wrong = sum(name not in (expected, "undecided") for name in names)
            # The interval misses in one of twenty; five sd of a binomial on top, for thirty-nine
            # times two chances.
            assert wrong / runs <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / runs)


def test_little_noise_leaves_the_name_and_much_takes_it():
    rng = np.random.default_rng(21)
    exponential = -0.54 * LAGS
    # Like a plain RNN at its default initialisation: rates of seeds 6 % apart, local exponents that
    # scatter by 0.3.
    assert [
        classify_decay(add_noise(rng, exponential, 5, 0.3, 0.06)).name for _ in range(20)
    ].count("exponential") >= 16
    # The 62 steps of the shortest window know their rate to 40 %; an index near 0 is chance then.
    assert [classify_decay(add_noise(rng, -0.1 * LAGS, 5, 0.3)).name for _ in range(20)].count(
        "undecided"
    ) >= 16
    for curve, _ in (EXACT["chrono"], EXACT["uniform gate"], EXACT["slow gate"]):
        assert [classify_decay(add_noise(rng, curve, 5, 1.0)).name for _ in range(20)].count(
            "undecided"
        ) >= 18


@pytest.mark.parametrize(
    ("cell", "initialiser", "T", "expected"),
    [(RNN(), "glorot_orthogonal", 2000, "exponential"), (LSTM(), "chrono:500", 2000, "mixture")],
)
def test_kinds_of_networks(cell, initialiser, T, expected):
    network, curves = Network(NetworkSpec(cell.name, initialiser, 64, 4), cell, 64, 4), []
    for trial in range(5):
        rng = network.generator(0, trial)
        params, start, x = (
            network.params(rng),
            network.probes(rng, 4),
            network.sequence(rng, T, trial),
        )
        curves.append(adjoint_profile(cell, params, x, start).log_norm)
    assert classify_decay(np.array(curves)).name == expected


def test_exact_zeros_and_short_curves():
    cut = -0.1 * LAGS
    cut[3000:] = -np.inf
    found = classify_decay(cut[None])
    assert found.name == "exponential"
    assert found.lags[-1] < 3000
    assert found.rate == pytest.approx(0.1)
    for T in (1, 2, 10, 60):
        short = classify_decay(-0.1 * np.arange(T + 1.0)[None])
        assert short.name == "undecided"
        assert math.isnan(short.gamma)
    assert classify_decay(np.full((2, 100), np.nan)).name == "undecided"
