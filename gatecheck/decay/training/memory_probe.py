"""Tests of a popular story about the gates of trained networks.

"The cat, which …, was hungry": a unit is said to write when it reads the noun, to hold the noun's
number during the clause, and to have it still when the verb is due. Each part of that is a number
here, with an interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params, as_cell, require_plain_cell
from gatecheck.cells.validation import as_whole_number, check_inputs
from gatecheck.decay.theory.statistics import CONFIDENCE, student_quantile
from gatecheck.decay.training.horizon import last_loss_step
from gatecheck.decay.training.tasks import NOUNS, SUBJECT, agreement
from gatecheck.errors import InputError, UsageError
from gatecheck.reference import equations, forward

WRITE_GATES = {"gru": "z", "lstm": "i"}
CARRIER_ACCURACY = (
    0.95  # a unit carries the number if a threshold on it is right in this share of sentences
)


class MeanInterval(NamedTuple):
    """Mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class UnitMemory:
    """Memory of one unit for the subject's number.

    The write gate is z of a GRU and i of an LSTM; the keeping gate is 1 - z or f.

    Attributes
    ----------
    unit
        Index of the unit that fits the story best: of those that carry the number, the one whose
        gate keeps most; in a cell without gates, and where none carries it, the one whose threshold
        is right most often.
    carriers
        Number of units that carry the number: a threshold on h, or c of an LSTM, is right in 95 %
        of sentences when the verb is due.
    accuracy
        Share of sentences in which a threshold on the unit is right, with its exact binomial
        interval.
    subject, nouns, clause
        Write gate at the subject's noun, at the nouns of the clause, and at all steps after the
        noun until the verb is due; None in a cell without gates.
    gate_contrast
        Write gate at the subject's noun less that at the clause's nouns.
    retention
        Share of the unit's content after the noun that its keeping gate leaves until the verb is
        due: the product of the gate over the steps.
    retention_singular, retention_plural
        The same where the subject is singular and where it is plural: a unit may hold one number by
        its gate and write the other again and again.
    """

    unit: int
    carriers: int
    accuracy: MeanInterval
    subject: MeanInterval | None = None
    nouns: MeanInterval | None = None
    clause: MeanInterval | None = None
    gate_contrast: MeanInterval | None = None
    retention: MeanInterval | None = None
    retention_singular: MeanInterval | None = None
    retention_plural: MeanInterval | None = None

    @property
    def fits_story(self) -> bool:
        """True if all of the story holds, each part with 95 % confidence.

        A threshold on the unit is right more often than a coin, its write gate opens wider at the
        subject's noun than at those of the clause, and it keeps more than half of either number
        until the verb.
        """
        if (
            self.gate_contrast is None
            or self.retention_singular is None
            or self.retention_plural is None
        ):
            return False
        return (
            self.accuracy.low > 0.5
            and self.gate_contrast.low > 0
            and min(self.retention_singular.low, self.retention_plural.low) > 0.5
        )


def gate_trace(cell: str | Cell, params: Params, x: Array) -> dict[str, Array]:
    """Return every gate, candidate and state over one sequence.

    They are those of the reference's equations.

    Parameters
    ----------
    cell, params
        The cell, or its name, and its canonical float64 parameters.
    x
        Inputs ``(T, D)``, float64.

    Returns
    -------
    dict
        ``(T, H)`` each: ``r z n h``, ``i f g o h c`` or, in a cell without gates, ``h``.

    Raises
    ------
    InputError
        If an array does not fit.
    UsageError
        If the cell has options that decay does not measure.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        raise InputError(f"x has shape {np.shape(x)}, but should be a NumPy array of shape (T, D)")
    return {
        name: trace[:, 0]
        for name, trace in _traces(
            require_plain_cell(as_cell(cell), "decay measures"), params, x[:, None]
        ).items()
    }


def measure_memory(
    cell: str | Cell, params: Params, lag: int, sentences: int = 400, seed: int = 0
) -> UnitMemory:
    """Test a network against the story, on sentences of the agreement task.

    Parameters
    ----------
    cell, params
        The cell, or its name, and its canonical float64 parameters, trained on the task or not.
    lag
        Longest distance from the noun to the question.
    sentences
        Number of sentences. One half chooses the unit and its threshold; the result is measured on
        the other.
    seed
        Seed of the sentences.

    Raises
    ------
    InputError
        If the parameters do not fit the task.
    UsageError
        If there are fewer than 20 sentences, or the lag is too short.

    Notes
    -----
    Intervals are over sentences, for this one network; :func:`mean_interval` makes one over
    networks, from the mean of each.
    """
    cell = require_plain_cell(as_cell(cell), "decay measures")
    sentences, seed = as_whole_number("sentences", sentences, 20), as_whole_number("seed", seed, 0)
    task = agreement()
    batch = task.draw(np.random.default_rng([seed, 2]), sentences, lag)
    traces = _traces(cell, params, batch.x)
    due, rows = last_loss_step(batch), np.arange(sentences)
    plural = batch.target[due, rows].astype(bool)
    chosen, measured = rows < sentences // 2, rows >= sentences // 2
    state = traces[cell.state[-1]][due, rows]
    many, one = (state[chosen & mask] for mask in (plural, ~plural))
    if not (len(many) and len(one)):
        raise UsageError(
            f"all of the first {sentences // 2} sentences have subjects of one number: "
            "take more sentences"
        )
    many, one = many.mean(axis=0), one.mean(axis=0)
    right = ((state > (many + one) / 2) == (many > one)) == plural[:, None]
    score = right[chosen].mean(axis=0)
    carriers = score >= CARRIER_ACCURACY
    if cell.kind not in WRITE_GATES:
        unit = int(score.argmax())
        return UnitMemory(unit, int(carriers.sum()), _proportion_interval(right[measured, unit]))
    write = traces[WRITE_GATES[cell.kind]]
    keep = traces["f"] if cell.kind == "lstm" else 1 - write
    t = np.arange(len(write))[:, None]
    inside = (t > SUBJECT) & (t <= due)
    kept = np.where(inside[..., None], keep, 1).prod(axis=0)
    candidates = carriers if carriers.any() else score == score.max()
    unit = int(np.where(candidates, kept[chosen].mean(axis=0), -1).argmax())
    noun = np.isin(task.vocabulary, NOUNS)[batch.x.argmax(axis=-1)] & inside
    subject, averages = (
        write[SUBJECT, :, unit],
        [(write[..., unit] * mask).sum(axis=0) / mask.sum(axis=0) for mask in (noun, inside)],
    )
    intervals = [
        mean_interval(values[measured])
        for values in (subject, *averages, subject - averages[0], kept[:, unit])
    ]
    intervals += [mean_interval(kept[measured & mask, unit]) for mask in (~plural, plural)]
    return UnitMemory(
        unit, int(carriers.sum()), _proportion_interval(right[measured, unit]), *intervals
    )


def _proportion_interval(right: Array) -> MeanInterval:
    """Return the share of true values, with the exact Clopper-Pearson interval."""
    from scipy.stats import binomtest  # the import takes a second

    count = int(right.sum())
    exact = binomtest(count, len(right)).proportion_ci(CONFIDENCE)
    return MeanInterval(count / len(right), float(exact.low), float(exact.high))


def mean_interval(values: Array) -> MeanInterval:
    """Return the mean of independent values ``(n,)`` with Student's 95 % interval.

    The interval is NaN for fewer than two values.
    """
    mean = float(np.mean(values)) if len(values) else np.nan
    if len(values) < 2:
        return MeanInterval(mean, np.nan, np.nan)
    reach = float(student_quantile(len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return MeanInterval(mean, mean - reach, mean + reach)


def _traces(cell: Cell, params: Params, x: Array) -> dict[str, Array]:
    """Return gates and states ``(T, B, H)`` by name, for sequences ``(T, B, D)``."""
    H = check_inputs(cell, params, x, dtypes=("float64",)).H
    names = [name for name in (*cell.gates, *cell.state) if cell.kind != "rnn" or name == "h"]
    steps = forward(equations(cell), params, x)
    return {name: np.array([s[name] for s in steps]).reshape(*x.shape[:2], H) for name in names}
