"""Adjoint profiles by an implementation's backward.

A right backward has the profile of the sweep, a wrong one another.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, LSTM, RNN, as_cell
from gatecheck.cells.initializers import uniform
from gatecheck.decay.jacobians.profile import adjoint_profile
from gatecheck.decay.jacobians.target_profile import subject_profile, vjp_profile
from gatecheck.errors import ContractError, ConventionError, InputError, TargetError
from gatecheck.kernels import Builtin

T, D, H, K = 30, 3, 5, 4


def problem(cell, steps=T, seed=0):
    """Return parameters, inputs, cotangents and a state; a relu is biased to be on."""
    rng = np.random.default_rng(seed)
    params = {name: 2 * array for name, array in uniform(rng, cell, D, H).items()}
    params["b"] += cell.activation == "relu"
    n = len(cell.state)
    return (
        params,
        rng.standard_normal((steps, D)),
        rng.standard_normal((n, K, H)),
        rng.standard_normal((n, H)) / 2,
    )


def assert_agree(found, expected, within=1e-10):
    np.testing.assert_allclose(found.log_norm, expected.log_norm, rtol=0, atol=within)
    np.testing.assert_allclose(found.cell_share, expected.cell_share, rtol=0, atol=within)
    np.testing.assert_allclose(found.direction, expected.direction, rtol=0, atol=within)


@pytest.mark.parametrize("name", CELLS)
def test_our_cells_have_the_profile_of_the_sweep(name):
    cell = as_cell(name)
    given = problem(cell)
    done = []
    assert_agree(
        subject_profile(Builtin(cell), *given, progress=lambda *at: done.append(at)),
        adjoint_profile(cell, *given),
    )
    assert done == [(k, 2 * T) for k in range(1, 2 * T + 1)]
    # The default state is zero.
    assert_agree(subject_profile(Builtin(cell), *given[:3]), adjoint_profile(cell, *given[:3]))


@pytest.mark.parametrize(
    ("layer", "cell"), [("LSTM", LSTM()), ("GRU", GRU()), ("LSTMCell", LSTM())], ids=str
)
def test_a_pytorch_layer_has_the_profile_of_the_sweep(layer, cell):
    pytest.importorskip("torch")
    from gatecheck.targets.adapters.torch import adapt

    given = problem(cell, steps=20)
    assert_agree(subject_profile(adapt(layer), *given), adjoint_profile(cell, *given))


class Delegating:
    """Implementation that delegates to a builtin cell, with other declarations."""

    cell, convention = "lstm", "canonical"

    def __init__(self, cell="lstm", **declared):
        self.cell, self.ours = cell, Builtin(cell)
        self.__dict__ |= declared

    def forward(self, *given):
        return self.ours.forward(*given)

    def backward(self, *given):
        return self.ours.backward(*given)


def test_one_row_a_call_is_enough_and_float32_does_not_underflow():
    given = problem(LSTM(), steps=450)
    expected = adjoint_profile(LSTM(), *given)
    assert expected.log_norm[-1] < math.log(2.0**-150), "or the test is vacuous"

    class OneRow(Delegating):
        def forward(self, params, x, *states):
            assert x.shape[:2] == (1, 1)
            return super().forward(params, x, *states)

    assert_agree(subject_profile(OneRow(sizes={"B": 1}), *given), expected, within=1e-9)
    single = subject_profile(Delegating(dtypes=("float32",)), *given)
    # 450 steps of about a hundred roundings each; errors of the states fade.
    np.testing.assert_allclose(
        single.log_norm, expected.log_norm, rtol=0, atol=450 * 100 * 2.0**-24
    )


def test_a_wrong_backward_has_another_profile():
    class Forgetful(Delegating):
        def backward(self, *given):
            got = super().backward(*given)
            return got | {"c0": got["c0"] / 2}

    given = problem(LSTM())
    gap = subject_profile(Forgetful(), *given).log_norm - adjoint_profile(LSTM(), *given).log_norm
    assert (gap[5:] < -0.1).all()


def test_a_profile_of_two_plain_functions():
    """A state of two shapes, h' = tanh(M h + x) and a sum, has the product's profile."""
    rng = np.random.default_rng(1)
    M, x = rng.standard_normal((3, 3)) / 2, rng.standard_normal((12, 3))

    def step(params, x_t, h, total):
        h = np.tanh(params @ h + x_t)
        return h, total / 2 + h.sum()

    def vjp(params, x_t, states, dstates):
        h = np.tanh(params @ states[0] + x_t)
        return params.T @ ((1 - h * h) * (dstates[0] + dstates[1])), dstates[1] / 2

    start = [rng.standard_normal((2, 3)), rng.standard_normal(2)]
    found = vjp_profile(step, vjp, M, x, start, [np.zeros(3), np.zeros(())])
    jacobians, h = [], np.zeros(3)
    for x_t in x:
        h = np.tanh(M @ h + x_t)
        A = (1 - h * h)[:, None] * M
        jacobians.append(np.block([[A, np.zeros((3, 1))], [A.sum(axis=0), 0.5]]))
    u = np.column_stack([start[0], start[1]]).T
    for lag, J in enumerate([np.eye(4), *reversed(jacobians)]):
        u = J.T @ u
        assert found.log_norm[lag] == pytest.approx(math.log(np.linalg.norm(u)), abs=1e-12)
        assert found.cell_share[lag] == pytest.approx((u[3] ** 2).sum() / (u**2).sum(), abs=1e-12)
    np.testing.assert_allclose(found.direction, u.T[None] / np.linalg.norm(u), atol=1e-12)


def test_a_gradient_of_zero_is_minus_infinity_from_there_on():
    params, x, start, _ = problem(RNN("relu"))
    params = {name: np.zeros_like(a) for name, a in params.items()}
    found = subject_profile(Builtin("rnn-relu"), params, x, start)
    assert np.isneginf(found.log_norm[1:]).all()
    assert np.isnan(found.cell_share[1:]).all()


@pytest.mark.parametrize(
    ("target", "changed", "error", "message"),
    [
        (
            type("F", (), {"cell": "rnn", "forward": lambda self, *a: a}),
            {},
            TargetError,
            "has no backward",
        ),
        (Builtin("lstm-layers2"), {}, TargetError, "one layer in one direction"),
        (Delegating("gru", convention="flax-nnx"), {}, ConventionError, "has no c_n"),
        (Delegating(sizes={"H": 4}), {}, TargetError, "at H = 4 only"),
        (Delegating(sizes={"B": 2}), {}, TargetError, "at B = 2 only"),
        (Builtin("lstm"), {"x": np.zeros((T, 1, D))}, InputError, r"x has shape \(30, 1, 3\)"),
        (Builtin("lstm"), {"start": np.zeros((2, K, H))}, InputError, "start has norm 0"),
        (Builtin("lstm"), {"start": np.full((2, K, H), np.nan)}, InputError, "start has norm nan"),
        (Builtin("lstm"), {"start": np.ones((2, 0, H))}, InputError, "start has shape"),
        (Builtin("lstm"), {"state": np.ones((1, H))}, InputError, "state has shape"),
        (Builtin("lstm"), {"state": np.full((2, H), np.inf)}, InputError, "state is not finite"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(target, changed, error, message):
    cell = as_cell(getattr(target, "cell", "lstm")).layer_cell
    params, x, start, state = problem(cell)
    given = {"x": x, "start": start, "state": state} | changed
    with pytest.raises(error, match=message) as raised:
        subject_profile(target, params, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "returned",
    [np.zeros(3), (np.zeros(2),), (np.zeros(3), np.zeros(3))],
    ids=["array", "shape", "number"],
)
@pytest.mark.parametrize("wrong", ["step", "vjp"])
def test_functions_that_return_something_else(returned, wrong):
    good = {"step": lambda p, x, h: (h,), "vjp": lambda p, x, s, d: tuple(d)}
    vjp_profile(
        **good, params=None, x=np.zeros((2, 1)), start=[np.ones((1, 3))], state=[np.zeros(3)]
    )
    with pytest.raises(ContractError, match=f"{wrong} returned"):
        vjp_profile(
            **good | {wrong: lambda *a: returned},
            params=None,
            x=np.zeros((2, 1)),
            start=[np.ones((1, 3))],
            state=[np.zeros(3)],
        )
    with pytest.raises(InputError, match="start has shapes"):
        vjp_profile(
            **good, params=None, x=np.zeros((2, 1)), start=[np.ones((1, 2))], state=[np.zeros(3)]
        )
