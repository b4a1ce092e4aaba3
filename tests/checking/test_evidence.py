"""Verdicts on arrays: block by block, naming what is wrong, never a silent pass."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.checking.evidence import (
    CHAOTIC_SPREAD,
    Evidence,
    Violation,
    check_agreement,
    check_consistency,
    check_identity,
    require,
    result_blocks,
    summarize_labels,
)
from gatecheck.oracles.noise.precision import PRECISIONS
from gatecheck.oracles.rounding import BUDGET_MULTIPLE, Budget

T, B, D, H = 5, 2, 3, 4
CELL = LSTM()
SHAPES = {
    "y": (T, B, H),
    "hT": (B, H),
    "dx": (T, B, D),
    "dW": (D, 4 * H),
    "db": (4 * H,),
    "dh0": (B, H),
}
BLOCKS = [*(f"y[t={t}]" for t in range(T)), "hT", *(f"dx[t={t}]" for t in range(T))]
BLOCKS += [*(f"dW[gate={k}]" for k in "ifgo"), *(f"db[gate={k}]" for k in "ifgo"), "dh0"]
TOL = 1e-6


def right_arrays():
    rng = np.random.default_rng(0)
    return {k: rng.uniform(1, 2, s) for k, s in SHAPES.items()}


def tolerances(**instead):
    return {k: np.full(s, instead.get(k, TOL)) for k, s in SHAPES.items()}


def arrays_with_error(name, index, by, base=None):
    """Return the right arrays with one entry off."""
    out = {k: v.copy() for k, v in (base or right_arrays()).items()}
    out[name][index] += by
    return out


# ---- blocks and their names


@pytest.mark.parametrize("cell", [LSTM(), GRU(), RNN()], ids=str)
@pytest.mark.parametrize("name", ["y", "dx", "dW", "dU", "db", "dc_n", "hT", "dh0"])
def test_blocks_cover_every_entry_once(cell, name):
    G = len(cell.gates)
    array = np.zeros(
        {
            "y": (T, B, H),
            "dx": (T, B, D),
            "dW": (D, G * H),
            "dU": (H, G * H),
            "db": (G * H,),
            "dc_n": (H,),
        }.get(name, (B, H))
    )
    labels = []
    for label, where in result_blocks(cell, name, array):
        array[where] += 1
        labels.append(label)
    assert (array == 1).all()
    steps = [f"{name}[t={t}]" for t in range(T)]
    gates = [f"{name}[gate={k}]" for k in cell.gates] if G > 1 else [name]
    assert labels == {"y": steps, "dx": steps, "dW": gates, "dU": gates, "db": gates}.get(
        name, [name]
    )


def test_a_gates_block_is_that_gates():
    array = np.repeat(np.arange(4), H) * np.ones((D, 1))
    assert [set(array[where].flat) for _, where in result_blocks(CELL, "dW", array)] == [
        {0},
        {1},
        {2},
        {3},
    ]


@pytest.mark.parametrize(
    ("labels", "short"),
    [
        ((), ""),
        (("dh0",), "dh0"),
        (
            ("dW[gate=i]", "dW[gate=f]", "dx[t=0]", "dx[t=1]", "dx[t=2]", "dh0"),
            "dW[gate=i f], dx[t=0..2], dh0",
        ),
        (("y[t=3]",), "y[t=3]"),
        (("y[t=0]", "y[t=2]", "y[t=3]", "y[t=9]", "y[t=10]", "y[t=11]"), "y[t=0,2..3,9..11]"),
    ],
)
def test_labels_in_short(labels, short):
    assert summarize_labels(labels) == short


# ---- agree


def test_agreeing_blocks_are_counted():
    got = arrays_with_error("dW", (1, 2), 0.5 * TOL)
    evidence = check_agreement(CELL, got, right_arrays(), tolerances())
    assert (evidence.judged, evidence.inconclusive) == (len(BLOCKS), 0)
    # 1.5 ± 1e-6 in float64 has six digits left of the difference
    assert evidence.ratio == pytest.approx(0.5, rel=1e-6)


# name, index, label of the entry, label of the block
PLACES = [
    ("y", (3, 1, 2), "y[t=3, 1, 2]", "y[t=3]"),
    ("dx", (0, 1, 2), "dx[t=0, 1, 2]", "dx[t=0]"),
    ("hT", (1, 3), "hT[1, 3]", "hT"),
    ("dW", (2, H + 1), "dW[gate=f, 2, 1]", "dW[gate=f]"),
    ("dW", (0, 4 * H - 1), "dW[gate=o, 0, 3]", "dW[gate=o]"),
    ("db", (2 * H + 3,), "db[gate=g, 3]", "db[gate=g]"),
    ("dh0", (0, 0), "dh0[0, 0]", "dh0"),
]


@pytest.mark.parametrize(("name", "index", "crumb", "block"), PLACES, ids=[p[2] for p in PLACES])
@pytest.mark.parametrize("by", [3 * TOL, -3 * TOL, np.nan, np.inf])
def test_a_wrong_entry_is_named_to_the_unit(name, index, crumb, block, by):
    with pytest.raises(Violation) as caught:
        check_agreement(CELL, arrays_with_error(name, index, by), right_arrays(), tolerances())
    message, wrong, correct = str(caught.value).splitlines()
    found = right_arrays()[name][index] + by
    assert message.startswith(
        f"{crumb} is {found:.9g}, but should be {right_arrays()[name][index]:.9g} ± 1.0e-06 (error "
    )
    assert wrong == f"wrong: {block}"
    assert correct.startswith("right: y[t=")
    assert caught.value.wrong == (block,)
    assert caught.value.right == tuple(label for label in BLOCKS if label != block)
    assert caught.value.ratio == (pytest.approx(3, rel=1e-6) if np.isfinite(by) else np.inf)


def test_the_worst_entry_leads_and_every_wrong_block_is_listed():
    got = arrays_with_error(
        "dx",
        (1, 0, 1),
        90 * TOL,
        arrays_with_error(
            "dW",
            (0, 0),
            5 * TOL,
            arrays_with_error("y", (1, 0, 0), 7 * TOL, arrays_with_error("dx", (2, 0, 0), 2 * TOL)),
        ),
    )
    with pytest.raises(Violation) as caught:
        check_agreement(CELL, got, right_arrays(), tolerances())
    assert str(caught.value).startswith("dx[t=1, 0, 1] is ")
    assert caught.value.wrong == ("y[t=1]", "dx[t=1]", "dx[t=2]", "dW[gate=i]")
    assert "\nwrong: y[t=1], dx[t=1..2], dW[gate=i]\n" in str(caught.value)
    assert caught.value.ratio == pytest.approx(90, rel=1e-6)


def test_the_limit_itself_is_allowed():
    expected, tolerance = {"hT": np.ones((B, H))}, {"hT": np.full((B, H), 0.25)}
    assert check_agreement(CELL, {"hT": np.full((B, H), 1.25)}, expected, tolerance) == Evidence(
        1.0, 1
    )
    with pytest.raises(Violation):
        check_agreement(CELL, {"hT": np.full((B, H), np.nextafter(1.25, 2))}, expected, tolerance)


def test_names_that_the_target_did_not_return_are_not_judged():
    got = right_arrays()
    del got["dh0"], got["y"]
    assert check_agreement(CELL, got, right_arrays(), tolerances()).judged == len(BLOCKS) - 1 - T


def test_float32_is_judged_in_float64():
    expected = {"hT": np.full((B, H), 1 / 3)}
    evidence = check_agreement(
        CELL, {"hT": expected["hT"].astype("float32")}, expected, {"hT": np.full((B, H), 2.0**-24)}
    )
    assert 0 < evidence.ratio < 1


def test_a_small_block_is_not_measured_by_a_large_one():
    expected = right_arrays()
    expected["dW"][:, H : 2 * H] *= 1e-9
    tolerance = tolerances()
    tolerance["dW"][:, H : 2 * H] = 1e-15
    with pytest.raises(Violation) as caught:
        check_agreement(CELL, arrays_with_error("dW", (0, H), 1e-10, expected), expected, tolerance)
    assert caught.value.wrong == ("dW[gate=f]",)


@pytest.mark.parametrize("budget", [0.9, np.inf, np.nan])
def test_a_block_whose_budget_is_too_wide_is_inconclusive(budget):
    tolerance = tolerances()
    tolerance["dW"][:, H : 2 * H] = budget
    evidence = check_agreement(
        CELL, arrays_with_error("dW", (0, H), 0.5), right_arrays(), tolerance
    )
    assert (evidence.judged, evidence.inconclusive) == (len(BLOCKS) - 1, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("budget", [0.9, np.inf, np.nan])
def test_no_number_where_one_belongs_is_wrong_however_wide_the_budget(bad, budget):
    got = arrays_with_error("dx", (2, 1, 1), bad)
    with pytest.raises(Violation) as caught:
        check_agreement(CELL, got, right_arrays(), tolerances(dx=budget))
    assert caught.value.wrong == ("dx[t=2]",)
    assert str(caught.value).startswith(f"dx[t=2, 1, 1] is {got['dx'][2, 1, 1]}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_where_the_reference_has_no_number_nothing_is_judged(value):
    expected = arrays_with_error("hT", (0, 0), value)
    assert check_agreement(CELL, right_arrays(), expected, tolerances()) == Evidence(
        0.0, len(BLOCKS) - 1, 1
    )


def test_if_the_outputs_are_chaotic_nothing_is_judged():
    tolerance = tolerances(dW=1e-12)
    tolerance["y"][-1, 0, 0] = 1.01 * BUDGET_MULTIPLE * CHAOTIC_SPREAD
    got = arrays_with_error("dW", (0, 0), 0.1, arrays_with_error("y", (0, 0, 0), 0.1))
    assert check_agreement(CELL, got, right_arrays(), tolerance) == Evidence(
        inconclusive=len(BLOCKS)
    )
    tolerance["y"][-1, 0, 0] = 0.99 * BUDGET_MULTIPLE * CHAOTIC_SPREAD
    with pytest.raises(Violation):
        check_agreement(CELL, got, right_arrays(), tolerance)


def test_a_nan_is_wrong_even_if_the_outputs_are_chaotic():
    with pytest.raises(Violation) as caught:
        check_agreement(
            CELL, arrays_with_error("hT", (0, 0), np.nan), right_arrays(), tolerances(y=1.0)
        )
    assert caught.value.wrong == ("hT",)
    assert "right: nothing that was judged" in str(caught.value)


@pytest.mark.parametrize("shape", [(0, B, H), (T, 0, H)])
def test_empty_arrays_are_not_evidence(shape):
    empty = {"y": np.zeros(shape)}
    assert check_agreement(CELL, empty, empty, empty) == Evidence()


def test_a_block_of_zeros_is_judged_by_its_absolute_tolerance():
    zero, tolerance = {"dh0": np.zeros((B, H))}, {"dh0": np.full((B, H), 1e-38)}
    assert check_agreement(CELL, zero, zero, tolerance).judged == 1
    with pytest.raises(Violation, match=r"dh0\[1, 1\] is 1e-30, but should be 0 ± 1.0e-38"):
        check_agreement(CELL, arrays_with_error("dh0", (1, 1), 1e-30, zero), zero, tolerance)


# ---- consistent


def budget(dtype="float32", spread=1e-7, **exact):
    return Budget(exact, {k: np.full(v.shape, spread) for k, v in exact.items()}, dtype)


def test_two_evaluations_may_be_apart_by_two_budgets_and_some_ulps():
    one = np.ones((B, H))
    limit = 2 * BUDGET_MULTIPLE * (1e-7 + PRECISIONS["float32"].u)
    evidence = check_consistency(CELL, {"hT": one + 0.99 * limit}, {"hT": one}, budget(hT=one))
    assert evidence.ratio == pytest.approx(0.99, rel=1e-6)
    with pytest.raises(Violation, match=r"hT\[0, 0\]"):
        check_consistency(CELL, {"hT": one}, {"hT": one + 1.01 * limit}, budget(hT=one))


def test_an_inaccurate_target_must_break_a_relation_clearly():
    one = np.ones((B, H))
    limit = 2 * BUDGET_MULTIPLE * (1e-7 + PRECISIONS["float32"].u)
    assert check_consistency(
        CELL, {"hT": 2 * one + 5 * limit}, {"hT": 2 * one}, budget(hT=one)
    ) == Evidence(inconclusive=1)
    with pytest.raises(Violation):
        check_consistency(CELL, {"hT": 2 * one + 5000 * limit}, {"hT": 2 * one}, budget(hT=one))


def test_a_target_that_computes_larger_values_has_larger_rounding():
    one = np.ones((B, H))
    apart = {"hT": 100 * one + 1e-4}
    evidence = check_consistency(CELL, apart, {"hT": 100 * one}, budget(hT=one))
    assert evidence.ratio == pytest.approx(
        1e-4 / (100 * 2 * BUDGET_MULTIPLE * (1e-7 + PRECISIONS["float32"].u)), rel=1e-6
    )
    # But smaller values do not shrink it.
    assert (
        check_consistency(CELL, {"hT": 0.01 * one + 1e-6}, {"hT": 0.01 * one}, budget(hT=one)).ratio
        < 1
    )


@pytest.mark.parametrize(("got", "other"), [({"hT"}, {"hT", "y"}), ({"hT", "y"}, {"hT"})])
def test_only_what_both_returned_is_judged(got, other):
    both = {k: right_arrays()[k] for k in ("hT", "y")}
    part = [{k: both[k] for k in names} for names in (got, other)]
    assert check_consistency(CELL, *part, budget(**both)).judged == 1


def test_consistent_nans_are_not_evidence():
    one, nan = np.ones((B, H)), np.full((B, H), np.nan)
    with pytest.raises(Violation, match="hT is not finite, but should be"):
        check_consistency(CELL, {"hT": nan}, {"hT": nan}, budget(hT=one))
    assert check_consistency(CELL, {"hT": nan}, {"hT": nan}, budget(hT=nan)) == Evidence(
        inconclusive=1
    )
    with pytest.raises(Violation):
        check_consistency(CELL, {"hT": nan}, {"hT": one}, budget(hT=one))
    assert (
        check_consistency(CELL, {"hT": one[:0]}, {"hT": one[:0]}, budget(hT=one[:0])) == Evidence()
    )


# ---- identical, require, sums


def test_identical_to_the_bit():
    special = np.array([[np.nan, np.inf, -np.inf, -0.0], [1.0, 0.0, 5e-324, 0.1]])
    other = special.copy()
    other[0, 3] = 0.0
    assert check_identity(CELL, {"hT": special}, {"hT": other}) == Evidence(judged=1)
    assert check_identity(CELL, right_arrays(), right_arrays()) == Evidence(judged=len(BLOCKS))


@pytest.mark.parametrize(("name", "index", "crumb", "block"), PLACES, ids=[p[2] for p in PLACES])
@pytest.mark.parametrize(
    "change", [lambda v: np.nextafter(v, 9), lambda v: np.nan], ids=["one ulp", "nan"]
)
def test_one_bit_is_named_to_the_unit(name, index, crumb, block, change):
    got = right_arrays()
    got[name][index] = change(got[name][index])
    with pytest.raises(Violation) as caught:
        check_identity(CELL, got, right_arrays())
    assert str(caught.value).startswith(
        f"{crumb} is {got[name][index]!r}, "
        f"but should be exactly {right_arrays()[name][index]!r}\nwrong: {block}"
    )
    assert (caught.value.ratio, caught.value.wrong) == (np.inf, (block,))
    assert caught.value.right == tuple(label for label in BLOCKS if label != block)


def test_the_first_difference_leads():
    got = arrays_with_error(
        "dh0",
        (0, 0),
        100,
        arrays_with_error("y", (4, 0, 0), 1e-9, arrays_with_error("y", (2, 1, 3), 1e-9)),
    )
    with pytest.raises(Violation) as caught:
        check_identity(CELL, got, right_arrays())
    assert str(caught.value).startswith("y[t=2, 1, 3] is ")
    assert caught.value.wrong == ("y[t=2]", "y[t=4]", "dh0")


def test_require():
    assert require(np.bool_(True), "never shown") == Evidence(judged=1)
    with pytest.raises(Violation, match=r"^the gate is shut$") as caught:
        require(False, "the gate is shut")
    assert (caught.value.ratio, caught.value.wrong) == (np.inf, ())


def test_evidence_adds_up_and_keeps_the_worst():
    assert Evidence(0.5, 3, 1) + Evidence(0.2, 4, 2) == Evidence(0.5, 7, 3)
    assert Evidence(0.2, 1) + Evidence(0.5, 1) == Evidence(0.5, 2)
