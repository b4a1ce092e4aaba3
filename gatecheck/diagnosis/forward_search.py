"""The search for what a target's forward computes: conventions first, then faults, alone, in
another convention, and in pairs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import block
from gatecheck.checking.evidence import Violation, agree
from gatecheck.diagnosis.conventions import (
    Arrangement,
    Base,
    arrangements,
    neighbours,
    rearranged,
    truth,
)
from gatecheck.diagnosis.hypotheses import Hypothesis, is_mutant, pool
from gatecheck.diagnosis.prefilter import Mask, Screen, distinct, pairs
from gatecheck.errors import TargetError
from gatecheck.faults.fault import Fault
from gatecheck.oracles.rounding import Budget
from gatecheck.reference import Results, ahead

KEPT = 8
"""How many forward explanations that fit equally are followed into the backward."""

CONTRADICTED = 2
"""Pairs that more blocks contradict than this are not tried; see
:func:`gatecheck.diagnosis.prefilter.pairs`.
"""


class OutOfTimeError(Exception):
    """The search was cut."""


@dataclass
class Search:
    """The target's results on some cases, and the time that is left.

    Attributes
    ----------
    cell
        What the target declares.
    observed
        Cases and the target's results on each.
    ask
        The target's results on another case.
    deadline
        By time.process_time().
    tried
        How many hypotheses were run.
    stage
        What is being looked for, for the sentence that says how far it got.
    negated
        The gates whose polarity is the opposite one in the convention that the target declares.
    """

    cell: Cell
    observed: Sequence[tuple[Case, Results]]
    ask: Callable[[Case], Results]
    deadline: float
    tried: int = 0
    stage: str = "conventions"
    negated: str = ""

    @property
    def right(self) -> Base:
        """What the target should compute."""
        return truth(self.cell, self.negated)

    def tick(self, n: int = 1) -> None:
        """Count a trial.

        Raises
        ------
        OutOfTimeError
            If there is no time for it.
        """
        self.tried += n
        if time.process_time() > self.deadline:
            raise OutOfTimeError

    def residual(self, hypothesis: Hypothesis, *, gradients: bool = True) -> float | None:
        """The largest error of the target over its budget if the hypothesis were true; None if it
        is refuted.
        """
        worst, judged = 0.0, 0
        for case, got in self.observed:
            self.tick()
            kept = {k: v for k, v in got.items() if gradients or not _is_gradient(k)}
            both = any(map(_is_gradient, kept))
            budget = attempted(lambda case=case, both=both: hypothesis.budget(case, gradients=both))  # type: ignore[misc]
            seen = None if budget is None else within(self.cell, kept, budget)
            if seen is None:
                return None
            worst, judged = max(worst, seen[0]), judged + seen[1]
        return worst if judged else None


def _is_gradient(name: str) -> bool:
    return name.startswith("d")


def attempted(run: Callable[[], Any]) -> Any:
    """What it returns, or None if it fails.

    An edit for another cell, or of an equation that an earlier edit has changed, may fail in any
    way; then it explains nothing.
    """
    try:
        with np.errstate(all="ignore"):
            return run()
    except OutOfTimeError:
        raise
    except Exception:
        return None


def within(cell: Cell, got: Results, budget: Budget) -> tuple[float, int] | None:
    """Error over budget and the number of blocks judged, or None where something is out of budget."""
    for k, v in got.items():
        if k not in budget.exact or not (np.isnan(v) == np.isnan(budget.exact[k])).all():
            return None
    finite = {k: v for k, v in got.items() if np.isfinite(budget.exact[k]).all()}
    try:
        evidence = agree(cell, finite, {k: budget.exact[k] for k in finite}, budget.tolerance)
    except Violation:
        return None
    return evidence.ratio, evidence.judged


def chosen(results: Mapping[str, Array], gradients: bool) -> dict[str, Array]:
    """The gradients among some results, or the outputs."""
    return {k: v for k, v in results.items() if _is_gradient(k) == gradients}


def first_wrong(search: Search, hypothesis: Hypothesis, gradients: bool) -> int | None:
    """The first case on which the target's outputs, or its gradients, are not what the hypothesis
    says; None if all are.
    """
    for k, (case, got) in enumerate(search.observed):
        part = chosen(got, gradients)
        if part:
            budget = attempted(lambda case=case: hypothesis.budget(case, gradients=gradients))  # type: ignore[misc]
            if budget is None or within(search.cell, part, budget) is None:
                return k
    return None


# ---- the forward


def conventions(search: Search, case: Case, got: Results) -> Iterator[Base]:
    """Conventions whose outputs pass the screen."""
    search.stage = "conventions"
    screen, arrays = Screen.of(search.cell, chosen(got, False), case.dtype.name), case.doubles()
    target = screen.vector(chosen(got, False))
    for base in neighbours(search.cell):
        search.tick()
        found = attempted(
            lambda base=base: screen.vector(Hypothesis(base).predicted(arrays, gradients=False))
        )  # type: ignore[misc]
        if found is not None and screen.close(found, target).all():
            yield base
    for arrangement in _arranged(search, screen, target, arrays):
        yield rearranged(search.cell, arrangement)


def _arranged(
    search: Search, screen: Screen, target: Array, arrays: dict[str, Array]
) -> Iterator[Arrangement]:
    """Arrangements of the parameters that pass the screen, all tried in one run along a leading
    axis.
    """
    found = list(arrangements(search.cell))
    stacked = _stacked(search, found, arrays)
    search.tick(len(found))
    results, _ = ahead(truth(search.cell).equations, stacked)
    for k, arrangement in enumerate(found):
        if screen.close(screen.vector({name: a[k] for name, a in results.items()}), target).all():
            yield arrangement


def _stacked(
    search: Search, found: Sequence[Arrangement], arrays: dict[str, Array]
) -> dict[str, Array]:
    """The arrays as each arrangement has them, along a leading axis."""
    made = [rearranged(search.cell, a).given(arrays) for a in found]
    return {k: np.stack([m[k] for m in made]) for k in arrays if k != "lengths"}


def forward(search: Search, at: int) -> list[Hypothesis]:
    """The smallest explanations of the outputs, the best first; the case `at` is the one on which
    they are screened.
    """
    case, got = search.observed[at]
    found = [
        h
        for base in conventions(search, case, got)
        if search.residual(h := Hypothesis(base), gradients=False) is not None
    ]
    search.stage = "single faults in the forward"
    faults = pool(search.cell).forward
    screen, arrays = Screen.of(search.cell, chosen(got, False), case.dtype.name), case.doubles()
    target = screen.vector(chosen(got, False))
    alone: list[Array] = []
    runnable: list[Fault] = []
    for fault in faults:
        search.tick()
        h = Hypothesis(search.right, (fault,))
        row = attempted(lambda h=h: screen.vector(h.predicted(arrays, gradients=False)))  # type: ignore[misc]
        if row is None:
            continue
        alone.append(row)
        runnable.append(fault)
        if screen.close(row, target).all() and search.residual(h, gradients=False) is not None:
            found.append(h)
    if found:
        return found[: 3 * KEPT]
    found = elsewhere(search, case, got)
    return found + _forward_pairs(search, screen, case, runnable, np.array(alone), got)


# ---- one fault in another convention


def elsewhere(search: Search, case: Case, got: Results) -> list[Hypothesis]:
    """One named fault, in a convention that the target does not declare.

    The mutants are left out: in so many conventions some would fit whatever people write, and
    nobody would recognise them.
    """
    search.stage = "single faults in other conventions"
    faults = [fault for fault in pool(search.cell).forward if not is_mutant(fault)]
    screen, arrays = Screen.of(search.cell, chosen(got, False), case.dtype.name), case.doubles()
    target = screen.vector(chosen(got, False))
    found: list[Hypothesis] = []

    def keep(bases: Sequence[Base], fault: Fault) -> bool:
        fits = [
            h
            for h in (Hypothesis(base, (fault,)) for base in bases)
            if search.residual(h, gradients=False) is not None
        ]
        found.extend(fits)
        return bool(fits)

    usual = [a for a in arrangements(search.cell) if _is_usual(search, a)]
    stacked = _stacked(search, usual, arrays) if usual else {}
    for fault in faults:
        if len(found) >= KEPT:
            break
        for base in neighbours(search.cell):
            search.tick()
            row = attempted(
                lambda base=base, fault=fault: screen.vector(
                    Hypothesis(base, (fault,)).predicted(arrays, gradients=False)
                )
            )  # type: ignore[misc]
            if row is not None and screen.close(row, target).all():
                keep([base], fault)
        search.tick(len(usual))
        right = Hypothesis(truth(search.cell), (fault,))
        rows = (
            attempted(
                lambda h=right: screen.rows(h.predicted(stacked, gradients=False), len(usual))
            )
            if usual
            else None
        )  # type: ignore[misc]
        fits = (
            []
            if rows is None
            else [usual[k] for k in np.flatnonzero(screen.close(rows, target).all(-1))]
        )
        # What a fault hides of a convention is taken to be as declared: of several that fit, the
        # nearest.
        for _, near in itertools.groupby(fits, lambda a: a.distance(search.cell)):
            if keep([rearranged(search.cell, a) for a in near], fault):
                break
    return found


def _is_usual(search: Search, a: Arrangement) -> bool:
    """Whether people lay out parameters like that: one gate at most of the other polarity, and one
    thing about the layout.
    """
    # A sign is one of the target's own only beside those that its declared convention has.
    turned = [
        k
        for k, source in zip(search.cell.gates, a.source, strict=True)
        if (k in a.negated) != (source in search.negated)
    ]
    return (
        len(turned) <= 1
        and set(turned) <= set(search.cell.sigmoid_gates)
        and not (a.interleaved and a.transposed)
    )


# ---- pairs


def probes(case: Case) -> dict[str, Case]:
    """One step of a case, and the same with something zero: each silences some faults."""
    cell, arrays = case.cell, dict(case.arrays)
    start = {"x": arrays["x"][:1]} | ({"dy": arrays["dy"][:1]} if "dy" in arrays else {})
    first = case.having(**start)
    found = {"": first, "x is zero": first.having(x=0 * first["x"])}
    found |= {
        f"{k}0 is zero": first.having(**{f"{k}0": 0 * first[f"{k}0"]})
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
        return first.having(**new)

    found |= {f"{part} is zero": without(part, cell.gates) for part in "WUb"}
    if len(cell.gates) > 1:
        found |= {f"the blocks of {k} are zero": without("WUb", [k]) for k in cell.gates}
    return found


def on_probes(search: Search, case: Case) -> dict[str, Results]:
    """The target's outputs on the probes of a case; nothing if it does not take them."""
    try:
        return {label: chosen(search.ask(probe), False) for label, probe in probes(case).items()}
    except TargetError:
        return {}


def _forward_pairs(
    search: Search, screen: Screen, case: Case, faults: list[Fault], alone: Array, got: Results
) -> list[Hypothesis]:
    search.stage = "pairs of faults in the forward"
    right, dtype = search.right, case.dtype.name
    target = screen.vector(chosen(got, False))
    cases = probes(case)
    stacked = {
        k: np.stack([c.doubles()[k] for c in cases.values()])
        for k in case.arrays
        if k not in ("lengths", "dy")
    }
    seen = on_probes(search, case)
    flat = {
        f"{k}:{name}": a
        for k, out in enumerate(seen.values())
        for name, a in out.items()
        if name != "y"
    }
    small = Screen.of(search.cell, flat, dtype) if seen else None
    states = {
        name: a.shape for name, a in got.items() if name in (f"{k}T" for k in search.cell.state)
    }

    def probed(h: Hypothesis) -> Array:
        out = h.predicted(stacked, gradients=False)
        rows = {
            name: np.broadcast_to(out[name], (len(cases), *shape)) for name, shape in states.items()
        }
        assert small is not None
        return small.vector(
            {f"{k}:{name}": a[k] for k in range(len(cases)) for name, a in rows.items()}
        )

    rows: list[Array] = []
    kept: list[int] = []
    for k, fault in enumerate(faults):
        search.tick()
        more = (
            attempted(lambda fault=fault: probed(Hypothesis(right, (fault,))))
            if small
            else np.zeros(0)
        )  # type: ignore[misc]
        if more is not None:
            rows.append(more)
            kept.append(k)
    if not rows:  # no fault can be run at all
        return []
    whole = np.concatenate([alone[kept], np.array(rows)], axis=1)
    faults = [faults[k] for k in kept]
    zero = Hypothesis(right)
    base = screen.vector(zero.predicted(case.doubles(), gradients=False))
    silent, alike, observed = (
        screen.close(alone[kept], base),
        screen.close(alone[kept], target),
        screen.close(target, base),
    )
    if small:
        wanted, usual = small.vector(flat), probed(zero)
        few = np.array(rows)
        silent = np.concatenate([silent, small.close(few, usual)], axis=1)
        alike = np.concatenate([alike, small.close(few, wanted)], axis=1)
        observed = np.concatenate([observed, small.close(wanted, usual)])

    def matches(h: Hypothesis) -> bool:
        if small is not None:
            few = attempted(lambda: probed(h))
            if few is None or not small.close(few, wanted).all():
                return False
        row = attempted(lambda: screen.vector(h.predicted(case.doubles(), gradients=False)))
        return row is not None and bool(screen.close(row, target).all())

    return paired(
        search,
        faults,
        distinct(whole),
        (observed, silent, alike),
        lambda pair: Hypothesis(right, pair),
        matches,
        False,
    )


def paired(
    search: Search,
    faults: Sequence[Fault],
    groups: list[list[int]],
    masks: tuple[Mask, Mask, Mask],
    made: Callable[[tuple[Fault, Fault]], Hypothesis],
    matches: Callable[[Hypothesis], bool],
    gradients: bool,
) -> list[Hypothesis]:
    """Pairs that reproduce what was observed; of faults that do the same alone the first stands for
    all until one pair fits.
    """
    observed, silent, alike = masks
    heads = [g[0] for g in groups]
    found: list[Hypothesis] = []
    score_found: int | None = None
    for i, j, score in pairs(observed, silent[heads], alike[heads]):
        if (
            score > CONTRADICTED
            or (score_found is not None and score > score_found)
            or len(found) >= KEPT
        ):
            break
        for pair in _orders(search.cell, faults[heads[i]], faults[heads[j]]):
            search.tick()
            if not matches(made(pair)):
                continue
            twins = {heads[i]: groups[i], heads[j]: groups[j]}
            a, b = (next(g for k, g in twins.items() if faults[k] is fault) for fault in pair)
            tried = ((faults[p], faults[q]) for p in a[:4] for q in b[:4])
            fits = [
                h
                for both in tried
                if search.residual(h := made(both), gradients=gradients) is not None
            ]
            found += fits
            if fits:
                score_found = score
            break
    return found


def _orders(cell: Cell, a: Fault, b: Fault) -> list[tuple[Fault, Fault]]:
    """Either order, where both edit the same equation; else one."""
    plain = truth(cell).equations
    assert a.edit is not None
    assert b.edit is not None
    return [(a, b), (b, a)] if set(a.edit(plain)) & set(b.edit(plain)) else [(a, b)]


def ranked(hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """The fewest faults first, then conventions, then what people wrote before what nobody named,
    and what has a source before the rest.
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
