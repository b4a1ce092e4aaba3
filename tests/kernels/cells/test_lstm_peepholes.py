"""The LSTM with peepholes, against the reference and known special cases."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck import audit
from gatecheck.cases import draw as draw_case
from gatecheck.cells import CELLS, LSTM, VARIANTS, Sizes
from gatecheck.cells.gate_blocks import block, peephole
from gatecheck.checking.budgets import case_budget
from gatecheck.errors import InputError, UsageError
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from gatecheck.reference import equations, run

CELL = LSTM(peepholes=True)

both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@both_dtypes
@pytest.mark.parametrize("regime", ["generic", "strong", "slow", "saturated"])
@pytest.mark.parametrize(
    "sizes", [Sizes(6, 3, 4, 5), Sizes(1, 1, 1, 1), Sizes(12, 2, 3, 17)], ids=str
)
def test_within_the_budget_of_the_reference(sizes, regime, dtype):
    case = draw_case(CELL, sizes, seed=5, dtype=dtype, regime=regime)
    got, budget = subject(Builtin(CELL)).run(case), case_budget(case)
    assert got.keys() == budget.exact.keys() >= {"dp", "dc0", "cT"}
    for name in got:
        assert (abs(got[name] - budget.exact[name]) <= budget.tolerance[name]).all(), name


def test_the_reference_to_rounding():
    case = draw_case(CELL, Sizes(6, 3, 4, 5), seed=7, dtype="float64")
    got, want = subject(Builtin(CELL)).run(case), run(equations(CELL), case.arrays)
    for name in want:
        # Some tens of roundings over six contracting steps.
        np.testing.assert_allclose(
            got[name], want[name], rtol=0, atol=1e-13 * abs(want[name]).max(), err_msg=name
        )


def test_gradient_is_the_difference_quotient_of_the_forward(draw):
    problem = draw(CELL)
    builtin, step = Builtin(CELL), 1e-5

    def loss(p):
        outputs = builtin.forward(problem.params | {"p": p}, *problem.inputs[1:])
        return sum((a * b).sum() for a, b in zip(outputs, problem[4:], strict=True))

    p = problem.params["p"]
    quotient = [(loss(p + e) - loss(p - e)) / (2 * step) for e in step * np.eye(p.size)]
    # Truncation is of order step², cancellation of order 1e-16 / step: here both are near 1e-10.
    np.testing.assert_allclose(builtin.backward(*problem)["p"], quotient, rtol=1e-6, atol=1e-8)


@both_dtypes
def test_weights_of_zero_are_the_plain_cell_to_the_bit(dtype, draw):
    problem = draw(CELL, T=9, B=4, H=33, dtype=dtype)
    problem.params["p"][:] = 0
    plain = problem._replace(params={k: problem.params[k] for k in "WUb"})
    for ours, theirs in zip(
        Builtin(CELL).forward(*problem.inputs), Builtin("lstm").forward(*plain.inputs), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()
    grads, want = Builtin(CELL).backward(*problem), Builtin("lstm").backward(*plain)
    assert grads.keys() - want.keys() == {"p"}
    assert grads["p"].all()
    assert all(grads[k].tobytes() == want[k].tobytes() for k in want)


def test_each_gate_sees_the_cell_state_it_should(draw):
    # One step from h = 0, x = 0: a gate is σ(b + p c), and everything else follows from the plain
    # equations.
    problem = draw(CELL, T=1)
    zero = {k: np.zeros_like(problem.params[k]) for k in "WU"}
    p = problem.params | zero
    c = problem.c0
    h, new = Builtin(CELL).forward(p, problem.x, None, c)[1:]

    def gate(k, seen):
        return 1 / (1 + np.exp(-(block(CELL, p["b"], k) + peephole(CELL, p["p"], k) * seen)))

    want = gate("f", c) * c + gate("i", c) * np.tanh(block(CELL, p["b"], "g"))
    np.testing.assert_allclose(new, want, rtol=1e-14)
    np.testing.assert_allclose(h, gate("o", want) * np.tanh(want), rtol=1e-14)


def test_tangent_along_the_peephole_weights(draw):
    problem, dp = draw(CELL), draw(CELL, scale=0.3).params["p"]
    builtin, step = Builtin(CELL), 1e-100
    perturbed = {k: v.astype(complex) for k, v in problem.params.items()}
    perturbed["p"] += 1j * step * dp
    stepped = builtin.forward(perturbed, *(a.astype(complex) for a in problem.inputs[1:]))
    for ours, theirs in zip(builtin.tangent(*problem.inputs, {"p": dp}), stepped, strict=True):
        assert ours.any()
        np.testing.assert_allclose(ours, theirs.imag / step, rtol=1e-11, atol=1e-13)


def test_the_audit_passes():
    result = audit(Builtin("lstm-peepholes"), profile="quick")
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    assert {p.name for p in result.properties if p.outcome == "passed"} > {
        "gradients_within_budget",
        "zero_peepholes_give_plain_cell",
    }


@pytest.mark.parametrize("cell", [cell for cell in VARIANTS.values() if cell != CELL], ids=str)
def test_other_options_are_refused(cell):
    with pytest.raises(
        UsageError,
        match=f"there are no kernels for {cell}; there are kernels for rnn, .*, lstm-peepholes, ",
    ):
        Builtin(cell)


def test_supported_cells():
    for cell in (*CELLS.values(), CELL):
        assert Builtin(cell).cell == cell
        assert Builtin(cell.name).cell == cell


def test_weights_of_wrong_shape_are_reported(draw):
    problem = draw(CELL)
    message = r"p has shape \(5,\), but should have shape \(3\*H,\) = \(15,\)"
    with pytest.raises(InputError, match=message):
        Builtin(CELL).forward(problem.params | {"p": problem.params["p"][:5]}, problem.x)
    with pytest.raises(
        InputError,
        match=r"dp is a float64 array of shape \(5,\), "
        r"but should be a float64 array of shape \(15,\), like p",
    ):
        Builtin(CELL).tangent(problem.params, problem.x, dparams={"p": problem.params["p"][:5]})
