"""Trials of a study: all measurements of one network on one sequence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians import self_checks
from gatecheck.decay.jobs.checkpoints import Checkpointer
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.decay.measures.lyapunov import lyapunov_spectrum
from gatecheck.decay.measures.measure import measure
from gatecheck.decay.measures.truncation import geometric_bound
from gatecheck.decay.result import Integrity
from gatecheck.decay.spec import MeasureSpec, NetworkSpec
from gatecheck.decay.study.networks import PROBES, Network, open_network
from gatecheck.decay.study.target import measure_target
from gatecheck.errors import InputError

LAG_POINTS = 400


def spaced_lags(steps: int) -> Array:
    """Return the lags of curves: all of the early ones, the later in equal ratios."""
    return np.unique(np.geomspace(1, steps, LAG_POINTS).round().astype(int))


def run_trial(
    arguments: Mapping[str, Any], report: ReportProgress, checkpointer: Checkpointer | None
) -> dict[str, Array]:
    """Run one trial of a network: one job of a study.

    Parameters
    ----------
    arguments
        ``network`` and ``measure``, the keys of their entries in the spec; ``steps``, ``seed``,
        ``trial``; ``files``, digests of their contents.
    report, checkpointer
        See :data:`gatecheck.decay.jobs.job.JobFunction`.

    Returns
    -------
    dict of arrays
        ``log_norm (T+1,)`` by lag; at the lags of :func:`spaced_lags` ``path_*`` and ``inputs``;
        ``gate_*``, ``time_constants``; ``truncation_*``; for the first trial also ``spectrum_*``
        and ``integrity``. For a target ``log_norm``, ``integrity`` and ``departure``.

    Raises
    ------
    InputError
        If the network overflows.
    """
    entry, chosen = NetworkSpec(**arguments["network"]), MeasureSpec(**arguments["measure"])
    steps, seed, trial = (arguments[name] for name in ("steps", "seed", "trial"))
    network = open_network(entry, steps, trial + 1)
    rng = network.generator(seed, trial)
    if network.target is not None:
        return _target_arrays(network, rng, arguments, report)
    params, start, x = (
        network.params(rng),
        network.probes(rng, PROBES),
        network.sequence(rng, steps, trial),
    )
    lags = spaced_lags(steps)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow raises below
        measurement = measure(
            network.cell,
            params,
            x,
            start,
            network.probes(rng, 1),
            progress=report,
            checkpointer=checkpointer,
            quantities=chosen,
        )
    log_norm = _check_finite(measurement.profile.log_norm, network, arguments)
    arrays: dict[str, Array] = {"log_norm": log_norm}
    arrays |= {
        f"path_{name}": log_norm[0] + sizes[lags] for name, sizes in measurement.paths.items()
    }
    if measurement.inputs is not None:
        arrays["inputs"] = measurement.inputs[lags - 1]
    if measurement.gates is not None:
        for name, gate in measurement.gates.by_name.items():
            arrays[f"gate_{name}"] = np.array([gate.mean, gate.closed, gate.open, *gate.counts])
        if measurement.gates.time_constants is not None:
            arrays["time_constants"] = measurement.gates.time_constants
    if measurement.truncation is not None and measurement.loss is not None:
        sizes = measurement.loss.log_norm
        # two exact zeros have no rate, and then there is no bound
        with np.errstate(invalid="ignore"):
            rate = float(sizes[-1] - sizes[steps // 2]) / (steps - steps // 2)
        arrays |= {
            "truncation_K": measurement.truncation.lags,
            "truncation_log": measurement.truncation.log_bias,
        }
        arrays["truncation_bound"] = geometric_bound(measurement.truncation, sizes, rate)
    if trial == 0:
        arrays |= _first_trial_arrays(network, params, x, chosen, rng)
    return arrays


def _target_arrays(
    network: Network, rng: np.random.Generator, arguments: Mapping[str, Any], report: ReportProgress
) -> dict[str, Array]:
    params, x = network.params(rng), network.sequence(rng, arguments["steps"], arguments["trial"])
    with np.errstate(all="ignore"):
        measurement = measure_target(network, params, x, rng, report)
    checks = Integrity(math.nan, measurement.gradient_residual, math.nan)
    return {
        "log_norm": _check_finite(measurement.profile.log_norm, network, arguments),
        "integrity": np.array(dataclasses.astuple(checks)),
        "departure": np.array(measurement.departure),
    }


def _check_finite(log_norm: Array, network: Network, arguments: Mapping[str, Any]) -> Array:
    if np.isnan(log_norm).any() or np.isposinf(log_norm).any():
        trial = f"seed {arguments['seed']}, trial {arguments['trial']}"
        raise InputError(
            f"{network.name} overflows within {arguments['steps']} steps ({trial}), "
            "so it has no gradient to measure"
        )
    return log_norm


def _first_trial_arrays(
    network: Network,
    params: Mapping[str, Array],
    x: Array,
    quantities: MeasureSpec,
    rng: np.random.Generator,
) -> dict[str, Array]:
    """Measure what only the first trial has."""
    checks = self_checks.check_measurement(network.cell, params, x, rng)
    arrays = {"integrity": np.array(dataclasses.astuple(checks))}
    if quantities.spectrum_steps:
        spectrum = lyapunov_spectrum(network.cell, params, x[: quantities.spectrum_steps], rng)
        steps = min(quantities.spectrum_steps, len(x))
        residual = (
            math.nan if spectrum.volume_residual is None else spectrum.volume_residual / steps
        )
        arrays["spectrum"] = np.stack([spectrum.exponents, spectrum.errors])
        arrays["spectrum_checks"] = np.array([steps, residual])
    return arrays
