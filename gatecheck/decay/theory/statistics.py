"""Statistics of log-norms over seeds: rates, intervals, curves and lags."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import digamma, stdtrit

from gatecheck._util.typing import Array
from gatecheck.decay.result import Curve

CONFIDENCE = 0.95
RESAMPLES = 2000
BAND = (0.1, 0.9)


class RateEstimate(NamedTuple):
    """Decay rate λ₁ in nats per step, and its interval.

    They are NaN where data do not suffice.
    """

    mean: float
    low: float
    high: float
    sd: float  # over seeds


class CurveQuantiles(NamedTuple):
    """Quantiles of ln G over seeds, each of the shape of one seed's curve."""

    median: Array
    low: Array
    high: Array


def student_quantile(freedom: float) -> float:
    """Return the half-width of Student's 95 % interval, in standard errors.

    It is NaN without a degree of freedom.
    """
    # scipy.stats takes a second to import, in every process of a sweep
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def batch_means(local: Array) -> tuple[float, float, int]:
    """Return the mean of a correlated series, its standard error, and its freedom.

    The last is the degrees of freedom of the error's Student t. The series is cut into √n batches
    of one length, the oldest entries left out, and the batches are taken as independent. (A
    straight line fitted to the sums has residuals that are a random walk; its textbook interval
    covers 3-8 % where it claims 95 %.) The error is NaN with fewer than two batches.
    """
    count = math.isqrt(local.size)
    length = local.size // count
    means = local[local.size - count * length :].reshape(count, length).mean(axis=1)
    error = float(means.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(means.mean()), error, count - 1


def estimate_rate(log_norm: Array, rng: np.random.Generator) -> RateEstimate:
    """Estimate λ₁ over the longer half of all lags, after the transient.

    Parameters
    ----------
    log_norm
        ``(seeds, T+1)``: Log-norms by lag.
    rng
        Generator of the resamples, used for nothing else.

    Returns
    -------
    Rate
        Mean over seeds. Its 95 % interval is a bootstrap over seeds in which each drawn seed's rate
        carries the Student t error of its batch means; with one seed, that of the batch means
        alone. -inf with an interval of NaN if a gradient is exactly zero.
    """
    seeds, T = log_norm.shape[0], log_norm.shape[1] - 1
    if not np.isfinite(log_norm[:, -1]).all():
        return RateEstimate(float(log_norm[:, -1].min()), math.nan, math.nan, math.nan)
    local = np.diff(log_norm[:, T // 2 :], axis=1)
    means, errors, freedom = (
        np.array(column) for column in zip(*map(batch_means, local), strict=True)
    )
    sd = float(means.std(ddof=1)) if seeds > 1 else math.nan
    if freedom[0] < 1:
        return RateEstimate(float(means.mean()), math.nan, math.nan, sd)
    if seeds == 1:
        reach = student_quantile(freedom[0]) * float(errors[0])
        return RateEstimate(float(means[0]), float(means[0]) - reach, float(means[0]) + reach, sd)
    drawn = rng.integers(seeds, size=(RESAMPLES, seeds))
    resampled = (means[drawn] + errors[drawn] * rng.standard_t(freedom[0], drawn.shape)).mean(
        axis=1
    )
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return RateEstimate(float(means.mean()), float(low), float(high), sd)


def curve_quantiles(log_norm: Array) -> CurveQuantiles:
    """Return the quantiles over seeds of ln G, the log-norm relative to lag 1.

    Quantiles are order statistics, so that an exact zero (-inf) takes part in no arithmetic. With
    an even number of seeds the median is the lower of the middle two.
    """
    start = log_norm[:, 1:2]
    relative = np.where(
        np.isneginf(log_norm), -np.inf, log_norm - np.where(np.isneginf(start), 0.0, start)
    )
    low, median, high = np.quantile(
        relative, [BAND[0], 0.5, BAND[1]], axis=0, method="inverted_cdf"
    )
    return CurveQuantiles(median, low, high)


def first_lag(log_size: Array, level: float) -> int | None:
    """Return the first lag from 1 on at which the curve is at or below ln(`level`).

    It is None if there is no such lag ("> T").
    """
    reached = np.flatnonzero(log_size[1:] <= math.log(level))
    return int(reached[0]) + 1 if reached.size else None


def probe_offset(probes: int, size: int) -> float:
    """Return the mean of ln(estimate / Frobenius norm) for a product of rank one.

    The norm is estimated from random probes. Of k orthonormal probes in n dimensions, the squared
    length of a unit vector's projection follows Beta(k/2, (n-k)/2). Products near full rank have no
    offset, so this is the worst case, and ln G is low by no more than that. It is 0 when k = n.
    """
    return float(digamma(probes / 2) - digamma(size / 2) + math.log(size / probes)) / 2


def relative_curve(log_norm: Array, lags: Array | None = None) -> Curve:
    """Return ln G at some lags, or all from 1 on, from log-norms ``(seeds, T+1)``."""
    chosen: Any = slice(1, None) if lags is None else lags
    return Curve(*(tuple(quantile[chosen].tolist()) for quantile in curve_quantiles(log_norm)))


def quantile_curve(values: Array) -> Curve:
    """Return the median and the band of values over seeds, the first axis."""
    low, median, high = np.quantile(values, [BAND[0], 0.5, BAND[1]], axis=0, method="inverted_cdf")
    return Curve(*(tuple(quantile.tolist()) for quantile in (median, low, high)))
