"""Drawn cases: sizes that differ, within the scope, and something to judge."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.cases import REGIMES, optional_arrays
from gatecheck.cases.strategies import SCOPES, CaseScope, cases, few_sizes
from gatecheck.cells import CELLS, LSTM

quick_settings = settings(max_examples=60, deadline=None, derandomize=True)
every_scope = pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
any_cell = st.sampled_from(list(CELLS.values()))


@every_scope
@quick_settings
@given(data=st.data())
def test_sizes_differ_and_lie_in_the_scope(scope, data):
    case = data.draw(cases(data.draw(any_cell), "float32", scope))
    sizes = case.sizes
    for k, name in enumerate("TBDH"):
        low, high = getattr(scope, name)
        # Sizes are made to differ by raising the later ones, at worst past every earlier one.
        assert low <= getattr(sizes, name) <= high + k
    larger = [n for n in sizes if n > 1]
    assert len(set(larger)) == len(larger), "only 1 may be had twice"
    assert case.origin["regime"] in scope.regimes
    assert case.dtype == "float32"


@pytest.mark.parametrize(
    "fixed", [{"B": 1}, {"T": 3, "H": 3}, {"D": 17}, {"T": 1, "B": 1, "D": 1, "H": 1}], ids=str
)
@quick_settings
@given(data=st.data())
def test_fixed_sizes_are_respected(fixed, data):
    sizes = data.draw(cases(data.draw(any_cell), "float64", SCOPES["any"], fixed)).sizes
    assert {k: getattr(sizes, k) for k in fixed} == fixed


@pytest.mark.parametrize("fixed", [{"B": 2}, {"D": 3}, {"H": 5}], ids=str)
@quick_settings
@given(data=st.data())
def test_free_sizes_differ_from_fixed_ones(fixed, data):
    # An equal size hides a transpose, whoever chose it.
    sizes = data.draw(cases(LSTM(), "float64", SCOPES["any"], fixed)).sizes
    larger = [n for n in sizes if n > 1]
    assert len(set(larger)) == len(larger)


@quick_settings
@given(data=st.data())
def test_something_may_be_absent_but_a_cotangent_stays(data):
    cell = data.draw(any_cell)
    case = data.draw(cases(cell, "float64", SCOPES["any"]))
    assert set(case.arrays) - {*cell.param_shapes(1, 1), "x"} <= set(optional_arrays(cell))
    assert any(case.get(k) is not None for k in ("dy", "dhT", "dcT"))


@pytest.mark.parametrize("scope", [name for name, scope in SCOPES.items() if not scope.absent])
@quick_settings
@given(data=st.data())
def test_nothing_is_absent_in_other_scopes(scope, data):
    cell = data.draw(any_cell)
    assert set(optional_arrays(cell)) <= set(
        data.draw(cases(cell, "float64", SCOPES[scope])).arrays
    )


@pytest.mark.parametrize("name", optional_arrays(LSTM()))
def test_each_optional_array_is_absent_in_some_case(name):
    absences = set()

    @quick_settings
    @given(case=cases(LSTM(), "float64", SCOPES["any"]))
    def look(case):
        absences.add(case.get(name) is None)

    look()
    assert absences == {False, True}


@pytest.mark.parametrize(("kind", "size"), [("T", 7), ("B", 4), ("D", 6), ("H", 7)])
def test_the_largest_size_of_the_scope_is_reached(kind, size):
    sizes = set()

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(case=cases(LSTM(), "float64", CaseScope()))
    def look(case):
        sizes.add(getattr(case.sizes, kind))

    look()
    assert {1, size} <= sizes


def test_the_simplest_case_comes_first():
    first = []

    @settings(max_examples=1, deadline=None, derandomize=True)
    @given(case=cases(LSTM(), "float64", SCOPES["any"]))
    def look(case):
        first.append(case)

    look()
    assert first[0].sizes == (1, 1, 1, 1)
    assert first[0].origin == {"seed": 0, "regime": "generic"}
    assert set(optional_arrays(LSTM())) <= set(first[0].arrays)


@every_scope
def test_a_scope_names_regimes_that_exist(scope):
    assert set(scope.regimes) <= set(REGIMES)
    assert 0 < scope.share <= 1
    assert all(1 <= low <= high for low, high in (scope.T, scope.B, scope.D, scope.H))


@every_scope
@pytest.mark.parametrize("fixed", [{}, {"B": 1, "H": 5}], ids=str)
def test_few_sizes_are_of_the_scope_and_the_smallest_is_first(scope, fixed):
    first, *others = few_sizes(scope, fixed, 5, seed=7)
    assert (
        few_sizes(scope, fixed, 5, seed=7) == [first, *others] != few_sizes(scope, fixed, 5, seed=8)
    )
    assert all(
        a <= b for other in others for a, b in zip(first, other, strict=True) if "B" not in fixed
    )
    for sizes in (first, *others):
        assert {k: sizes._asdict()[k] for k in fixed} == fixed
        assert all(
            low <= size <= high + 3
            for (low, high), size, k in zip(scope.sizes, sizes, "TBDH", strict=True)
            if k not in fixed
        )


def test_cases_have_allowed_sizes_only():
    few = few_sizes(SCOPES["any"], {}, 3, seed=0)
    sizes = set()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(case=cases(LSTM(), "float64", SCOPES["any"], allowed_sizes=few))
    def look(case):
        sizes.add(case.sizes)

    look()
    assert sizes == set(few)
