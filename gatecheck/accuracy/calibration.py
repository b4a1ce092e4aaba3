"""Calibration of the rounding budget: false alarms, tightness and sharpness.

They measure how well the budget separates correct code from wrong. Correct code is a framework's
cell, on cases far wider than an audit's: up to 200 steps and 128 units, contracting to chaotic,
gate biases from -20 to 20. Wrong code is the reference with a small relative error in one equation,
or with a gradient cut half-way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gatecheck._util.typing import Array, Progress
from gatecheck.accuracy.formulations import FORMULATIONS
from gatecheck.accuracy.tightness import row_count, tightness
from gatecheck.cases import Case, draw
from gatecheck.cells import GRU, LSTM, Cell, Sizes
from gatecheck.cells.gate_blocks import block
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, check_agreement, compare_blocks
from gatecheck.errors import InputError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import Edit, misread
from gatecheck.implementation import Subject, subject
from gatecheck.oracles.rounding import BUDGET_MULTIPLE
from gatecheck.reference import equations

RELATIVE_ERRORS = (1e-6, 2e-6, 4e-6, 8e-6, 1.6e-5, 3.2e-5, 6.4e-5)
"""Relative errors that are injected, smallest first."""


@dataclass(frozen=True)
class Calibration:
    """Errors of one correct implementation in spreads of the noisy reference.

    They are in one dtype; the budget is 8 spreads.

    Attributes
    ----------
    values, alarms
        Number of values judged, and of those outside their budget.
    largest, median, p999
        Quantiles of error / spread.
    inconclusive
        Share of values whose block could not be judged.

    Notes
    -----
    A value that is not finite is an alarm.
    """

    target: str
    dtype: str
    cases: int
    values: int
    alarms: int
    largest: float
    median: float
    p999: float
    inconclusive: float


def wide_case(cell: Cell, dtype: str, rng: np.random.Generator) -> Case:
    """Draw a case from a far wider range than an audit's."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    sizes = Sizes(
        T=round(log_uniform(4, 200)),
        B=int(rng.integers(1, 5)),
        D=round(log_uniform(1, 32)),
        H=round(log_uniform(1, 128)),
    )
    case = draw(
        cell,
        sizes,
        seed=int(rng.integers(2**32)),
        dtype=dtype,
        absent=("dy",) if rng.random() < 0.3 else (),
    )
    gain = log_uniform(0.2, 4)
    b = case["b"].copy()
    for gate in cell.sigmoid_gates:
        block(cell, b, gate)[...] += np.round(rng.uniform(-20, 20), 3)
    return case.replace(W=case["W"] * gain, U=case["U"] * gain, b=b)


def _ratios(implementation: Subject, case: Case) -> tuple[Array, int]:
    """Return error / spread of every judged value, and the number not judged."""
    budget = case_budget(case)
    blocks = list(
        compare_blocks(case.cell, implementation.run(case), budget.exact, budget.tolerance)
    )
    # NaN keeps a value that is not finite an alarm, without an infinity among the quantiles.
    judged = [
        BUDGET_MULTIPLE * np.where(np.isfinite(block.ratios), block.ratios, np.nan).ravel()
        for block in blocks
        if block.judged
    ]
    unjudged = sum(block.expected.size for block in blocks if not block.judged)
    return (np.concatenate(judged) if judged else np.zeros(0)), unjudged


def calibrate(
    implementation: Subject, dtype: str, cases: int, seed: int, tick: Callable[[str], None]
) -> Calibration:
    """Compare a correct implementation with the budget on many wide cases."""
    rng = np.random.default_rng(seed)
    ratios, unjudged = [], 0
    for _ in range(cases):
        r, u = _ratios(implementation, wide_case(implementation.cell, dtype, rng))
        ratios.append(r)
        unjudged += u
        tick(f"{implementation.name} {dtype}")
    r = np.concatenate(ratios)
    if not r.size:
        raise InputError(f"no value of {cases} cases could be judged in {dtype}: draw more")
    quantiles = np.quantile(r, [0.5, 0.999])
    return Calibration(
        implementation.name,
        dtype,
        cases,
        r.size,
        int((~(r <= BUDGET_MULTIPLE)).sum()),  # a NaN is an alarm
        float(r.max()),
        float(quantiles[0]),
        float(quantiles[1]),
        unjudged / (unjudged + r.size),
    )


def _is_detected(cell: Cell, edit: Edit, case: Case) -> bool:
    budget = case_budget(case)
    try:
        check_agreement(
            cell, subject(EditedCell(cell, edit)).run(case), budget.exact, budget.tolerance
        )
    except Violation:
        return True
    return False


def _scale_equation(name: str, factor: float) -> Edit:
    return lambda eq: {name: lambda s: eq[name](s) * np.asarray(factor, s.x.dtype)}


def sharpness(seed: int, tick: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the smallest relative error detected in each equation.

    Each is injected into one forward or backward equation of a float32 case; the figure is the
    median over five cases.
    """
    for cell in (GRU(), LSTM()):
        mathematics = equations(cell)
        cases = [draw(cell, Sizes(8, 3, 4, 6), seed=seed + k, dtype="float32") for k in range(5)]
        for name in (*mathematics.step, *mathematics.back):
            smallest = [
                next(
                    (
                        g
                        for g in RELATIVE_ERRORS
                        if _is_detected(cell, _scale_equation(name, 1 + g), case)
                    ),
                    float("inf"),
                )
                for case in cases
            ]
            yield {
                "cell": cell.name,
                "equation": name,
                "relative_error_seen": float(np.median(smallest)),
            }
            tick(f"{cell}: {name}")


def truncation(runs: int, seed: int, tick: Callable[[str], None]) -> dict[str, Any]:
    """Count how often a truncated gradient of a GRU is detected, in float32.

    It is cut half-way through 60 steps with slow gates.
    """
    cell = GRU()
    cut = misread("dh", dh_next=lambda s: s.dh_next * (s.t != 30))
    caught = 0
    for k in range(runs):
        caught += _is_detected(
            cell,
            cut,
            draw(
                cell,
                Sizes(60, 2, 3, 5),
                seed=seed + k,
                dtype="float32",
                regime="slow",
                absent=("dy",),
            ),
        )
        tick("truncated gradients")
    return {"runs": runs, "caught": caught, "T": 60, "cut_at": 30}


def calibration_report(
    implementations: list[Subject],
    cases: int,
    seed: int,
    *,
    tightness_cases: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure false alarms, tightness and sharpness, as plain data.

    Parameters
    ----------
    implementations
        Correct ones.
    cases
        Number of cases for each target and dtype.
    seed
        Seed of the cases.
    tightness_cases
        Number of cases at each regime and length, to compare the spread with the true error.
    progress
        Called with work done, work to do and a label.
    """
    dtypes = [(s, d) for s in implementations for d in s.dtypes]
    total = (
        cases * len(dtypes)
        + row_count() * len(dtypes)
        + sum(len(e.step) + len(e.back) for e in map(equations, (GRU(), LSTM())))
        + cases
    )
    done = 0

    def tick(label: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total, label)

    measured = [asdict(calibrate(s, d, cases, seed, tick)) for s, d in dtypes]
    return {
        "schema": "gatecheck-calibration-3",
        "seed": seed,
        "calibration": measured,
        "ensemble": [formulation.name for formulation in FORMULATIONS],
        "tightness": [
            row for s, d in dtypes for row in tightness(s, d, tightness_cases, seed, tick)
        ],
        "sharpness": list(sharpness(seed, tick)),
        "truncation": truncation(cases, seed, tick),
    }
