"""State of a search, and how hypotheses are judged and ranked in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.diagnosis.conventions.models import Model, reference_model
from gatecheck.diagnosis.hypotheses import Hypothesis, is_mutant
from gatecheck.oracles.rounding import Budget
from gatecheck.reference import Results

P = ParamSpec("P")
R = TypeVar("R")

MAX_EXPLANATIONS_FOLLOWED = 8
"""Largest number of equal forward explanations followed into the backward."""


class OutOfTimeError(Exception):
    """Signal that the time of a search is over."""


@dataclass
class Search:
    """A target's results on some cases, and the time that is left.

    Attributes
    ----------
    cell
        The cell that the target declares.
    observed
        Cases and the target's results on each.
    run_target
        Function that returns the target's results on another case.
    deadline
        End of the search, by time.process_time().
    n_hypotheses
        Number of hypotheses that were run.
    stage
        What is being tried, for the message of a search that runs out of time.
    negated
        Gates that have the opposite polarity in the convention that the target declares.
    """

    cell: Cell
    observed: Sequence[tuple[Case, Results]]
    run_target: Callable[[Case], Results]
    deadline: float
    n_hypotheses: int = 0
    stage: str = "conventions"
    negated: str = ""

    @property
    def reference(self) -> Model:
        """Model of what the target should compute."""
        return reference_model(self.cell, self.negated)

    def tick(self, n: int = 1) -> None:
        """Count a trial.

        Raises
        ------
        OutOfTimeError
            If there is no time left.
        """
        self.n_hypotheses += n
        if time.process_time() > self.deadline:
            raise OutOfTimeError

    def residual(self, hypothesis: Hypothesis, *, gradients: bool = True) -> float | None:
        """Return the target's largest error over its budget under a hypothesis.

        None if the hypothesis is refuted.
        """
        worst, judged = 0.0, 0
        for case, results in self.observed:
            self.tick()
            compared = {k: v for k, v in results.items() if gradients or not _is_gradient(k)}
            with_gradients = any(map(_is_gradient, compared))
            budget = try_or_none(hypothesis.budget, case, gradients=with_gradients)
            ratio_and_blocks = None if budget is None else worst_ratio(self.cell, compared, budget)
            if ratio_and_blocks is None:
                return None
            worst, judged = max(worst, ratio_and_blocks[0]), judged + ratio_and_blocks[1]
        return worst if judged else None


def _is_gradient(name: str) -> bool:
    return name.startswith("d")


def try_or_none(run: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Return the result of a call, or None if it fails.

    An edit for another cell, or of an equation that an earlier edit has changed, may fail in any
    way; then it explains nothing.
    """
    try:
        with np.errstate(all="ignore"):
            return run(*args, **kwargs)
    except OutOfTimeError:
        raise
    except Exception:
        return None


def worst_ratio(cell: Cell, results: Results, budget: Budget) -> tuple[float, int] | None:
    """Return error over budget and number of blocks judged, or None if too large."""
    for k, v in results.items():
        if k not in budget.exact or not (np.isnan(v) == np.isnan(budget.exact[k])).all():
            return None
    finite = {k: v for k, v in results.items() if np.isfinite(budget.exact[k]).all()}
    try:
        evidence = check_agreement(
            cell, finite, {k: budget.exact[k] for k in finite}, budget.tolerance
        )
    except Violation:
        return None
    return evidence.ratio, evidence.judged


def select_results(results: Mapping[str, Array], gradients: bool) -> dict[str, Array]:
    """Return the gradients among some results, or the outputs."""
    return {k: v for k, v in results.items() if _is_gradient(k) == gradients}


def first_mismatch(search: Search, hypothesis: Hypothesis, gradients: bool) -> int | None:
    """Return the first case on which a hypothesis does not hold.

    Either the outputs or the gradients are compared. None if it holds on all cases.
    """
    for k, (case, results) in enumerate(search.observed):
        part = select_results(results, gradients)
        if part:
            budget = try_or_none(hypothesis.budget, case, gradients=gradients)
            if budget is None or worst_ratio(search.cell, part, budget) is None:
                return k
    return None


def rank(hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """Sort hypotheses by plausibility.

    The fewest faults come first, then conventions, then named faults before mutants, and those with
    a source before the rest.
    """

    def key(h: Hypothesis) -> tuple[int, int, int, int]:
        faults = h.faults
        return (
            h.size,
            len(faults) > 0,
            sum(map(is_mutant, faults)),
            -sum(bool(f.source) for f in faults),
        )

    return sorted(hypotheses, key=key)
