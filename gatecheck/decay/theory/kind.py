"""Classes of decay: exponential, power of the lag, or mixture of exponentials.

A straight line through ln G fits nearly anything that falls (R² of 0.99 for a mixture), so local
slopes decide. With a(k) = -d ln G / dk, an exponential has the same a at every lag; a power law G ~
k^-p has a = p/k, so that -d ln G / d ln k = a k is the same at every lag. The index γ = -d ln a / d
ln k is 0 for an exponential and 1 for a power law, whatever the rate or the power. A mixture of
exponentials lies between: the fast ones die first, so a falls, but slower than 1/k while the
slowest is not gone.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.theory.statistics import student_quantile

KindName = Literal["exponential", "power", "mixture", "undecided"]

OCTAVES = 6
FIRST_LAG = 8  # a cotangent needs the first step or two to turn
# An index within 0.1 of 0 or 1 is called exponential or power: over the 64-fold range of lags, a
# changes by less than 1.5-fold against what it should be. A chrono initialization seen to 4 Tmax
# has 0.2.
TOLERANCE = 0.1
# A mean over fewer seeds has an interval too wide to be useful, so the scatter along each curve
# replaces it.
MIN_SEEDS = 3


class DecayKind(NamedTuple):
    """Class of decay, and the slopes that it was inferred from.

    Attributes
    ----------
    name
        "undecided" if the 95 % interval of the index fits no class, or some window does not fade.
    gamma, low, high
        γ over all windows and its 95 % interval; NaN if there is none.
    lags
        ``(w,)``: Geometric midpoints of the windows, each twice as long as the one before.
    rate, power
        ``(w,)``: Local slopes -d ln G / dk in nats per step and -d ln G / d ln k, means over seeds.
    """

    name: KindName
    gamma: float
    low: float
    high: float
    lags: Array
    rate: Array
    power: Array


def classify_decay(log_norm: Array) -> DecayKind:
    """Classify the decay of log-norms by lag.

    Parameters
    ----------
    log_norm
        ``(seeds, T+1)``: ln G of each seed, in nats. Lags from the first exact zero (-inf) of any
        seed on are left out.

    Returns
    -------
    Kind
        Class over the lags from the last down to its 64th part. The interval is Student's t over
        seeds, or with fewer than three seeds over the batches within each window.
    """
    finite = np.isfinite(log_norm).all(axis=0)
    last = (finite.size if finite.all() else int(np.argmin(finite))) - 1
    ends = [last >> j for j in range(OCTAVES, -1, -1) if last >> j >= FIRST_LAG]
    low, high = np.array(ends[:-1]), np.array(ends[1:])
    drop = -(log_norm[:, high] - log_norm[:, low]) if low.size else np.empty((len(log_norm), 0))
    rates = drop / (high - low)
    rate = rates.mean(axis=0)
    shape = np.sqrt(low * high), rate, drop.mean(axis=0) / np.log(high / low)
    if low.size < 3 or not (rates > 0).all():
        return DecayKind("undecided", math.nan, math.nan, math.nan, *shape)
    # Satterthwaite's degrees of freedom are no fewer than those of the shortest window.
    errors: Array | None = None
    freedom = len(log_norm) - 1
    if len(log_norm) < MIN_SEEDS:
        errors, freedom = (
            np.array([_window_errors(curve, low, high) for curve in log_norm]) / rates,
            math.isqrt(int(np.min(high - low))) - 1,
        )
    quantile = student_quantile(freedom)
    middles = (high - low) / np.log(high / low)  # so that a power law has exactly γ = 1
    half = (low.size + 1) // 2
    parts = [slice(None), slice(half), slice(low.size - half, None)]
    estimates = [
        _estimate_gamma(rates[:, s], middles[s], None if errors is None else errors[:, s])
        for s in parts
    ]
    (gamma, reach), *halves = [(estimate, quantile * error) for estimate, error in estimates]
    return DecayKind(_kind_name(gamma, reach, halves), gamma, gamma - reach, gamma + reach, *shape)


def _kind_name(gamma: float, half_width: float, halves: list[tuple[float, float]]) -> KindName:
    references: dict[KindName, float] = {"exponential": 0.0, "power": 1.0}
    for name, value in references.items():
        # The whole may be straight by accident, when its halves bend in opposite ways.
        if abs(gamma - value) + half_width <= TOLERANCE and all(
            abs(part - value) - error <= TOLERANCE for part, error in halves
        ):
            return name
    return (
        "mixture"
        if gamma - half_width > TOLERANCE and gamma + half_width < 1 - TOLERANCE
        else "undecided"
    )


def _estimate_gamma(rates: Array, middles: Array, errors: Array | None) -> tuple[float, float]:
    """Return the least-squares slope of -ln a on ln k, and its standard error.

    The slope is a mean over seeds.
    """
    centered = np.log(middles) - np.log(middles).mean()
    weights = centered / (centered**2).sum()
    slopes = -np.log(rates) @ weights
    seeds = len(slopes)
    if errors is None:
        return float(slopes.mean()), float(slopes.std(ddof=1)) / math.sqrt(seeds)
    return float(slopes.mean()), math.sqrt(float((errors**2 @ weights**2).sum())) / seeds


def _window_errors(curve: Array, low: Array, high: Array) -> Array:
    """Return standard errors of the mean slope within each window.

    They come from differences of neighboring batches (von Neumann 1941), which do not count as
    scatter that the slope drifts over a window, as it does in a power law.
    """
    errors = []
    for a, b in zip(low, high, strict=True):
        count = math.isqrt(b - a)
        means = (
            np.diff(curve[a : b + 1])[: (b - a) // count * count].reshape(count, -1).mean(axis=1)
        )
        errors.append(math.sqrt(float((np.diff(means) ** 2).mean()) / 2 / count))
    return np.array(errors)
