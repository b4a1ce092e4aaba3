"""Budgets: those of outputs alone, their cache in a process, and that on disk."""

import numpy as np
import pytest

from gatecheck._util.array_cache import ArrayCache
from gatecheck.cases import draw
from gatecheck.cells import CELLS, LSTM, RNN, VARIANTS, Sizes
from gatecheck.checking import budgets
from gatecheck.checking.budgets import (
    big_budget,
    cached_by_case,
    case_budget,
    edge_units,
    forward_budget,
    use_disk_cache,
)


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


@pytest.mark.parametrize("cell", [*CELLS.values(), *VARIANTS.values(), LSTM(layers=2)], ids=str)
def test_the_budget_of_a_big_case_is_that_of_the_case_but_for_rows_of_dU(cell):
    case = draw(cell, Sizes(3, 2, 4, 9), seed=3, dtype="float32")
    big, whole = big_budget(case), case_budget(case)
    assert [*big.exact] == [*whole.exact]
    for name, exact in whole.exact.items():
        units = edge_units(len(exact)) if name.startswith("dU") else slice(None)
        np.testing.assert_allclose(big.exact[name], exact[units], rtol=1e-13, atol=1e-15)
        size = [np.sqrt(np.mean(b.spread[name] ** 2)) for b in (big, whole)]
        assert 0.5 < size[0] / size[1] < 2
    assert edge_units(1) == [0]
    assert edge_units(257) == [0, 128, 256]


def test_rows_that_end_early_have_a_budget_of_their_outputs():
    case = draw(LSTM(), Sizes(5, 3, 2, 4), seed=3, dtype="float32", ragged=True)
    alone, whole = forward_budget(case), case_budget(case)
    for name, spread in alone.spread.items():
        np.testing.assert_array_equal(spread, whole.spread[name])


def test_the_cache_computes_equal_cases_once_and_drops_the_oldest(monkeypatch):
    monkeypatch.setattr(budgets, "CACHE_SIZE", 2)
    seeds = []
    size = cached_by_case(lambda case: seeds.append(case.origin["seed"]) or case.sizes.T)
    cases = [draw(RNN(), Sizes(2, 1, 1, 1), seed=s, dtype="float64") for s in (1, 2, 3)]
    for case in (
        cases[0],
        cases[0],
        draw(RNN(), Sizes(2, 1, 1, 1), seed=1, dtype="float64"),
        *cases,
        cases[2],
        cases[1],
        cases[0],
    ):
        assert size(case) == 2
    assert seeds == [1, 2, 3, 1]


def test_a_later_process_reads_budgets_from_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(budgets, "_cache_file", lambda cell: ArrayCache(tmp_path / cell))
    case = draw(LSTM(), Sizes(3, 2, 4, 5), seed=8, dtype="float32")
    for function in (case_budget, forward_budget):
        measure = function.__wrapped__  # without the cache of this process
        plain = measure(case)
        assert not list(tmp_path.iterdir()) or function is forward_budget
        with use_disk_cache():
            measure(case)
            with monkeypatch.context() as patch:
                patch.setattr(budgets, "_measure_budget", None)
                stored = measure(case)
        assert stored.dtype == "float32"
        for name in plain.exact:
            np.testing.assert_array_equal(stored.exact[name], plain.exact[name])
            np.testing.assert_array_equal(stored.spread[name], plain.spread[name])
        assert stored.tolerance.keys() == plain.tolerance.keys()


def test_the_disk_cache_is_keyed_by_the_source(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    files = {}
    for digest in ("one", "two"):
        monkeypatch.setattr(budgets, "source_digest", lambda *folders, digest=digest: digest)
        budgets._cache_file.cache_clear()
        files[digest] = budgets._cache_file("lstm")
        files[digest].put("a", {"y": np.ones(1)})
    budgets._cache_file.cache_clear()
    assert len(list(tmp_path.glob("gatecheck-budgets-*/lstm"))) == 2
