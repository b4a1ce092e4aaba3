"""Tightness: the true values are true, and the ratios are those reported."""

import numpy as np
import pytest

from gatecheck.accuracy import tightness
from gatecheck.accuracy.formulations import FORMULATIONS, REWRITES, Formulation
from gatecheck.accuracy.report import certified_values
from gatecheck.accuracy.tightness import ALL_REGIMES, CHAOTIC, regime_case, true_results
from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import compare_blocks, result_blocks
from gatecheck.errors import InputError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread, times
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from gatecheck.oracles.rounding import Budget
from gatecheck.report.calibration_table import MAX_NEAR_RATIO

MAX_SHARE = 1 / 100
"""Largest share of the spread by which the true values may be off."""


def silent(label):
    pass


def widen(budget, factor):
    return Budget(budget.exact, {k: factor * v for k, v in budget.spread.items()}, budget.dtype)


def ratios(target, monkeypatch, dtype="float32", regimes=("generic",), lengths=(10,)):
    monkeypatch.setattr(tightness, "ALL_REGIMES", regimes)
    monkeypatch.setattr(tightness, "LENGTHS", lengths)
    return list(tightness.tightness(subject(target, name="t"), dtype, 2, 0, silent))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("regime", ALL_REGIMES)
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_true_values_match_certified_values(kind, regime, dtype):
    sizes = Sizes(12, 1, 2, 6) if regime == CHAOTIC else Sizes(5, 1, 2, 3)
    case = draw(
        CELLS[kind], sizes, seed=1, dtype=dtype, regime="generic" if regime == CHAOTIC else regime
    )
    case = case.with_recurrence(12) if regime == CHAOTIC else case
    budget, true = case_budget(case), true_results(case)
    judged = {
        b.label
        for b in compare_blocks(case.cell, budget.exact, budget.exact, budget.tolerance)
        if b.judged
    }
    compared_blocks = 0
    for name, (nearest, rest) in certified_values(case, gradients=True).items():
        for label, where in result_blocks(case.cell, name, nearest):
            if label in judged:
                error = np.abs(true[name][where] - nearest[where] - rest[where])
                np.testing.assert_array_less(
                    error, MAX_SHARE * budget.spread[name][where] + np.finfo(dtype).tiny
                )
                compared_blocks += 1
    assert compared_blocks > 5


def test_the_ratio_is_that_of_the_errors(monkeypatch):
    (row,) = ratios(Builtin("gru"), monkeypatch)
    assert row["cases"] == 2
    assert row["values"] > row["blocks"] > 30
    assert 1 < row["worst"]["blocks"] < row["ensemble"]["blocks"] < 5
    assert 1 < row["worst"]["values"] < row["ensemble"]["values"] < 5
    assert 1.48 < row["alone"]["values"] < 7
    assert 0.2 < row["largest"] < 8
    assert row["largest_of"] in ["the target", *(s.name for s in FORMULATIONS)]


def test_wrong_code_is_seen_in_every_figure(monkeypatch):
    (row,) = ratios(EditedCell(GRU(), misread("h", n=times(1 + 1e-4, "n"))), monkeypatch)
    assert max(row[name]["blocks"] for name in ("ensemble", "worst", "alone")) < 0.5
    assert row["alone"]["blocks"] < row["ensemble"]["blocks"] / 3
    assert (row["largest"] > 100, row["largest_of"]) == (True, "the target")


@pytest.mark.parametrize("regime", ["large", "saturated"])
def test_a_budget_that_is_ten_times_too_wide_is_seen(monkeypatch, regime):
    """It is seen also where most gates and units are saturated.

    There one implementation alone makes hardly an error.
    """
    (row,) = ratios(Builtin("lstm"), monkeypatch, regimes=(regime,))
    assert max(row["ensemble"].values()) <= MAX_NEAR_RATIO
    narrow = tightness.case_budget
    monkeypatch.setattr(tightness, "case_budget", lambda case: widen(narrow(case), 10))
    (wide,) = ratios(Builtin("lstm"), monkeypatch, regimes=(regime,))
    assert min(wide["ensemble"].values()) > MAX_NEAR_RATIO
    assert wide["largest"] < row["largest"] / 5


def test_a_chaotic_row_has_more_cases(monkeypatch):
    (row,) = ratios(Builtin("rnn"), monkeypatch, regimes=(CHAOTIC,))
    assert row["cases"] == 2 * tightness.CHAOTIC_FACTOR


def test_wrong_formulation_is_refused(monkeypatch):
    wrong = Formulation("convex", FORMULATIONS[0].arithmetic)
    monkeypatch.setitem(
        REWRITES,
        "convex",
        lambda base: {"h": lambda s: s.z * s.n + (1 - s.z) * s.h_prev * (1 + 1e-8)},
    )
    monkeypatch.setattr(tightness, "FORMULATIONS", (wrong,))
    with pytest.raises(
        InputError,
        match=r"the formulation 'convex; .*' of a gru is wrong: "
        r"in float64 its \w+ is off by .* times",
    ):
        ratios(Builtin("gru"), monkeypatch)


def test_overflowing_chaotic_gradient_is_not_judged():
    cases = [regime_case(CELLS["rnn"], "float32", CHAOTIC, 400, seed) for seed in range(4)]
    beyond = [
        c for c in cases if np.abs(case_budget(c).exact["dU"]).max() > np.finfo(np.float32).max
    ]
    assert beyond
    assert tightness.block_errors(subject(Builtin("rnn")), beyond[0]) == []


def test_the_ratio_does_not_grow_with_length(monkeypatch):
    """It grew where slow gates add up errors of many steps.

    That was as long as a half of each error was taken to be the same at every step.
    """
    short, long = ratios(Builtin("lstm"), monkeypatch, regimes=("slow",), lengths=(10, 100))
    assert long["ensemble"]["blocks"] < 1.5 * short["ensemble"]["blocks"]


def test_without_a_finer_format_there_is_no_figure(monkeypatch):
    monkeypatch.setitem(tightness.FINER_DTYPE, "float64", np.dtype(np.float64))
    assert ratios(Builtin("rnn"), monkeypatch, dtype="float64") == []


def test_unjudged_values_have_no_ratio(monkeypatch):
    monkeypatch.setattr(tightness, "compare_blocks", lambda *_: [])
    (row,) = ratios(Builtin("rnn"), monkeypatch)
    assert (row["cases"], row["values"], row["largest"], row["largest_of"]) == (0, 0, None, None)
    assert row["ensemble"] == row["worst"] == row["alone"] == {"blocks": None, "values": None}


def test_the_chaotic_regime_is_chaotic():
    growth = {}
    for regime in ("generic", CHAOTIC):
        cases = [regime_case(CELLS["rnn"], "float64", regime, 100, seed) for seed in range(6)]
        growth[regime] = np.median(
            [np.median(b["y"][-1]) for b in (case_budget(c).spread for c in cases)]
        )
    assert growth["generic"] < 1e-15
    assert growth[CHAOTIC] > 1e4 * growth["generic"]
