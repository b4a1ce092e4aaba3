"""Options of a cell: gradients, special cases and names."""

from __future__ import annotations

import numpy as np
import pytest
from gatecheck.properties.gradients import _run_gradcheck

from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, VARIANTS, Sizes, as_cell
from gatecheck.errors import UsageError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from gatecheck.reference import equations, run

every_variant = pytest.mark.parametrize("cell", VARIANTS.values(), ids=str)


def draw_case(cell, seed=0, T=4, D=3, H=4):
    return draw(cell, Sizes(T, 2, D, H), seed=seed, dtype="float64")


@every_variant
def test_gradients_are_those_of_the_forward(cell):
    # Every entry of every array is perturbed.
    result = _run_gradcheck(subject(EditedCell(cell)), draw_case(cell, T=3, D=1, H=3))
    assert result.verdict == "pass"
    assert result.oracles["complex step"].verdict in (
        {"pass"} if "analytic" in cell.traits else {"pass", "not applicable"}
    )


@every_variant
def test_a_name_gives_its_cell(cell):
    assert as_cell(cell.name) == cell


def test_numbers_in_a_name():
    assert as_cell("lstm-clip3-forget-0.5") == LSTM(clip=3.0, forget_bias=-0.5)
    assert as_cell("gru-before-hard5") == GRU("before", hard=5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_cell("lstm-peephole"), "there is no cell 'lstm-peephole'"),
        (lambda: as_cell("lstm-coupled-peepholes"), "there is no cell 'lstm-coupled-peepholes'"),
        (lambda: as_cell("gru-peepholes"), "there is no cell 'gru-peepholes'"),
        (lambda: as_cell("lstm-clip0"), "clip is 0.0, but should be a positive number"),
        (lambda: LSTM(clip=float("nan")), "clip is nan, but should be a positive number"),
        (
            lambda: LSTM(forget_bias=float("inf")),
            "forget_bias is inf, but should be a finite number",
        ),
        (
            lambda: LSTM(clip=1 / 3),
            "clip is 0.3333333333333333, but should have at most six digits",
        ),
        (lambda: GRU(hard=4), "hard is 4, but should be 5"),
        (
            lambda: Builtin("lstm-coupled"),
            "there are no kernels for lstm-coupled; there are kernels for rnn, ",
        ),
    ],
)
def test_invalid_options_are_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def run_plain_cell(cell, arrays):
    """Return the results of the cell without options on the same arrays."""
    return run(equations(LSTM()), {k: v for k, v in arrays.items() if k != "p"})


@pytest.mark.parametrize(
    ("cell", "change"),
    [
        (LSTM(peepholes=True), lambda a: a | {"p": 0 * a["p"]}),
        (LSTM(clip=100.0), lambda a: a),
    ],
    ids=["peepholes of zero", "a clip beyond reach"],
)
def test_an_option_that_does_nothing_leaves_the_plain_cell(cell, change):
    arrays = change(draw_case(cell).as_float64())
    got, expected = run(equations(cell), arrays), run_plain_cell(cell, arrays)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-13, atol=1e-14, err_msg=name)


def test_a_forget_bias_is_added_to_the_parameter():
    case = draw_case(LSTM(forget_bias=1.0))
    arrays = case.as_float64()
    b = arrays["b"].copy()
    b[4:8] += 1
    got, expected = run(equations(case.cell), arrays), run(equations(LSTM()), arrays | {"b": b})
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-13, atol=1e-14, err_msg=name)


def test_a_coupled_gate_is_a_free_one_with_opposite_weights():
    case = draw_case(LSTM(coupled=True))
    arrays = case.as_float64()
    free = {k: np.concatenate([-arrays[k][..., :4], arrays[k]], axis=-1) for k in "WUb"}
    got, expected = run(equations(case.cell), arrays), run(equations(LSTM()), arrays | free)
    for name in ("y", "hT", "cT", "dx", "dh0", "dc0"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, atol=1e-13, err_msg=name)
    # Both blocks are the same block, the first negated.
    np.testing.assert_allclose(
        got["dW"][:, :4], expected["dW"][:, 4:8] - expected["dW"][:, :4], rtol=1e-11, atol=1e-13
    )


def test_peepholes_of_one_unit_by_hand():
    cell = LSTM(peepholes=True)
    zero = np.zeros((1, 4))
    arrays = {
        "W": zero,
        "U": zero,
        "b": np.array([0.0, 0.0, 1.0, 0.0]),
        "p": np.array([0.5, -0.25, 2.0]),
    }
    got = run(
        equations(cell),
        arrays | {"x": np.ones((1, 1, 1)), "h0": np.ones((1, 1)), "c0": np.full((1, 1), 0.8)},
    )

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    c = sigmoid(-0.25 * 0.8) * 0.8 + sigmoid(0.5 * 0.8) * np.tanh(1.0)
    assert got["cT"][0, 0] == pytest.approx(c, rel=1e-15)
    assert got["hT"][0, 0] == pytest.approx(sigmoid(2 * c) * np.tanh(c), rel=1e-15)
