"""Tightness of the rounding budget: its spread against true errors.

It is measured at every length and in every regime, chaotic ones too.

A budget depends on the case and not on the implementation, so it is compared not with the error of
a single implementation but with that of an ensemble: the target and every one of
:data:`~gatecheck.accuracy.formulations.FORMULATIONS`. The spread is the root mean square over
replicates, so the true error of a value is the root mean square over the ensemble. That asks more
than the largest error would, which is reported too, and which no budget may exceed by much if some
correct implementation reaches it nearly.

The true error is from the reference in a format that is finer than the target's by 2^-11 at least:
float64 for float32, extended precision for float64. Its rounding passes through the same equations,
so where a chaotic state makes an error grow it makes both grow, and it stays a share of 2^-11 or so
of the target's; ``tests/auditing/test_tightness.py`` compares it with certified values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.accuracy.formulations import FORMULATIONS, require_correct
from gatecheck.cases import REGIMES, Case, draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import compare_blocks, result_blocks
from gatecheck.implementation import Subject
from gatecheck.oracles.noise.precision import PRECISIONS
from gatecheck.oracles.rounding import BUDGET_MULTIPLE, rms
from gatecheck.reference import equations, run

CHAOTIC = "chaotic"

ALL_REGIMES = (*REGIMES, CHAOTIC)

LENGTHS = (1, 10, 100, 400)

RECURRENCE = 12.0
"""Factor on the weights of the state in the chaotic regime."""

FINER_DTYPE: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float64),
    "float64": np.dtype(np.longdouble),
}
"""Format of the true values of each dtype.

Extended precision is no finer than float64 on some platforms, which then have no figures in
float64.
"""

EXACT_SHARE = 1 / 100
"""Share of a spread by which an exact formula may be off in the finer format.

2^-11 of eight spreads is 1 / 256.
"""

MAX_CHECKED_STEPS = 10
"""Largest number of steps at which every formulation is compared with true values.

Longer cases run the same equations.
"""

DRAWS_PER_CASE = 3
"""Cases drawn for each case that a row wants, where some cannot be judged."""

CHAOTIC_FACTOR = 4
"""Factor on the number of cases of a chaotic row.

All errors of one such case lie along the direction that grows fastest, and are one sample.
"""

Tick = Callable[[str], None]


def row_count() -> int:
    """Return the largest number of rows that :func:`tightness` can have."""
    return len(ALL_REGIMES) * len(LENGTHS)


def regime_case(cell: Cell, dtype: str, regime: str, T: int, seed: int) -> Case:
    """Draw a case of a regime and length, of 4 to 40 units."""
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


def true_results(case: Case) -> dict[str, Array]:
    """Return the results of a case in the finer format."""
    finer = FINER_DTYPE[case.dtype.name]
    with np.errstate(all="ignore"):
        return dict(
            run(
                equations(case.cell),
                {k: v if k == "lengths" else v.astype(finer) for k, v in case.arrays.items()},
            )
        )


class BlockErrors(NamedTuple):
    """True errors and spreads of one block.

    The errors are ``(1 + formulations, values)``, those of the target first; the spreads
    ``(values,)``.
    """

    errors: Array
    spread: Array


def block_errors(implementation: Subject, case: Case) -> list[BlockErrors]:
    """Return the blocks of a case that can be judged.

    There are none where a result is beyond the range of the format.

    Raises
    ------
    InputError
        If a formulation is not the mathematics of the cell.
    """
    budget, true, results = case_budget(case), true_results(case), implementation.run(case)
    judged = {
        b.label
        for b in compare_blocks(case.cell, results, budget.exact, budget.tolerance)
        if b.judged
    }
    # Chaotic gradients may overflow the format; others, times a slope of zero, are then NaN.
    info = np.finfo(case.dtype)
    if any(np.abs(exact).max(initial=0) > info.max * info.eps for exact in budget.exact.values()):
        return []
    places = [
        (n, where)
        for n, exact in budget.exact.items()
        for label, where in result_blocks(case.cell, n, exact)
        if label in judged
    ]
    allowed = {k: np.full(v.shape, np.inf) for k, v in budget.spread.items()}
    for name, where in places:
        allowed[name][where] = (
            EXACT_SHARE * budget.spread[name][where] + PRECISIONS[case.dtype.name].tiny
        )
    runs = [results]
    for formulation in FORMULATIONS if places else ():
        if case.sizes.T <= MAX_CHECKED_STEPS:
            require_correct(formulation, case, true, allowed)
        runs.append(formulation.run(case))

    def absolute_errors(name: str, where: tuple[slice | int, ...]) -> Array:
        exact_values = true[name][where]
        return np.array(
            [
                np.abs(r[name][where].astype(exact_values.dtype) - exact_values)
                .astype(float)
                .ravel()
                for r in runs
            ]
        )

    return [
        BlockErrors(absolute_errors(name, where), budget.spread[name][where].ravel())
        for name, where in places
    ]


def tightness(
    implementation: Subject, dtype: str, cases: int, seed: int, tick: Tick
) -> Iterator[dict[str, Any]]:
    """Yield spread / true error in one dtype, at the median.

    There is one row for each regime and length.

    Parameters
    ----------
    implementation
        A correct one, of a cell of one layer.
    dtype
        float32 or float64.
    cases
        Number of judgeable cases a row, if there are that many among :data:`DRAWS_PER_CASE` times
        as many; in chaotic rows :data:`CHAOTIC_FACTOR` times as many.
    seed
        Seed of the cases.
    tick
        Called with a label at each row.

    Yields
    ------
    dict
        ``cases`` and ``values`` that could be judged and their ``blocks``; ``ensemble``, ``worst``
        and ``alone``, spread / true error where the true error is the root mean square over the
        ensemble, its largest, and the target's own. In each ``blocks`` is the median over blocks of
        rms(spread) / rms(true error) and ``values`` that over values, None where half of the errors
        or more are zero; ``largest`` error of the ensemble in spreads, and the formulation that has
        it.

    Raises
    ------
    InputError
        If a formulation is not the mathematics of the cell.

    Notes
    -----
    The error of one implementation is one sample of what the spread is the root mean square of:
    where a budget is exact the median over values ``alone`` is 1 / 0.674 = 1.48 for errors that are
    normal, and the other two figures of ``alone`` and ``ensemble`` are near 1.
    """
    if np.finfo(FINER_DTYPE[dtype]).eps > np.finfo(np.dtype(dtype)).eps / 2**11:
        return
    for regime in ALL_REGIMES:
        for T in LENGTHS:
            wanted = cases * (CHAOTIC_FACTOR if regime == CHAOTIC else 1)
            drawn = (
                block_errors(
                    implementation, regime_case(implementation.cell, dtype, regime, T, seed + k)
                )
                for k in range(DRAWS_PER_CASE * wanted)
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
                [block for case_blocks in judged for block in case_blocks], PRECISIONS[dtype].tiny
            )
            tick(f"{implementation.name} {dtype} {regime} T={T}")


def _figures(parts: list[BlockErrors], tiny: float) -> dict[str, Any]:
    reductions: dict[str, Callable[[Array], Array]] = {
        "ensemble": lambda a: rms(a, 0),
        "worst": lambda a: a.max(0),
        "alone": lambda a: a[0],
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        figures: dict[str, Any] = {
            name: {
                "blocks": _median(
                    [rms(spread, 0) / reduction(rms(errors, 1)) for errors, spread in parts]
                ),
                "values": _median([spread / reduction(errors) for errors, spread in parts]),
            }
            for name, reduction in reductions.items()
        }
        largest = np.zeros(1 + len(FORMULATIONS))
        for errors, spread in parts:
            # Like a budget, allow the smallest normal number where every replicate underflows.
            largest = np.maximum(largest, (errors / (spread + tiny / BUDGET_MULTIPLE)).max(1))
    names = ["the target", *(s.name for s in FORMULATIONS)]
    return {
        "blocks": len(parts),
        "values": sum(part.spread.size for part in parts),
        **figures,
        "largest": float(f"{largest.max():.4g}") if parts else None,
        "largest_of": names[int(largest.argmax())] if parts else None,
    }


def _median(ratios: list[Any]) -> float | None:
    """Return the median to four digits, without those that are 0 / 0."""
    values = np.concatenate([np.ravel(r) for r in ratios]) if ratios else np.zeros(0)
    known = values[~np.isnan(values)]
    middle = float(np.median(known)) if known.size else np.inf
    return float(f"{middle:.4g}") if np.isfinite(middle) else None
