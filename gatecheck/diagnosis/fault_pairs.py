"""Search for pairs of faults that reproduce what was observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gatecheck.cells import Cell
from gatecheck.diagnosis.conventions.models import reference_model
from gatecheck.diagnosis.hypotheses import Hypothesis
from gatecheck.diagnosis.prefilter import Mask, ranked_pairs
from gatecheck.diagnosis.search import (
    MAX_EXPLANATIONS_FOLLOWED,
    Search,
)
from gatecheck.faults.fault import Fault

MAX_CONTRADICTIONS = 2
"""Largest number of blocks that contradict a pair that is tried.

See :func:`gatecheck.diagnosis.prefilter.ranked_pairs`.
"""


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
