"""Coverage of intervals, order statistics, and levels read from a curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import linregress
from scipy.stats import t as student

from gatecheck.decay.theory.statistics import (
    batch_means,
    curve_quantiles,
    estimate_rate,
    first_lag,
    probe_offset,
)


def correlated(rng, shape, memory=0.5):
    """Return a correlated series about -0.3, like local exponents."""
    noise = rng.standard_normal(shape)
    for k in range(1, shape[-1]):
        noise[..., k] += memory * noise[..., k - 1]
    return noise - 0.3


def test_batch_means_cover_and_a_fitted_line_does_not():
    runs, n = 300, 1000
    covered = fitted = 0
    for local in correlated(np.random.default_rng(5), (runs, n)):
        mean, error, freedom = batch_means(local)
        covered += abs(mean + 0.3) < student.ppf(0.975, freedom) * error
        line = linregress(np.arange(n), np.cumsum(local))
        fitted += abs(line.slope + 0.3) < student.ppf(0.975, n - 2) * line.stderr
    # 91-96 % and 3-8 % are known; ± 4 standard errors of a share of 300.
    assert (
        0.91 - 4 * math.sqrt(0.91 * 0.09 / runs)
        < covered / runs
        < 0.96 + 4 * math.sqrt(0.96 * 0.04 / runs)
    )
    assert fitted / runs < 0.08 + 4 * math.sqrt(0.08 * 0.92 / runs)


def test_batches_of_one_length_leave_out_the_oldest():
    # three of three, of means 2, 5 and 8
    mean, error, freedom = batch_means(np.array([100.0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    assert (mean, error, freedom) == (5, pytest.approx(3 / math.sqrt(3)), 2)


def test_the_rate_over_seeds_covers_the_truth():
    rng, runs, seeds = np.random.default_rng(6), 200, 5
    local = correlated(rng, (runs, seeds, 1000)) + 0.05 * rng.standard_normal((runs, seeds, 1))
    log_norm = np.concatenate([np.zeros((runs, seeds, 1)), np.cumsum(local, axis=-1)], axis=-1)
    found = [estimate_rate(entry, rng) for entry in log_norm]
    covered = sum(r.low < -0.3 < r.high for r in found) / runs
    # a bootstrap of n = 5 is narrow by √(4/5) and by z for t: 0.83-0.9
    assert covered > 0.87 - 4 * math.sqrt(0.87 * 0.13 / runs)
    assert covered < 0.99
    # The transient is left out: a burst in the first half changes nothing.
    burst = log_norm[0] + 100 * (np.arange(1001) > 200)
    assert estimate_rate(burst, rng).mean == pytest.approx(found[0].mean, abs=1e-12)


def test_the_rate_of_one_seed_and_of_too_few_steps():
    rng = np.random.default_rng(7)
    log_norm = np.concatenate([[0.0], np.cumsum(correlated(rng, (400,)))])[None]
    found = estimate_rate(log_norm, rng)
    assert found.low < found.mean < found.high
    assert math.isnan(found.sd)
    short = estimate_rate(log_norm[:, :4], rng)
    assert short.mean == pytest.approx((log_norm[0, 3] - log_norm[0, 1]) / 2)
    assert math.isnan(short.low)
    assert estimate_rate(np.array([[0.0, -1.0, -math.inf]]), rng).mean == -math.inf


def test_the_curve_is_made_of_order_statistics_relative_to_lag_one():
    log_norm = np.array(
        [
            [5.0, 1.0, 0.0, -1.0],
            [5.0, 2.0, 0.0, -math.inf],
            [5.0, 3.0, 0.0, -math.inf],
            [9.0, -math.inf, -math.inf, -math.inf],
        ]
    )
    found = curve_quantiles(log_norm[:3])
    assert found.median.tolist() == [3.0, 0.0, -2.0, -math.inf]
    assert found.low.tolist() == [2.0, 0.0, -3.0, -math.inf]
    assert found.high.tolist() == [4.0, 0.0, -1.0, -2.0]
    assert curve_quantiles(log_norm).low.tolist()[1:] == [-math.inf] * 3


def test_levels_are_read_at_the_first_lag_and_censored_beyond_the_last():
    log_size = np.log([9.0, 1.0, 0.6, 0.4, 0.6, 0.3])
    assert first_lag(log_size, 0.5) == 3
    assert first_lag(log_size, 0.3) == 5
    assert first_lag(log_size, 0.29) is None
    assert first_lag(np.array([0.0, -math.inf]), 2.0**-150) == 1


@pytest.mark.parametrize(("probes", "size"), [(1, 40), (4, 40), (16, 40), (40, 40)])
def test_the_offset_of_probes_for_a_product_of_rank_one(probes, size):
    rng, runs = np.random.default_rng(8), 2000
    blocks = np.linalg.qr(rng.standard_normal((runs, size, probes)))[0]
    logs = np.log((blocks[:, 0, :] ** 2).sum(axis=1) * size / probes) / 2
    assert logs.mean() == pytest.approx(
        probe_offset(probes, size), abs=4 * logs.std() / math.sqrt(runs) + 1e-12
    )
    assert probe_offset(size, size) == 0
