"""Summaries of the trials of a network: medians, bands, lags, kind, and theory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.target_profile import working_dtype
from gatecheck.decay.measures.truncation import first_lag_below
from gatecheck.decay.result import (
    Convergence,
    Curve,
    Gate,
    Integrity,
    NetworkRow,
    Spectrum,
    TheoryLine,
    Truncation,
)
from gatecheck.decay.study.networks import PROBES, Network
from gatecheck.decay.study.trial import spaced_lags
from gatecheck.decay.theory import statistics
from gatecheck.decay.theory.kind import classify_decay
from gatecheck.decay.theory.predictions import predictions

Trial = Mapping[str, Array]

CONVERGENCE_POINTS = 24
"""Number of lengths at which λ₁ is shown."""


def summarize_network(
    network: Network, trials: Sequence[Trial], name: str, rng: np.random.Generator
) -> NetworkRow:
    """Summarize the trials of a network as a row.

    Parameters
    ----------
    network
        The network.
    trials
        Results of :func:`gatecheck.decay.study.trial.run_trial`, at least one.
    name
        Name of the row.
    rng
        Generator of resamples, used for nothing else.
    """
    log_norm = np.stack([trial["log_norm"] for trial in trials])
    rate, curve = (
        statistics.estimate_rate(log_norm, rng),
        statistics.curve_quantiles(log_norm),
    )
    lags = spaced_lags(log_norm.shape[1] - 1)
    levels = (1 / 2, 1 / np.e, 1e-3, 2.0**-150)
    lag_half, lag_e, lag_thousandth, lag_float32 = (
        statistics.first_lag(curve.median, level) for level in levels
    )
    decay = classify_decay(log_norm)
    entry = network.entry
    lines = (
        []
        if entry.init is None or entry.data
        else predictions(network.cell, entry.init, network.inputs, network.hidden, entry.input_std)
    )
    return NetworkRow(
        name=name,
        network=dataclasses.asdict(network.entry),
        cell=network.cell.name,
        hidden=network.hidden,
        inputs=network.inputs,
        seeds=len(trials),
        rate=rate.mean,
        rate_low=rate.low,
        rate_high=rate.high,
        rate_sd=rate.sd,
        kind=decay.name,
        kind_index=decay.gamma,
        kind_low=decay.low,
        kind_high=decay.high,
        lag_half=lag_half,
        lag_e=lag_e,
        lag_thousandth=lag_thousandth,
        lag_float32_zero=lag_float32,
        lags=tuple(lags.tolist()),
        curve=statistics.relative_curve(log_norm, lags),
        theory=tuple(
            TheoryLine(p.assumption, p.rate, tuple(p.log_size(lags).tolist())) for p in lines
        ),
        paths=_paths(trials, log_norm[:, lags]),
        input_curve=_input_curve(trials),
        gates=_gates(trials),
        time_constants=_time_constants(trials),
        truncation=_truncation(trials),
        spectrum=_spectrum(network, trials[0]),
        convergence=_convergence(log_norm, rng),
        integrity=Integrity(*map(float, trials[0]["integrity"])),
        probe_offset=statistics.probe_offset(min(PROBES, network.size), network.size),
        notes=(*network.notes, *_target_notes(network, trials)),
    )


def _target_notes(network: Network, trials: Sequence[Trial]) -> Iterator[str]:
    """Yield findings of the trials about a target's backward."""
    if network.target is None:
        return
    dtype = working_dtype(network.target)
    if dtype != "float64":
        yield f"it runs in {dtype}"
    departure = max(float(trial["departure"]) for trial in trials)
    if not math.isnan(departure):
        yield f"its profile departs from that of the equations by at most {departure:.2g} nats"
    gradient = max(float(trial["integrity"][1]) for trial in trials)
    if gradient > float(np.finfo(dtype).eps) ** (
        1 / 3
    ):  # the error of the differences is about u^(2/3)
        yield (
            f"its backward departs from differences of its forward by {gradient:.2g} "
            "of their size: audit it before believing this row"
        )


def unique_names(networks: Sequence[Network]) -> list[str]:
    """Return a unique name for each network.

    It has the cell, the source, and whatever distinguishes the network from those alike.
    """
    out = []
    for network in networks:
        same_name = [other for other in networks if other.name == network.name]
        name = network.name
        for label, of in _DISTINCTIONS:
            if len({of(other) for other in same_name}) > 1:
                name += f" {label}{of(network)}"
        out.append(name)
    return out


_DISTINCTIONS: tuple[tuple[str, Any], ...] = (
    ("H=", lambda network: network.hidden),
    ("D=", lambda network: network.inputs),
    ("σ=", lambda network: f"{network.entry.input_std:g}"),
    ("on ", lambda network: network.entry.data or "random inputs"),
    ("from ", lambda network: network.entry.weights or ""),
)


def _paths(trials: Sequence[Trial], total: Array) -> dict[str, tuple[float, ...]]:
    """Return the median log-size of each path, relative to the whole at lag 1.

    The lag 1 is that of the same trial.
    """
    logs = {
        key.removeprefix("path_"): np.stack([t[key] for t in trials])
        for key in trials[0]
        if key.startswith("path_")
    }
    if not logs:
        return {}
    return {
        name: _median(log - _log_at_lag_one(total))
        for name, log in ({"total": total} | logs).items()
    }


def _log_at_lag_one(logs: Array) -> Array:
    """Return the first log of each trial, or 0 where that is of an exact zero."""
    first: Array = np.where(np.isneginf(logs[:, :1]), 0.0, logs[:, :1])
    return first


def _median(values: Array) -> tuple[float, ...]:
    medians: list[float] = np.quantile(values, 0.5, axis=0, method="inverted_cdf").tolist()
    return tuple(medians)


def _input_curve(trials: Sequence[Trial]) -> Curve | None:
    if "inputs" not in trials[0]:
        return None
    logs = np.stack([t["inputs"] for t in trials])
    return statistics.quantile_curve(logs - _log_at_lag_one(logs))


def _gates(trials: Sequence[Trial]) -> dict[str, Gate]:
    keys = [key for key in trials[0] if key.startswith("gate_")]
    means = {key: np.mean([t[key] for t in trials], axis=0) for key in keys}
    return {
        key.removeprefix("gate_"): Gate(
            float(m[0]), float(m[1]), float(m[2]), tuple((m[3:] / m[3:].sum()).tolist())
        )
        for key, m in means.items()
    }


def _time_constants(trials: Sequence[Trial]) -> tuple[float, ...]:
    if "time_constants" not in trials[0]:
        return ()
    return _median(np.stack([np.sort(t["time_constants"]) for t in trials]))


def _truncation(trials: Sequence[Trial]) -> Truncation | None:
    if "truncation_K" not in trials[0]:
        return None
    K = trials[0]["truncation_K"]
    logs = np.stack([t["truncation_log"] for t in trials])
    bias, bound = (
        statistics.quantile_curve(np.exp(logs)),
        _median(np.stack([t["truncation_bound"] for t in trials])),
    )
    tenth, hundredth = (first_lag_below(K, np.array(bias.median), level) for level in (0.1, 0.01))
    return Truncation(
        tuple(K.tolist()), bias, bound if np.isfinite(bound).any() else (), tenth, hundredth
    )


def _spectrum(network: Network, trial: Trial) -> Spectrum | None:
    if "spectrum" not in trial:
        return None
    exponents, errors = trial["spectrum"]
    steps, residual = trial["spectrum_checks"]
    return Spectrum(int(steps), tuple(exponents.tolist()), tuple(errors.tolist()), float(residual))


def _convergence(log_norm: Array, rng: np.random.Generator) -> Convergence:
    T = log_norm.shape[1] - 1
    steps = np.unique(np.geomspace(min(T, 16), T, CONVERGENCE_POINTS).round().astype(int))
    rates = [statistics.estimate_rate(log_norm[:, : t + 1], rng) for t in steps]
    columns = ([getattr(r, field) for r in rates] for field in ("mean", "low", "high"))
    return Convergence(tuple(steps.tolist()), *(tuple(map(float, column)) for column in columns))
