"""Drawn cases: short decimals from a seed, as large as their regime says."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cases import REGIMES, Case, draw, optional_arrays
from gatecheck.cells import CELLS, GRU, LSTM, Sizes
from gatecheck.cells.gate_blocks import block, split
from gatecheck.cells.validation import check_cotangents, check_inputs
from gatecheck.errors import UsageError

SIZES = Sizes(T=5, B=2, D=3, H=4)

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=str)


def make_case(cell=None, seed=0, dtype="float64", **how):
    return draw(cell or LSTM(), SIZES, seed=seed, dtype=dtype, **how)


@every_cell
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drawn_arrays_are_nonzero_and_distinct(cell, regime, dtype):
    case = make_case(cell, dtype=dtype, regime=regime)
    assert set(case.arrays) == {*cell.param_shapes(1, 1), "x", *optional_arrays(cell)}
    assert (
        case.sizes
        == SIZES
        == check_inputs(cell, case.params, case["x"], case.get("h0"), case.get("c0"))
    )
    check_cotangents(cell, SIZES, case.dtype, case.get("dy"), case.get("dhT"), case.get("dcT"))
    assert case.dtype == dtype
    assert all((a != 0).all() and np.isfinite(a).all() for a in case.arrays.values())
    # No gate and no step is equal to another, and none is constant.
    parts = [
        *split(cell, case.params).values(),
        *case["x"],
        *case["dy"],
        *(case[k] for k in optional_arrays(cell) if k != "dy"),
    ]
    assert len({a.tobytes() for a in parts}) == len(parts)
    assert all(np.ptp(a) > 0 for a in parts)


def test_drawing_is_reproducible_from_the_seed():
    assert make_case(seed=3) == make_case(seed=3)
    assert make_case(seed=3) != make_case(seed=4)
    assert make_case(dtype="float32") == Case(
        LSTM(), {k: v.astype("float32") for k, v in make_case().arrays.items()}
    )


def test_numbers_are_short_decimals():
    for array in make_case().arrays.values():
        # a decimal is not exact in binary
        np.testing.assert_allclose(array * 1000, np.round(array * 1000), rtol=0, atol=1e-9)


REGIME = {
    "generic": lambda c: abs(c["U"]).max() <= 0.5 and abs(c["b"]).max() <= 1,
    "strong": lambda c: 0.5 < abs(c["U"]).max() <= 1.5,
    "slow": lambda c: (
        abs(block(LSTM(), c["b"], "f") - 4).max() <= 0.1
        and abs(block(LSTM(), c["b"], "i")).max() <= 0.1
    ),
    "saturated": lambda c: (
        10 < abs(c["b"]).max() <= 20 and abs(block(LSTM(), c["b"], "g")).max() <= 1
    ),
    "small": lambda c: abs(c["x"]).max() < 1e-2,
    "large": lambda c: abs(c["x"]).max() > 30,
}


@pytest.mark.parametrize("regime", REGIMES)
def test_a_regime_is_as_large_as_it_says(regime):
    assert REGIME[regime](make_case(regime=regime))


def test_a_slow_gru_keeps_through_its_update_gate():
    assert (block(GRU(), make_case(GRU(), regime="slow")["b"], "z") < -3.8).all()


@every_cell
def test_an_absent_array_is_left_out_and_nothing_else_changes(cell):
    whole = make_case(cell)
    for name in optional_arrays(cell):
        case = make_case(cell, absent=(name,))
        assert set(whole.arrays) - set(case.arrays) == {name}
        assert case.get(name) is None
        assert case == whole.replace(**{name: None})
        assert f"without {name}" in str(case)


def test_unknown_regime():
    with pytest.raises(
        UsageError,
        match="there is no regime 'wild'; "
        "the regimes are generic, strong, slow, saturated, small, large",
    ):
        make_case(regime="wild")
