"""Whole studies: every network and every training of a spec, at every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gatecheck._util.typing import Progress
from gatecheck._util.versions import versions
from gatecheck.decay.jobs.checkpoints import Checkpointer, PartStore
from gatecheck.decay.jobs.job import Job, JobResult, ReportProgress
from gatecheck.decay.jobs.run import emit_warning, run_jobs
from gatecheck.decay.result import DecayResult
from gatecheck.decay.spec import Spec
from gatecheck.decay.study import summarize, trial
from gatecheck.decay.study.networks import Network, file_digests, open_network
from gatecheck.decay.training import trained_profile
from gatecheck.errors import UsageError

UPDATE_COST = 400
"""Approximate cost of a training update in steps of a measurement.

Only the progress bar uses it.
"""


def decay(
    spec: Spec,
    progress: Progress | None = None,
    *,
    workers: int = 1,
    store: PartStore | None = None,
    resume: bool = False,
    dask: str | None = None,
    notify: Callable[[str], None] = emit_warning,
) -> DecayResult:
    """Measure how fast gradients fade with lag.

    Parameters
    ----------
    spec
        Study to run; see :func:`gatecheck.decay.spec.parse_spec`.
    progress
        Called with the work done, the work to do and the label of what is being measured.
    workers, store, resume, dask, notify
        See :func:`gatecheck.decay.jobs.run.run_jobs`. They do not change the result. A job is one
        network on one sequence, or one training.

    Returns
    -------
    DecayResult
        G(lag) is the median over seeds of ‖∂s_T/∂s_{T-lag}‖ (Frobenius norm, s = h or (h, c))
        relative to lag 1, measured from min(16, size of s) random orthonormal cotangents of s_T.

    Raises
    ------
    UsageError
        If a name is unknown, no combination exists, or the store or the cluster cannot be used.
    WeightsFileError, InputError
        If a file cannot be read or does not fit, or a network overflows.
    WorkerLostError
        If a process was killed; the store keeps what was finished before.
    MissingExtraError
        If a required package is missing.
    """
    networks, skipped = _open_networks(spec)
    jobs = [_trial_job(spec, network, k) for network in networks for k in range(spec.seeds)]
    jobs += [_training_job(spec, entry, k) for entry in spec.training for k in range(entry.seeds)]
    options: dict[str, Any] = {
        "workers": workers,
        "store": store,
        "resume": resume,
        "dask": dask,
        "progress": progress,
        "notify": notify,
    }
    results = iter(run_jobs(run_job, jobs, **options))
    rows = []
    for network, name in zip(networks, summarize.unique_names(networks), strict=True):
        trials = [next(results) for _ in range(spec.seeds)]
        rows.append(
            summarize.summarize_network(
                network, trials, name, network.generator(spec.seed, spec.seeds)
            )
        )
    training = tuple(
        trained_profile.summarize_training(entry, [next(results) for _ in range(entry.seeds)])
        for entry in spec.training
    )
    return DecayResult(spec.to_dict(), tuple(rows), training, skipped, versions())


def run_job(
    arguments: Mapping[str, Any], report: ReportProgress, checkpointer: Checkpointer | None
) -> JobResult:
    """Run a job of a study: a trial or a training."""
    return (trained_profile.run_training_trial if "training" in arguments else trial.run_trial)(
        arguments, report, checkpointer
    )


def _open_networks(spec: Spec) -> tuple[list[Network], tuple[str, ...]]:
    """Return the networks, and the impossible combinations, each with the reason."""
    networks, skipped = [], []
    for entry in spec.networks:
        try:
            networks.append(open_network(entry, spec.steps, spec.seeds))
        except UsageError as error:
            if entry.weights is not None or entry.target is not None:
                raise
            skipped.append(f"{entry.cell} {entry.init}: {error}")
    if not networks:
        raise UsageError(
            "nothing to measure: " + ("; ".join(skipped) or "the spec names no network")
        )
    return networks, tuple(dict.fromkeys(skipped))


def _trial_job(spec: Spec, network: Network, k: int) -> Job:
    arguments = {
        "network": dataclasses.asdict(network.entry),
        "measure": dataclasses.asdict(spec.measure),
        "files": file_digests(network.entry),
        "steps": spec.steps,
        "seed": spec.seed,
        "trial": k,
    }
    return Job(network.name, f"trial {k}", arguments, 2 * spec.steps)


def _training_job(spec: Spec, entry: Any, k: int) -> Job:
    arguments = {"training": dataclasses.asdict(entry), "seed": spec.seed, "trial": k}
    return Job(
        f"training {entry.cell} on {entry.task}",
        f"trial {k}",
        arguments,
        UPDATE_COST * entry.updates,
    )
