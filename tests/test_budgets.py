"""Budgets: that of the outputs alone is that of everything, and a process remembers as many as it is told."""

import numpy as np
import pytest

from gatecheck import budgets
from gatecheck.budgets import case_budget, forward_budget, remembered
from gatecheck.cases import draw
from gatecheck.cells import CELLS, LSTM, RNN, VARIANTS, Sizes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", [*CELLS.values(), *VARIANTS.values()], ids=str)
def test_the_budget_of_the_outputs_alone_is_that_of_everything_to_the_last_bit(cell, dtype):
    for absent, regime in (((), "generic"), (("h0", "dy"), "strong")):
        case = draw(cell, Sizes(5, 3, 2, 4), seed=3, dtype=dtype, regime=regime, absent=absent)
        alone, whole = forward_budget(case), case_budget(case)
        assert [*alone.exact] == ["y", *(f"{k}T" for k in cell.state)]
        for name, spread in alone.spread.items():
            assert np.any(spread > 0)
            np.testing.assert_array_equal(spread, whole.spread[name])
            np.testing.assert_array_equal(alone.exact[name], whole.exact[name])
        assert alone.dtype == dtype


def test_rows_that_end_early_have_a_budget_of_their_outputs():
    case = draw(LSTM(), Sizes(5, 3, 2, 4), seed=3, dtype="float32", ragged=True)
    alone, whole = forward_budget(case), case_budget(case)
    for name, spread in alone.spread.items():
        np.testing.assert_array_equal(spread, whole.spread[name])


def test_a_function_is_asked_once_about_equal_cases_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(budgets, "KEPT", 2)
    asked = []
    size = remembered(lambda case: asked.append(case.origin["seed"]) or case.sizes.T)
    cases = [draw(RNN(), Sizes(2, 1, 1, 1), seed=s, dtype="float64") for s in (1, 2, 3)]
    for case in (cases[0], cases[0], draw(RNN(), Sizes(2, 1, 1, 1), seed=1, dtype="float64"), *cases, cases[2], cases[1], cases[0]):
        assert size(case) == 2
    assert asked == [1, 2, 3, 1]
