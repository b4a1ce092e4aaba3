"""Search for what a target's forward computes.

Conventions are tried first, then faults, alone, in another convention, and in pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.diagnosis.conventions.alternatives import alternative_models
from gatecheck.diagnosis.conventions.arrangements import Arrangement, arrangements
from gatecheck.diagnosis.conventions.models import Model, rearranged_model, reference_model
from gatecheck.diagnosis.fault_pairs import matching_pairs
from gatecheck.diagnosis.hypotheses import Hypothesis, candidate_faults, is_mutant
from gatecheck.diagnosis.prefilter import Screen, group_equal
from gatecheck.diagnosis.probes import probes, run_probes
from gatecheck.diagnosis.search import (
    MAX_EXPLANATIONS_FOLLOWED,
    Search,
    select_results,
    try_or_none,
)
from gatecheck.faults.fault import Fault
from gatecheck.reference import Results, network_forward


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
