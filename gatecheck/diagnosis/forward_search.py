"""Search for what a target's forward computes.

Conventions are tried first, then faults, alone, in another convention, and in pairs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import block
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.diagnosis.conventions import (
    Arrangement,
    Model,
    alternative_models,
    arrangements,
    rearranged_model,
    reference_model,
)
from gatecheck.diagnosis.hypotheses import Hypothesis, candidate_faults, is_mutant
from gatecheck.diagnosis.prefilter import Mask, Screen, group_equal, ranked_pairs
from gatecheck.errors import TargetError
from gatecheck.faults.fault import Fault
from gatecheck.oracles.rounding import Budget
from gatecheck.reference import Results, network_forward

P = ParamSpec("P")
R = TypeVar("R")

MAX_EXPLANATIONS_FOLLOWED = 8
"""Largest number of equal forward explanations followed into the backward."""

MAX_CONTRADICTIONS = 2
"""Largest number of blocks that contradict a pair that is tried.

See :func:`gatecheck.diagnosis.prefilter.ranked_pairs`.
"""


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
    ask
        Function that returns the target's results on another case.
    deadline
        End of the search, by time.process_time().
    tried
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


# ---- the forward


def _row(screen: Screen, hypothesis: Hypothesis, arrays: dict[str, Array]) -> Array:
    """Return the outputs under a hypothesis as a row of the screen."""
    return screen.vector(hypothesis.predict(arrays, gradients=False))


def _rows(screen: Screen, hypothesis: Hypothesis, stacked: dict[str, Array], count: int) -> Array:
    """Return the outputs for arrays with a leading axis as rows of the screen."""
    return screen.rows(hypothesis.predict(stacked, gradients=False), count)


def screened_models(search: Search, case: Case, results: Results) -> Iterator[Model]:
    """Yield the conventions whose outputs pass the screen."""
    search.stage = "conventions"
    screen, arrays = (
        Screen.for_results(search.cell, select_results(results, False), case.dtype.name),
        case.as_float64(),
    )
    target = screen.vector(select_results(results, False))
    for base in alternative_models(search.cell):
        search.tick()
        row = try_or_none(_row, screen, Hypothesis(base), arrays)
        if row is not None and screen.close(row, target).all():
            yield base
    for arrangement in _screened_arrangements(search, screen, target, arrays):
        yield rearranged_model(search.cell, arrangement)


def _screened_arrangements(
    search: Search, screen: Screen, target: Array, arrays: dict[str, Array]
) -> Iterator[Arrangement]:
    """Yield the arrangements of the parameters that pass the screen.

    All are tried in one run along a leading axis.
    """
    candidates = list(arrangements(search.cell))
    stacked = _stack_arrangements(search, candidates, arrays)
    search.tick(len(candidates))
    results, _ = network_forward(reference_model(search.cell).equations, stacked)
    for k, arrangement in enumerate(candidates):
        if screen.close(screen.vector({name: a[k] for name, a in results.items()}), target).all():
            yield arrangement


def _stack_arrangements(
    search: Search, candidates: Sequence[Arrangement], arrays: dict[str, Array]
) -> dict[str, Array]:
    """Return the arrays in each arrangement, along a leading axis."""
    in_each = [rearranged_model(search.cell, a).to_equations(arrays) for a in candidates]
    return {k: np.stack([m[k] for m in in_each]) for k in arrays if k != "lengths"}


def explain_forward(search: Search, at: int) -> list[Hypothesis]:
    """Return the smallest explanations of the outputs, the best first.

    They are screened on the case with the index `at`.
    """
    case, results = search.observed[at]
    found = [
        h
        for base in screened_models(search, case, results)
        if search.residual(h := Hypothesis(base), gradients=False) is not None
    ]
    search.stage = "single faults in the forward"
    faults = candidate_faults(search.cell).forward
    screen, arrays = (
        Screen.for_results(search.cell, select_results(results, False), case.dtype.name),
        case.as_float64(),
    )
    target = screen.vector(select_results(results, False))
    rows: list[Array] = []
    runnable: list[Fault] = []
    for fault in faults:
        search.tick()
        h = Hypothesis(search.reference, (fault,))
        row = try_or_none(_row, screen, h, arrays)
        if row is None:
            continue
        rows.append(row)
        runnable.append(fault)
        if screen.close(row, target).all() and search.residual(h, gradients=False) is not None:
            found.append(h)
    if found:
        return found[: 3 * MAX_EXPLANATIONS_FOLLOWED]
    found = single_faults_in_other_conventions(search, case, results)
    return found + _fault_pairs_in_forward(search, screen, case, runnable, np.array(rows), results)


# ---- one fault in another convention


def single_faults_in_other_conventions(
    search: Search, case: Case, results: Results
) -> list[Hypothesis]:
    """Return explanations by one named fault in an undeclared convention.

    The mutants are left out: in that many conventions some would fit any code, and nobody would
    recognize them.
    """
    search.stage = "single faults in other conventions"
    faults = [fault for fault in candidate_faults(search.cell).forward if not is_mutant(fault)]
    screen, arrays = (
        Screen.for_results(search.cell, select_results(results, False), case.dtype.name),
        case.as_float64(),
    )
    target = screen.vector(select_results(results, False))
    found: list[Hypothesis] = []

    def add_if_confirmed(bases: Sequence[Model], fault: Fault) -> bool:
        fits = [
            h
            for h in (Hypothesis(base, (fault,)) for base in bases)
            if search.residual(h, gradients=False) is not None
        ]
        found.extend(fits)
        return bool(fits)

    usual = [a for a in arrangements(search.cell) if _is_common_layout(search, a)]
    stacked = _stack_arrangements(search, usual, arrays) if usual else {}
    for fault in faults:
        if len(found) >= MAX_EXPLANATIONS_FOLLOWED:
            break
        for base in alternative_models(search.cell):
            search.tick()
            row = try_or_none(_row, screen, Hypothesis(base, (fault,)), arrays)
            if row is not None and screen.close(row, target).all():
                add_if_confirmed([base], fault)
        search.tick(len(usual))
        right = Hypothesis(reference_model(search.cell), (fault,))
        rows = try_or_none(_rows, screen, right, stacked, len(usual)) if usual else None
        fits = (
            []
            if rows is None
            else [usual[k] for k in np.flatnonzero(screen.close(rows, target).all(-1))]
        )
        # A part of a convention that a fault hides is taken to be as declared: of several
        # arrangements that fit, the nearest counts.
        for _, equally_near in itertools.groupby(fits, lambda a: a.distance(search.cell)):
            if add_if_confirmed([rearranged_model(search.cell, a) for a in equally_near], fault):
                break
    return found


def _is_common_layout(search: Search, a: Arrangement) -> bool:
    """Return whether people lay out parameters like that.

    At most one gate has the other polarity, and at most one thing about the layout differs.
    """
    # A sign that the declared convention has too does not count.
    negated = [
        k
        for k, source in zip(search.cell.gates, a.sources, strict=True)
        if (k in a.negated) != (source in search.negated)
    ]
    return (
        len(negated) <= 1
        and set(negated) <= set(search.cell.sigmoid_gates)
        and not (a.interleaved and a.transposed)
    )


# ---- pairs


def probes(case: Case) -> dict[str, Case]:
    """Return one step of a case, and variants with a zero that silences some faults."""
    cell, arrays = case.cell, dict(case.arrays)
    start = {"x": arrays["x"][:1]} | ({"dy": arrays["dy"][:1]} if "dy" in arrays else {})
    first = case.replace(**start)
    variants = {"": first, "x is zero": first.replace(x=0 * first["x"])}
    variants |= {
        f"{k}0 is zero": first.replace(**{f"{k}0": 0 * first[f"{k}0"]})
        for k in cell.state
        if f"{k}0" in arrays
    }

    def without(parts: str, gates: Iterable[str]) -> Case:
        new = {
            name: a.copy()
            for name, a in case.params.items()
            if name.partition(".")[0] in tuple(parts)
        }
        for a in new.values():
            for gate in gates:
                block(cell, a, gate)[...] = 0
        return first.replace(**new)

    variants |= {f"{part} is zero": without(part, cell.gates) for part in "WUb"}
    if len(cell.gates) > 1:
        variants |= {f"the blocks of {k} are zero": without("WUb", [k]) for k in cell.gates}
    return variants


def run_probes(search: Search, case: Case) -> dict[str, Results]:
    """Return the target's outputs on the probes of a case; empty if it refuses them."""
    try:
        return {
            label: select_results(search.run_target(probe), False)
            for label, probe in probes(case).items()
        }
    except TargetError:
        return {}


def _fault_pairs_in_forward(
    search: Search, screen: Screen, case: Case, faults: list[Fault], alone: Array, results: Results
) -> list[Hypothesis]:
    search.stage = "pairs of faults in the forward"
    right, dtype = search.reference, case.dtype.name
    target = screen.vector(select_results(results, False))
    cases = probes(case)
    stacked = {
        k: np.stack([c.as_float64()[k] for c in cases.values()])
        for k in case.arrays
        if k not in ("lengths", "dy")
    }
    probe_outputs = run_probes(search, case)
    flat = {
        f"{k}:{name}": a
        for k, outputs in enumerate(probe_outputs.values())
        for name, a in outputs.items()
        if name != "y"
    }
    small = Screen.for_results(search.cell, flat, dtype) if probe_outputs else None
    states = {
        name: a.shape for name, a in results.items() if name in (f"{k}T" for k in search.cell.state)
    }

    def probe_row(h: Hypothesis) -> Array:
        outputs = h.predict(stacked, gradients=False)
        rows = {
            name: np.broadcast_to(outputs[name], (len(cases), *shape))
            for name, shape in states.items()
        }
        assert small is not None
        return small.vector(
            {f"{k}:{name}": a[k] for k in range(len(cases)) for name, a in rows.items()}
        )

    rows: list[Array] = []
    runnable: list[int] = []
    for k, fault in enumerate(faults):
        search.tick()
        row = try_or_none(probe_row, Hypothesis(right, (fault,))) if small else np.zeros(0)
        if row is not None:
            rows.append(row)
            runnable.append(k)
    if not rows:  # no fault can be run at all
        return []
    whole = np.concatenate([alone[runnable], np.array(rows)], axis=1)
    faults = [faults[k] for k in runnable]
    no_fault = Hypothesis(right)
    unchanged = screen.vector(no_fault.predict(case.as_float64(), gradients=False))
    silent, alike, observed = (
        screen.close(alone[runnable], unchanged),
        screen.close(alone[runnable], target),
        screen.close(target, unchanged),
    )
    if small:
        probe_target, probe_base = small.vector(flat), probe_row(no_fault)
        probe_rows = np.array(rows)
        silent = np.concatenate([silent, small.close(probe_rows, probe_base)], axis=1)
        alike = np.concatenate([alike, small.close(probe_rows, probe_target)], axis=1)
        observed = np.concatenate([observed, small.close(probe_target, probe_base)])

    def matches(h: Hypothesis) -> bool:
        if small is not None:
            probe_rows = try_or_none(probe_row, h)
            if probe_rows is None or not small.close(probe_rows, probe_target).all():
                return False
        row = try_or_none(_row, screen, h, case.as_float64())
        return row is not None and bool(screen.close(row, target).all())

    return matching_pairs(
        search,
        faults,
        group_equal(whole),
        (observed, silent, alike),
        lambda pair: Hypothesis(right, pair),
        matches,
        False,
    )


def matching_pairs(
    search: Search,
    faults: Sequence[Fault],
    groups: list[list[int]],
    masks: tuple[Mask, Mask, Mask],
    hypothesis_of: Callable[[tuple[Fault, Fault]], Hypothesis],
    matches: Callable[[Hypothesis], bool],
    gradients: bool,
) -> list[Hypothesis]:
    """Return pairs of faults that reproduce what was observed.

    Of faults that do the same alone the first stands for all until one pair fits.
    """
    observed, silent, alike = masks
    heads = [g[0] for g in groups]
    pairs_found: list[Hypothesis] = []
    score_found: int | None = None
    for i, j, score in ranked_pairs(observed, silent[heads], alike[heads]):
        if (
            score > MAX_CONTRADICTIONS
            or (score_found is not None and score > score_found)
            or len(pairs_found) >= MAX_EXPLANATIONS_FOLLOWED
        ):
            break
        for pair in _application_orders(search.cell, faults[heads[i]], faults[heads[j]]):
            search.tick()
            if not matches(hypothesis_of(pair)):
                continue
            twins = {heads[i]: groups[i], heads[j]: groups[j]}
            a, b = (next(g for k, g in twins.items() if faults[k] is fault) for fault in pair)
            candidates = ((faults[p], faults[q]) for p in a[:4] for q in b[:4])
            fits = [
                h
                for both in candidates
                if search.residual(h := hypothesis_of(both), gradients=gradients) is not None
            ]
            pairs_found += fits
            if fits:
                score_found = score
            break
    return pairs_found


def _application_orders(cell: Cell, a: Fault, b: Fault) -> list[tuple[Fault, Fault]]:
    """Return both orders of two faults that edit the same equation, else one."""
    plain = reference_model(cell).equations
    assert a.edit is not None
    assert b.edit is not None
    return [(a, b), (b, a)] if set(a.edit(plain)) & set(b.edit(plain)) else [(a, b)]


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
