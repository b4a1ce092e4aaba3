"""Drawn cases: sizes that differ, within the scope, and something to judge."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.cases import REGIMES, optional_arrays
from gatecheck.cases.strategies import (
    SCOPES,
    CaseScope,
    case_of_sizes,
    cases,
    few_sizes,
    listed_sizes,
    scope_of_smaller,
)
from gatecheck.cells import CELLS, LSTM, Sizes

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


@pytest.mark.parametrize("scope", [scope for scope in SCOPES.values() if not scope.listed])
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


# ---- listed sizes

BIG = SCOPES["big"]
N_CI, N_QUICK = 12, 6


@pytest.mark.parametrize(
    ("kind", "thresholds", "count"),
    [
        ("T", (128, 256), N_CI),
        ("B", (32, 64, 128, 256), N_CI),
        ("D", (32, 64, 128, 256), N_CI),
        ("H", (32, 64, 128, 256), N_CI),
        ("T", (128,), N_QUICK),
        ("B", (32,), N_QUICK),
        ("D", (32,), N_QUICK),
        ("H", (32,), N_QUICK),
    ],
)
def test_a_listed_size_is_beyond_each_threshold_and_no_multiple_of_it(kind, thresholds, count):
    found = [getattr(sizes, kind) for sizes in listed_sizes(BIG, {}, count)]
    for threshold in thresholds:
        assert any(size > threshold and size % threshold for size in found), threshold


def test_every_size_around_a_power_of_two_is_listed():
    for kind in "TBDH":
        found = {getattr(sizes, kind) for sizes in BIG.listed}
        assert {n + by for n in (32, 64, 128, 256) for by in (-1, 0, 1)} <= found


def test_no_case_is_big_in_everything():
    # A budget takes time in proportion, some 50 ns for each of these products.
    for sizes in BIG.listed:
        T, B, D, H = sizes
        assert T * B * (D + H) * H < 3e6, sizes
        assert len(set(sizes)) == 4, sizes


@pytest.mark.parametrize(
    "fixed", [{"B": 1}, {"T": 3, "H": 3}, {"D": 17, "B": 33}, {"T": 1, "B": 1, "D": 1}], ids=str
)
def test_listed_sizes_respect_fixed_ones_and_are_big_in_another(fixed):
    found = listed_sizes(BIG, fixed, 1000)
    assert len(set(found)) == len(found) >= 12
    for sizes in found:
        assert {k: getattr(sizes, k) for k in fixed} == fixed
        assert max(size for k, size in sizes._asdict().items() if k not in fixed) > 30


def test_no_size_is_listed_where_all_are_fixed():
    assert listed_sizes(BIG, {"T": 257, "B": 2, "D": 3, "H": 33}, 12) == []


def test_the_case_of_some_sizes_follows_from_the_seed():
    sizes = Sizes(2, 33, 5, 4)
    one, same, other = (
        case_of_sizes(LSTM(), "float32", BIG, sizes, ("b",), seed) for seed in (3, 3, 4)
    )
    assert one == same != other
    assert one.sizes == sizes
    assert not one["b"].any()
    regimes = {
        case_of_sizes(LSTM(), "float32", BIG, sizes, (), seed).origin["regime"]
        for seed in range(12)
    }
    assert regimes == set(BIG.regimes)


def test_simpler_cases_are_no_larger_than_the_one_that_failed():
    assert scope_of_smaller(SCOPES["any"], Sizes(2, 2, 2, 2)) is SCOPES["any"]
    smaller = scope_of_smaller(BIG, Sizes(130, 3, 5, 4))
    assert smaller.sizes == ((1, 130), (1, 3), (1, 5), (1, 4))
    assert not smaller.listed
