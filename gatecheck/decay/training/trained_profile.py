"""Training in a study: the job that trains one network, and summaries of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import as_cell
from gatecheck.decay.jobs.checkpoints import Checkpointer
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.decay.result import Curve, Sentence, Training
from gatecheck.decay.spec import TrainingSpec
from gatecheck.decay.theory import statistics
from gatecheck.decay.training.horizon import measure_trained_profiles
from gatecheck.decay.training.memory_probe import (
    UnitMemory,
    gate_trace,
    mean_interval,
    measure_memory,
)
from gatecheck.decay.training.tasks import SUBJECT, agreement, as_task
from gatecheck.decay.training.train import TrainedNetwork, default_init, train

LOSS_POINTS = 200
"""Number of losses that are kept, each the mean of those since the one before."""

FINAL_LOSSES = 5
"""Number of final losses whose mean extends a training that ended early."""

MAX_WORDS = 30
"""Most words of a sentence that fit under a picture."""

MEMORY_FIELDS = ("subject", "nouns", "gate_contrast", "retention_singular", "retention_plural")
"""Fields of a unit's memory that a trial stores."""


def run_training_trial(
    arguments: Mapping[str, Any], report: ReportProgress, checkpointer: Checkpointer | None
) -> dict[str, Array]:
    """Train one network and measure its gradients and gates: one job of a study.

    Parameters
    ----------
    arguments
        ``training``, the keys of its entry in the spec; ``seed`` and ``trial``.
    report, checkpointer
        See :data:`gatecheck.decay.jobs.job.JobFunction`; the state of an unfinished training is not
        saved.

    Returns
    -------
    dict of arrays
        ``losses``, ``final``, ``before`` and ``after`` ``(L+1,)`` by lag, the median of ln‖∂s/∂s‖
        over sequences; for the agreement task also ``memory``, and for its first trial ``words``,
        ``unit`` and ``trace_*``.
    """
    entry = TrainingSpec(**arguments["training"])
    seed, trial = arguments["seed"], arguments["trial"]
    own_seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
    options = {"hidden": entry.hidden, "lag": entry.lag, "updates": entry.updates}
    trained = train(entry.cell, entry.task, entry.init, **options, seed=own_seed, progress=report)
    gradients = measure_trained_profiles(trained, seed=own_seed)
    arrays = {
        "losses": trained.losses,
        "final": np.array([trained.loss, trained.accuracy, trained.solved_at is not None]),
        "before": np.median(gradients.before, axis=0),
        "after": np.median(gradients.after, axis=0),
    }
    if entry.task == "agreement":
        unit_memory = measure_memory(trained.cell, trained.params, entry.lag, seed=own_seed)
        arrays["memory"] = _memory_array(unit_memory)
        if trial == 0:
            arrays |= _example_sentence(trained, unit_memory.unit, own_seed)
    return arrays


def _memory_array(unit_memory: UnitMemory) -> Array:
    """Return the accuracy, :data:`MEMORY_FIELDS`, and whether the story holds.

    The gates are NaN in a cell without gates.
    """
    gates = [
        np.nan if (found := getattr(unit_memory, name)) is None else found.mean
        for name in MEMORY_FIELDS
    ]
    return np.array([unit_memory.accuracy.mean, *gates, unit_memory.fits_story])


def _example_sentence(trained: TrainedNetwork, unit: int, seed: int) -> dict[str, Array]:
    """Return a long sentence that fits under a picture, and the unit's gates over it."""
    task = agreement()
    batch = task.draw(np.random.default_rng([seed, 3]), 200, trained.lag)
    tokens = batch.x.argmax(axis=-1)
    stop = task.vocabulary.index(".")
    lengths = (tokens != stop).sum(axis=0)
    cat = np.isin(tokens[SUBJECT], [task.vocabulary.index(word) for word in ("cat", "cats")])
    row = int(np.argmax(np.where(cat & (lengths <= MAX_WORDS), lengths, 0)))
    x = np.ascontiguousarray(batch.x[: lengths[row], row])
    traces = gate_trace(trained.cell, trained.params, x)
    words = [task.vocabulary[k] for k in tokens[: lengths[row], row]]
    kept = {f"trace_{name}": trace[:, unit] for name, trace in traces.items()}
    return {"words": np.array(words), "unit": np.array([unit])} | kept


def summarize_training(entry: TrainingSpec, trials: Sequence[Mapping[str, Array]]) -> Training:
    """Summarize several trainings of one entry.

    Parameters
    ----------
    entry
        Entry of the spec.
    trials
        Results of :func:`run_training_trial`, at least one.
    """
    shortest = min(len(t["before"]) for t in trials)
    before, after = (np.stack([t[key][:shortest] for t in trials]) for key in ("before", "after"))
    ends = np.unique(
        np.linspace(1, max(len(t["losses"]) for t in trials), LOSS_POINTS).round().astype(int)
    )
    smooth = np.stack([_smooth_losses(t["losses"], ends) for t in trials])
    return Training(
        setting=dataclasses.asdict(entry)
        | {"init": entry.init or default_init(as_cell(entry.cell), entry.lag)},
        updates=tuple(ends.tolist()),
        loss=Curve(
            *(tuple(q.tolist()) for q in np.quantile(smooth, [0.5, *statistics.BAND], axis=0))
        ),
        baseline=as_task(entry.task).baseline,
        final=tuple(float(t["final"][0]) for t in trials),
        solved=tuple(bool(t["final"][2]) for t in trials),
        lags=tuple(range(1, before.shape[1])),
        before=statistics.relative_curve(before),
        after=statistics.relative_curve(after),
        needed=entry.lag,
        findings=_findings(trials),
        sentence=_sentence(entry, trials[0]),
    )


def _smooth_losses(losses: Array, ends: Array) -> Array:
    """Return means between the ends; a training that ended early stays where it was."""
    whole = np.concatenate([losses, np.full(ends[-1] - len(losses), losses[-FINAL_LOSSES:].mean())])
    sums = np.concatenate([[0.0], np.cumsum(whole)])
    starts = np.concatenate([[0], ends[:-1]])
    smooth: Array = (sums[ends] - sums[starts]) / (ends - starts)
    return smooth


def _findings(trials: Sequence[Mapping[str, Array]]) -> tuple[str, ...]:
    if "memory" not in trials[0]:
        return ()
    numbers = np.stack([t["memory"] for t in trials])
    accuracy = mean_interval(numbers[:, 0])
    out = [
        "At the verb the state of one unit tells the subject's number "
        f"in {accuracy.mean:.0%} of sentences (mean of {len(trials)} networks)."
    ]
    if np.isfinite(numbers[:, 1]).all():
        subject, nouns, opens, one, many = (
            mean_interval(column).mean for column in numbers[:, 1:-1].T
        )
        out.append(
            f"Its write gate is {subject:.2f} at the subject's noun "
            f"and {nouns:.2f} at the nouns of the clause ({opens:+.2f}). "
            f"Its keeping gate leaves {one:.2f} of the memory until the verb "
            f"where the subject is singular, {many:.2f} where it is plural."
        )
        confirmed = int(numbers[:, -1].sum())
        out.append(
            f"In {confirmed} of {len(trials)} networks it writes at the noun more than "
            "in the clause and holds either number by its gate, as the story has it."
        )
    return tuple(out)


def _sentence(entry: TrainingSpec, trial: Mapping[str, Array]) -> Sentence | None:
    if "words" not in trial:
        return None
    traces = {
        key.removeprefix("trace_"): tuple(trial[key].tolist())
        for key in trial
        if key.startswith("trace_")
    }
    hidden = traces.pop("h")
    state = tuple(np.tanh(traces.pop("c")).tolist()) if "c" in traces else hidden
    return Sentence(tuple(map(str, trial["words"])), traces, int(trial["unit"][0]), state)
