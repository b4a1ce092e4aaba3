"""Search for what a target's backward computes, given its forward.

Gradients that follow from the forward are tried first, then faults, alone and in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.diagnosis.fault_pairs import matching_pairs
from gatecheck.diagnosis.hypotheses import (
    ForwardTrace,
    Hypothesis,
    candidate_faults,
    exact_gradients,
)
from gatecheck.diagnosis.prefilter import Screen, group_equal
from gatecheck.diagnosis.probes import probes
from gatecheck.diagnosis.search import (
    MAX_EXPLANATIONS_FOLLOWED,
    Search,
    first_mismatch,
    select_results,
    try_or_none,
)
from gatecheck.faults.fault import Fault
from gatecheck.reference import Results


def explain_backward(search: Search, explanations: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Return the smallest explanations of outputs and gradients.

    `explanations` are those of the outputs.
    """
    search.stage = "gradients that follow from the forward"
    found = [h for e in explanations for h in _with_implied_gradients(search, e)]
    depth = 2 - min((len(e.forward) for e in explanations), default=2)
    if found or depth == 0:
        return found
    search.stage = "single faults in the backward"
    tables = []
    for e in explanations[:MAX_EXPLANATIONS_FOLLOWED]:
        at = first_mismatch(search, e, True)
        if at is None:
            continue
        table = try_or_none(_SingleFaults, search, e, at)
        if table is None:
            continue  # the textbook's backward cannot be run on this forward
        tables.append(table)
        fits = [replace(e, backward=(fault,)) for fault in table.matching_faults()]
        found += [h for h in fits if search.residual(h) is not None]
    if found or depth == 1:
        return found
    search.stage = "pairs of faults in the backward"
    for table in tables[:2]:
        found += table.matching_pairs()
    return found


def _with_implied_gradients(search: Search, explanation: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the explanation with the gradients that the target returns.

    They are either of the two that follow from the forward: the textbook's or the exact ones.
    """
    hypotheses = [explanation]
    if explanation.forward:
        hypotheses.append(replace(explanation, gradients="exact"))
    for h in hypotheses:
        if _passes_screen(search, h) and search.residual(h) is not None:
            yield h


def _passes_screen(search: Search, h: Hypothesis) -> bool:
    case, results = search.observed[0]
    screen = Screen.for_results(search.cell, select_results(results, True), case.dtype.name)

    def predicted_row() -> Array:
        gradients = (
            exact_gradients(h, case) if h.gradients == "exact" else h.predict(case.as_float64())
        )
        return screen.vector(gradients or {})

    search.tick()
    row = try_or_none(predicted_row)
    return row is not None and bool(
        screen.close(row, screen.vector(select_results(results, True))).all()
    )


class _GradientView:
    """The gradients of a case, and those of faulty backwards on one forward."""

    def __init__(self, explanation: Hypothesis, case: Case, gradients: Results) -> None:
        self.screen = Screen.for_results(case.cell, gradients, case.dtype.name)
        self.target = self.screen.vector(gradients)
        with np.errstate(all="ignore"):
            self.trace = ForwardTrace(explanation, case.as_float64())
            self.textbook_row = self.screen.vector(self.trace.backward())

    def row(self, *faults: Fault) -> Array | None:
        """Return the gradients with these faults, or None if they cannot be computed."""
        return try_or_none(self._computed, *faults)

    def _computed(self, *faults: Fault) -> Array:
        return self.screen.vector(self.trace.backward(*faults))

    def passes_screen(self, row: Array | None) -> bool:
        """Return whether a row passes the screen."""
        return row is not None and bool(self.screen.close(row, self.target).all())


class _SingleFaults:
    """Effects of single faults of the backward, on the forward of one explanation."""

    def __init__(self, search: Search, explanation: Hypothesis, at: int) -> None:
        self.search, self.explanation = search, explanation
        self.case, results = search.observed[at]
        self.full_view = _GradientView(explanation, self.case, select_results(results, True))
        self.faults: list[Fault] = []
        rows = []
        for fault in candidate_faults(search.cell).backward:
            search.tick()
            if (row := self.full_view.row(fault)) is not None:
                self.faults.append(fault)
                rows.append(row)
        self.rows = np.array(rows)

    def _view_of(self, case: Case) -> _GradientView:
        return _GradientView(
            self.explanation, case, select_results(self.search.run_target(case), True)
        )

    def matching_faults(self) -> list[Fault]:
        """Return the faults that pass the screen alone."""
        return [
            fault
            for fault, row in zip(self.faults, self.rows, strict=True)
            if self.full_view.passes_screen(row)
        ]

    def matching_pairs(self) -> list[Hypothesis]:
        """Return the pairs of faults that explain the gradients.

        A sequence of one step, on which nothing is carried yet, distinguishes most of them.
        """
        views, rows = [self.full_view], [self.rows]
        one_step = probes(self.case)[""]
        short = try_or_none(self._view_of, one_step)
        if short is not None:  # else the target refuses one step
            short_rows = [short.row(fault) for fault in self.faults]
            views.insert(0, short)
            rows.insert(
                0, np.array([short.textbook_row if row is None else row for row in short_rows])
            )
        close = [v.screen.close for v in views]
        observed = np.concatenate(
            [c(v.target, v.textbook_row) for c, v in zip(close, views, strict=True)]
        )
        silent = np.concatenate(
            [c(r, v.textbook_row) for c, v, r in zip(close, views, rows, strict=True)], axis=1
        )
        alike = np.concatenate(
            [c(r, v.target) for c, v, r in zip(close, views, rows, strict=True)], axis=1
        )
        masks = observed, silent, alike

        def matches(h: Hypothesis) -> bool:
            return all(view.passes_screen(view.row(*h.backward)) for view in views)

        groups = group_equal(np.concatenate(rows, axis=1))
        return matching_pairs(
            self.search,
            self.faults,
            groups,
            masks,
            lambda pair: replace(self.explanation, backward=pair),
            matches,
            True,
        )
