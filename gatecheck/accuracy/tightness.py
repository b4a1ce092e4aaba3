"""How near the rounding budget's spread is to the true error of correct code, at every length and
in every regime, chaotic ones too.

A budget is one case's, whoever is under audit, so what it is held against is the error of no single
implementation but of an ensemble: the target and every one of
:data:`~gatecheck.accuracy.formulations.SPELLINGS`. The spread is the root mean square over replicates,
so the true error of a value is the root mean square over the ensemble. That asks more than the
largest would, which is given beside it, and which no budget may be above by much if some correct
implementation comes near it.

The true error is from the reference in a format that is finer than the target's by 2^-11 at least:
float64 for float32, extended precision for float64. Its own rounding passes through the same
equations, so where a chaotic state makes an error grow it makes both grow, and it stays a share of
2^-11 or so of the target's; ``tests/auditing/test_tightness.py`` holds it against certified values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.accuracy.formulations import SPELLINGS, require_correct
from gatecheck.cases import REGIMES, Case, draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import blocks, compared
from gatecheck.implementation import Subject
from gatecheck.oracles.rounding import MULTIPLE, PRECISIONS, rms
from gatecheck.reference import equations, run

CHAOTIC = "chaotic"

ALL_REGIMES = (*REGIMES, CHAOTIC)

LENGTHS = (1, 10, 100, 400)

RECURRENCE = 12.0
"""The weights of the state in the chaotic regime, over the usual ones."""

FINER: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float64),
    "float64": np.dtype(np.longdouble),
}
"""The format of the true values of each dtype; the latter is no finer on some platforms, which then
have no figures in float64.
"""

SHARE = 1 / 100
"""By how much of a spread an exact formula may be off in the finer format; 2^-11 of eight spreads
is 1 / 256.
"""

CHECKED = 10
"""Up to so many steps every spelling is held against the true values; what is longer runs the same
equations.
"""

TRIES = 3
"""How many times as many cases are drawn as a row asks for, where some of them cannot be judged."""

SAMPLES = 4
"""How many times as many cases a chaotic row has: all errors of one lie along the direction that
grows fastest, and are one sample.
"""

Tick = Callable[[str], None]


def rows() -> int:
    """How many rows :func:`tightness` has, at most."""
    return len(ALL_REGIMES) * len(LENGTHS)


def regime_case(cell: Cell, dtype: str, regime: str, T: int, seed: int) -> Case:
    """A case of a regime and length, of 4 to 40 units."""
    rng = np.random.default_rng([seed, T])
    sizes = Sizes(T=T, B=2, D=int(rng.integers(1, 9)), H=int(rng.choice([4, 8, 16, 40])))
    drawn = draw(
        cell,
        sizes,
        seed=int(rng.integers(2**32)),
        dtype=dtype,
        regime="generic" if regime == CHAOTIC else regime,
    )
    return drawn.with_recurrence(RECURRENCE) if regime == CHAOTIC else drawn


def truth(case: Case) -> dict[str, Array]:
    """The results of a case in the finer format."""
    finer = FINER[case.dtype.name]
    with np.errstate(all="ignore"):
        return dict(
            run(
                equations(case.cell),
                {k: v if k == "lengths" else v.astype(finer) for k, v in case.arrays.items()},
            )
        )


class Block(NamedTuple):
    """True errors ``(1 + spellings, values)`` of one block, those of the target first, and the
    spreads ``(values,)``.
    """

    errors: Array
    spread: Array


def errors(implementation: Subject, case: Case) -> list[Block]:
    """The blocks of a case that can be judged; none where a result is beyond the format.

    Raises
    ------
    InputError
        If a spelling is not the mathematics of the cell.
    """
    budget, true, got = case_budget(case), truth(case), implementation.run(case)
    judged = {b.label for b in compared(case.cell, got, budget.exact, budget.tolerance) if b.judged}
    # Chaotic gradients may be beyond the format. Then they have no value in it, and others, times a
    # slope of zero, are no number.
    form = np.finfo(case.dtype)
    if any(np.abs(exact).max(initial=0) > form.max * form.eps for exact in budget.exact.values()):
        return []
    places = [
        (n, where)
        for n, exact in budget.exact.items()
        for label, where in blocks(case.cell, n, exact)
        if label in judged
    ]
    allowed = {k: np.full(v.shape, np.inf) for k, v in budget.spread.items()}
    for name, where in places:
        allowed[name][where] = SHARE * budget.spread[name][where] + PRECISIONS[case.dtype.name].tiny
    runs = [got]
    for spelling in SPELLINGS if places else ():
        if case.sizes.T <= CHECKED:
            require_correct(spelling, case, true, allowed)
        runs.append(spelling.run(case))

    def off(name: str, where: tuple[slice | int, ...]) -> Array:
        right = true[name][where]
        return np.array(
            [np.abs(r[name][where].astype(right.dtype) - right).astype(float).ravel() for r in runs]
        )

    return [Block(off(name, where), budget.spread[name][where].ravel()) for name, where in places]


def tightness(
    implementation: Subject, dtype: str, cases: int, seed: int, tick: Tick
) -> Iterator[dict[str, Any]]:
    """Spread / true error in one dtype, at the median, a row for each regime and length.

    Parameters
    ----------
    implementation
        A correct one, of a cell of one layer.
    dtype
        float32 or float64.
    cases
        How many a row that can be judged, if there are so many among :data:`TRIES` times as many;
        in chaotic rows :data:`SAMPLES` times as many.
    seed
        Of the cases.
    tick
        Called with a label at each row.

    Yields
    ------
    dict
        ``cases`` and ``values`` that could be judged and their ``blocks``; ``ensemble``, ``worst``
        and ``alone``, spread / true error where that is the root mean square over the ensemble, its
        largest, and the target's own. In each ``blocks`` is the median over blocks of rms(spread) /
        rms(true error) and ``values`` that over values, None where half of the errors or more are
        zero; ``largest`` error of the ensemble in spreads, and of which spelling it is.

    Raises
    ------
    InputError
        If a spelling is not the mathematics of the cell.

    Notes
    -----
    The error of one implementation is one sample of what the spread is the root mean square of: where a budget is exact the median over
    values ``alone`` is 1 / 0.674 = 1.48 for errors that are normal, and the other two figures of ``alone`` and ``ensemble`` are near 1.
    """
    if np.finfo(FINER[dtype]).eps > np.finfo(np.dtype(dtype)).eps / 2**11:
        return
    for regime in ALL_REGIMES:
        for T in LENGTHS:
            wanted = cases * (SAMPLES if regime == CHAOTIC else 1)
            drawn = (
                errors(implementation, regime_case(implementation.cell, dtype, regime, T, seed + k))
                for k in range(TRIES * wanted)
            )
            judged = list(itertools.islice(filter(None, drawn), wanted))
            row = {
                "target": implementation.name,
                "dtype": dtype,
                "regime": regime,
                "T": T,
                "cases": len(judged),
            }
            yield row | _figures(
                [block for of_case in judged for block in of_case], PRECISIONS[dtype].tiny
            )
            tick(f"{implementation.name} {dtype} {regime} T={T}")


def _figures(parts: list[Block], tiny: float) -> dict[str, Any]:
    reductions: dict[str, Callable[[Array], Array]] = {
        "ensemble": lambda a: rms(a, 0),
        "worst": lambda a: a.max(0),
        "alone": lambda a: a[0],
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        figures: dict[str, Any] = {
            name: {
                "blocks": _median([rms(spread, 0) / reduced(rms(off, 1)) for off, spread in parts]),
                "values": _median([spread / reduced(off) for off, spread in parts]),
            }
            for name, reduced in reductions.items()
        }
        largest = np.zeros(1 + len(SPELLINGS))
        for off, spread in parts:
            # As a budget has it, which allows the smallest normal number where every replicate
            # underflows.
            largest = np.maximum(largest, (off / (spread + tiny / MULTIPLE)).max(1))
    names = ["the target", *(s.name for s in SPELLINGS)]
    return {
        "blocks": len(parts),
        "values": sum(part.spread.size for part in parts),
        **figures,
        "largest": float(f"{largest.max():.4g}") if parts else None,
        "largest_of": names[int(largest.argmax())] if parts else None,
    }


def _median(ratios: list[Any]) -> float | None:
    """To four digits; what is 0 / 0 says nothing."""
    together = np.concatenate([np.ravel(r) for r in ratios]) if ratios else np.zeros(0)
    known = together[~np.isnan(together)]
    middle = float(np.median(known)) if known.size else np.inf
    return float(f"{middle:.4g}") if np.isfinite(middle) else None
