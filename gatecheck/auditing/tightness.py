"""How near the rounding budget's spread is to the true error of correct code, at every length and in every regime, chaotic ones too.

The true error is from the reference in a format that is finer than the target's by 2^-11 at least: float64 for float32, extended precision
for float64. Its own rounding passes through the same equations, so where a chaotic state makes an error grow it makes both grow, and it
stays a share of 2^-11 or so of the target's; ``tests/auditing/test_tightness.py`` holds it against certified values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gatecheck.budgets import case_budget
from gatecheck.cases import REGIMES, Case, draw
from gatecheck.cells import Array, Cell, Sizes
from gatecheck.evidence import blocks, compared
from gatecheck.implementation import Subject
from gatecheck.oracles.rounding import rms
from gatecheck.reference import equations, run

CHAOTIC = "chaotic"

ALL_REGIMES = (*REGIMES, CHAOTIC)

LENGTHS = (1, 10, 100, 400)

RECURRENCE = 12.0
"""The weights of the state in the chaotic regime, over the usual ones."""

FINER: Mapping[str, np.dtype[Any]] = {"float32": np.dtype(np.float64), "float64": np.dtype(np.longdouble)}
"""The format of the true values of each dtype; the latter is no finer on some platforms, which then have no figures in float64."""

Tick = Callable[[str], None]


def rows() -> int:
    """How many rows :func:`tightness` has, at most."""
    return len(ALL_REGIMES) * len(LENGTHS)


def regime_case(cell: Cell, dtype: str, regime: str, T: int, seed: int) -> Case:
    """A case of a regime and length, of 4 to 40 units."""
    rng = np.random.default_rng([seed, T])
    sizes = Sizes(T=T, B=2, D=int(rng.integers(1, 9)), H=int(rng.choice([4, 8, 16, 40])))
    drawn = draw(cell, sizes, seed=int(rng.integers(2**32)), dtype=dtype, regime="generic" if regime == CHAOTIC else regime)
    return drawn.with_recurrence(RECURRENCE) if regime == CHAOTIC else drawn


def truth(case: Case) -> dict[str, Array]:
    """The results of a case in the finer format."""
    finer = FINER[case.dtype.name]
    with np.errstate(all="ignore"):
        return dict(run(equations(case.cell), {k: v if k == "lengths" else v.astype(finer) for k, v in case.arrays.items()}))


def _compared(implementation: Subject, case: Case) -> Iterator[tuple[Array, Array]]:
    """The true errors and the spreads of every block that can be judged."""
    budget, true, got = case_budget(case), truth(case), implementation.run(case)
    judged = {b.label for b in compared(case.cell, got, budget.exact, budget.tolerance) if b.judged}
    for name in budget.exact:
        for label, where in blocks(case.cell, name, budget.exact[name]):
            if label in judged:
                off = np.abs(got[name][where].astype(true[name].dtype) - true[name][where])
                yield off.astype(float).ravel(), budget.spread[name][where].ravel()


def tightness(implementation: Subject, dtype: str, cases: int, seed: int, tick: Tick) -> Iterator[dict[str, Any]]:
    """Spread / true error of a correct implementation in one dtype, at the median, a row for each regime and length.

    Parameters
    ----------
    implementation
        A correct one.
    dtype
        float32 or float64.
    cases
        How many a row.
    seed
        Of the cases.
    tick
        Called with a label at each row.

    Yields
    ------
    dict
        ``values`` that could be judged and their ``blocks``; ``ratio``, the median over blocks of rms(spread) / rms(true error);
        ``entries``, the median over values of spread / true error; ``largest`` error in spreads. None where there is none: without a
        value, or where half of the errors or more are zero.

    Notes
    -----
    A spread is a root mean square over replicates, and an error one sample: where the budget is exact the median over values is
    1 / 0.674 = 1.48 for errors that are normal, and that over blocks is near 1.
    """
    if np.finfo(FINER[dtype]).eps > np.finfo(np.dtype(dtype)).eps / 2**11:
        return
    for regime in ALL_REGIMES:
        for T in LENGTHS:
            parts = [
                part
                for k in range(cases)
                for part in _compared(implementation, regime_case(implementation.cell, dtype, regime, T, seed + k))
            ]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = np.array([rms(spread, 0) / rms(off, 0) for off, spread in parts])
                entries = np.concatenate([spread / off for off, spread in parts]) if parts else np.zeros(0)
            yield {
                "target": implementation.name,
                "dtype": dtype,
                "regime": regime,
                "T": T,
                "blocks": len(parts),
                "values": int(entries.size),
                "ratio": _median(ratios),
                "entries": _median(entries),
                "largest": float(f"{1 / np.nanmin(entries):.4g}") if entries.size else None,
            }
            tick(f"{implementation.name} {dtype} {regime} T={T}")


def _median(ratios: Array) -> float | None:
    """To four digits; what is 0 / 0 says nothing."""
    known = ratios[~np.isnan(ratios)]
    middle = float(np.median(known)) if known.size else np.inf
    return float(f"{middle:.4g}") if np.isfinite(middle) else None
