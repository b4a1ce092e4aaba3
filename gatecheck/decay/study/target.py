"""Measurement of networks run by a target: profiles by its backward, and checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.profile import Profile, adjoint_profile
from gatecheck.decay.jacobians.target_profile import (
    StepFunctions,
    carry_back,
    steps_from_custom_cell,
    steps_from_subject,
    subject_profile,
    working_dtype,
)
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.decay.study.networks import PROBES, Network, orthonormal_columns
from gatecheck.errors import TargetError
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomSubject

DIFFERENCE_STEPS = 3
"""Number of steps in which backward is compared with differences of forward."""


class TargetMeasurement(NamedTuple):
    """Measurement of a target on one sequence.

    Attributes
    ----------
    profile
        Profile by its own backward.
    gradient_residual
        |⟨u, J v⟩ - ⟨Jᵀu, v⟩| / (‖Jᵀu‖ ‖v‖), the largest of a few steps: J by central differences of
        its forward, Jᵀ by its backward. It is zero up to rounding and the error of the differences,
        about u^(2/3).
    departure
        Most nats by which its profile departs from that of the equations; NaN for a custom cell,
        which has none.
    """

    profile: Profile
    gradient_residual: float
    departure: float


def measure_target(
    network: Network,
    params: Mapping[str, Array],
    x: Array,
    rng: np.random.Generator,
    report: ReportProgress,
) -> TargetMeasurement:
    """Carry gradients through a target.

    Parameters
    ----------
    network
        Network with a target.
    params
        Canonical parameters; unused for a custom cell, which draws its own.
    x
        Inputs ``(T, D)``.
    rng
        Generator of cotangents, directions and the example of a custom cell.
    report
        See :data:`gatecheck.decay.jobs.job.JobFunction`.

    Raises
    ------
    TargetError
        If the target fails, or requires other sizes.
    """
    if isinstance(network.target, CustomSubject):
        return _measure_custom_cell(network.target, x, rng, report)
    if network.target is None:
        raise TargetError(f"{network.name} has no target")
    return _measure_known_cell(network, network.target, params, x, rng, report)


def _measure_custom_cell(
    subject: CustomSubject, x: Array, rng: np.random.Generator, report: ReportProgress
) -> TargetMeasurement:
    example = subject.example(int(rng.integers(2**31)), working_dtype(subject))
    steps, states = (
        steps_from_custom_cell(subject, example),
        [example[name] for name in example.states],
    )
    inputs = x.reshape(len(x), *example["x"].shape[1:])
    profile = carry_back(steps, inputs, _random_cotangents(states, rng), states, report)
    return TargetMeasurement(
        profile, _gradient_residual(steps, inputs, states, rng, working_dtype(subject)), math.nan
    )


def _measure_known_cell(
    network: Network,
    subject: Subject,
    params: Mapping[str, Array],
    x: Array,
    rng: np.random.Generator,
    report: ReportProgress,
) -> TargetMeasurement:
    start = network.probes(rng, PROBES)
    profile = subject_profile(subject, params, x, start, progress=report)
    with np.errstate(invalid="ignore"):  # where both are exact zeros they agree
        departures = np.abs(
            profile.log_norm - adjoint_profile(network.cell, params, x, start).log_norm
        )
    states = [np.zeros(network.hidden) for _ in start]
    return TargetMeasurement(
        profile,
        _gradient_residual(
            steps_from_subject(subject, params, 1), x, states, rng, working_dtype(subject)
        ),
        float(np.nanmax(departures)),
    )


def _random_cotangents(states: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Return orthonormal random cotangents of all states, split by state."""
    sizes = [s.size for s in states]
    parts = np.split(orthonormal_columns(rng, sum(sizes), PROBES).T, np.cumsum(sizes)[:-1], axis=1)
    return [part.reshape(-1, *s.shape) for part, s in zip(parts, states, strict=True)]


def _gradient_residual(
    steps: StepFunctions, x: Array, states: Sequence[Array], rng: np.random.Generator, dtype: str
) -> float:
    size, worst = float(np.finfo(dtype).eps) ** (1 / 3), 0.0
    at = [np.asarray(s) for s in states]
    for x_t in x[:DIFFERENCE_STEPS]:
        u, v = ([rng.standard_normal(s.shape) for s in at] for _ in range(2))
        above, below = (
            steps.step(x_t, [s + sign * size * d for s, d in zip(at, v, strict=True)])
            for sign in (1, -1)
        )
        pushed = sum(
            float(np.vdot(w, (a - b.astype(float)) / (2 * size)))
            for w, a, b in zip(u, above, below, strict=True)
        )
        back = [d[0] for d in steps.pull(x_t, at, [w[None] for w in u])]
        pulled = sum(float(np.vdot(d, w)) for d, w in zip(back, v, strict=True))
        scale = math.sqrt(
            sum(float(np.vdot(d, d)) for d in back) * sum(float(np.vdot(w, w)) for w in v)
        )
        worst = max(worst, abs(pushed - pulled) / scale if scale > 0 else abs(pushed))
        at = steps.step(x_t, at)
    return worst
