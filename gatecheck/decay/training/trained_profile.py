"""Trained against untrained: the job that trains one network and looks at it, and what several of
them come to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import as_cell
from gatecheck.decay.jobs.checkpoints import Keeper
from gatecheck.decay.jobs.job import Report
from gatecheck.decay.result import Curve, Sentence, Training
from gatecheck.decay.spec import TrainingSpec
from gatecheck.decay.study.summarize import curve_of
from gatecheck.decay.theory import statistics
from gatecheck.decay.training.horizon import horizon
from gatecheck.decay.training.memory_probe import Memory, gate_trace, interval, memory
from gatecheck.decay.training.tasks import SUBJECT, agreement, as_task
from gatecheck.decay.training.train import Trained, train, usual_start

POINTS = 200
"""How many losses are kept, each the mean of those since the one before."""

LAST = 5
"""Of how many losses at its end the mean stands for what comes after a training that ended early.
"""

READABLE = 30
"""How many words of a sentence a picture has room for."""

GATES = ("subject", "nouns", "opens", "kept_one", "kept_many")
"""Of :class:`gatecheck.decay.training.memory_probe.Memory`."""


def learn(arguments: Mapping[str, Any], report: Report, keeper: Keeper | None) -> dict[str, Array]:
    """Train one network and look at its gradients and gates: what a job of training is.

    Parameters
    ----------
    arguments
        ``training``, the keys of its entry in the spec; ``seed`` and ``trial``.
    report, keeper
        As of :data:`gatecheck.decay.jobs.job.Function`; an unfinished training is not kept.

    Returns
    -------
    dict of arrays
        ``losses``, ``final``, ``before`` and ``after`` ``(L+1,)`` by lag, the median of ln‖∂s/∂s‖
        over sequences; of the agreement task also ``memory``, and of the first trial ``words``,
        ``unit`` and ``trace_*``.
    """
    entry = TrainingSpec(**arguments["training"])
    seed, trial = arguments["seed"], arguments["trial"]
    own = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
    how = {"hidden": entry.hidden, "lag": entry.lag, "updates": entry.updates}
    trained = train(entry.cell, entry.task, entry.init, **how, seed=own, progress=report)
    reach = horizon(trained, seed=own)
    found = {
        "losses": trained.losses,
        "final": np.array([trained.loss, trained.accuracy, trained.solved_at is not None]),
        "before": np.median(reach.before, axis=0),
        "after": np.median(reach.after, axis=0),
    }
    if entry.task == "agreement":
        seen = memory(trained.cell, trained.params, entry.lag, seed=own)
        found["memory"] = _numbers(seen)
        if trial == 0:
            found |= _example(trained, seen.unit, own)
    return found


def _numbers(seen: Memory) -> Array:
    """The share told, the gates of :data:`GATES`, and whether the story holds; NaN in a cell
    without gates.
    """
    gates = [np.nan if (found := getattr(seen, name)) is None else found.mean for name in GATES]
    return np.array([seen.told.mean, *gates, seen.as_told])


def _example(trained: Trained, unit: int, seed: int) -> dict[str, Array]:
    """A sentence that is long, but can be read under a picture, and what the unit does over it."""
    task = agreement()
    batch = task.draw(np.random.default_rng([seed, 3]), 200, trained.lag)
    tokens = batch.x.argmax(axis=-1)
    stop = task.vocabulary.index(".")
    lengths = (tokens != stop).sum(axis=0)
    cat = np.isin(tokens[SUBJECT], [task.vocabulary.index(word) for word in ("cat", "cats")])
    row = int(np.argmax(np.where(cat & (lengths <= READABLE), lengths, 0)))
    x = np.ascontiguousarray(batch.x[: lengths[row], row])
    traces = gate_trace(trained.cell, trained.params, x)
    words = [task.vocabulary[k] for k in tokens[: lengths[row], row]]
    kept = {f"trace_{name}": trace[:, unit] for name, trace in traces.items()}
    return {"words": np.array(words), "unit": np.array([unit])} | kept


def summarise(entry: TrainingSpec, trials: Sequence[Mapping[str, Array]]) -> Training:
    """What several trainings of one kind come to.

    Parameters
    ----------
    entry
        From the spec.
    trials
        What :func:`learn` returned for each; at least one.
    """
    shortest = min(len(t["before"]) for t in trials)
    before, after = (np.stack([t[key][:shortest] for t in trials]) for key in ("before", "after"))
    ends = np.unique(
        np.linspace(1, max(len(t["losses"]) for t in trials), POINTS).round().astype(int)
    )
    smooth = np.stack([_smoothed(t["losses"], ends) for t in trials])
    return Training(
        setting=dataclasses.asdict(entry)
        | {"init": entry.init or usual_start(as_cell(entry.cell), entry.lag)},
        updates=tuple(ends.tolist()),
        loss=Curve(
            *(tuple(q.tolist()) for q in np.quantile(smooth, [0.5, *statistics.BAND], axis=0))
        ),
        baseline=as_task(entry.task).baseline,
        final=tuple(float(t["final"][0]) for t in trials),
        solved=tuple(bool(t["final"][2]) for t in trials),
        lags=tuple(range(1, before.shape[1])),
        before=curve_of(before),
        after=curve_of(after),
        needed=entry.lag,
        findings=_findings(trials),
        sentence=_sentence(entry, trials[0]),
    )


def _smoothed(losses: Array, ends: Array) -> Array:
    """Means between the ends; a training that ended early stays where it was."""
    whole = np.concatenate([losses, np.full(ends[-1] - len(losses), losses[-LAST:].mean())])
    sums = np.concatenate([[0.0], np.cumsum(whole)])
    starts = np.concatenate([[0], ends[:-1]])
    smooth: Array = (sums[ends] - sums[starts]) / (ends - starts)
    return smooth


def _findings(trials: Sequence[Mapping[str, Array]]) -> tuple[str, ...]:
    if "memory" not in trials[0]:
        return ()
    numbers = np.stack([t["memory"] for t in trials])
    told = interval(numbers[:, 0])
    out = [
        f"At the verb the state of one unit tells the subject's number in {told.mean:.0%} of sentences (mean of {len(trials)} networks)."
    ]
    if np.isfinite(numbers[:, 1]).all():
        subject, nouns, opens, one, many = (interval(column).mean for column in numbers[:, 1:-1].T)
        out.append(
            f"Its write gate is {subject:.2f} at the subject's noun and {nouns:.2f} at the nouns of the clause ({opens:+.2f}). Its keeping "
            f"gate leaves {one:.2f} of the memory until the verb where the subject is singular, {many:.2f} where it is plural."
        )
        as_told = int(numbers[:, -1].sum())
        out.append(
            f"In {as_told} of {len(trials)} networks it writes at the noun more than in the clause and holds either number by its gate, as "
            "the story has it."
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
