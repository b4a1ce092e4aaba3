"""Adjoint and tangent sweeps against dense Jacobians, closed forms and each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, LSTM, RNN, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.initializers import glorot_orthogonal, uniform
from gatecheck.decay.jacobians import sweep as passes
from gatecheck.decay.jacobians.profile import adjoint_profile, tangent_profile
from gatecheck.decay.jacobians.step import cell_kernel
from gatecheck.errors import InputError

U64 = 2.0**-53
NO_INPUT = {T: np.zeros((T, 1)) for T in (1, 10, 100, 3000, 10**5, 10**6)}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def textbook_step(cell, p, x, s):
    """Return one step in plain NumPy, complex too, from the equations of the paper."""
    h, a = s[0], x @ p["W"] + p["b"]
    if cell.kind == "rnn":
        v = a + h @ p["U"]
        return np.stack(
            [
                {"tanh": np.tanh(v), "sigmoid": sigmoid(v), "relu": np.where(v.real > 0, v, 0)}[
                    cell.activation
                ]
            ]
        )
    blocks = [block(cell, a, k) for k in cell.gates], [block(cell, p["U"], k) for k in cell.gates]
    if cell.kind == "lstm":
        i, f, g, o = (a_k + h @ U_k for a_k, U_k in zip(*blocks, strict=True))
        c = sigmoid(f) * s[1] + sigmoid(i) * np.tanh(g)
        return np.stack([sigmoid(o) * np.tanh(c), c])
    (a_r, a_z, a_n), (U_r, U_z, U_n) = blocks
    r, z = sigmoid(a_r + h @ U_r), sigmoid(a_z + h @ U_z)
    n = (
        np.tanh(a_n + (r * h) @ U_n)
        if cell.reset == "before"
        else np.tanh(a_n + r * (h @ U_n + p["c_n"]))
    )
    return np.stack([z * n + (1 - z) * h])


def dense_jacobian(cell, p, x, s):
    """Return ∂s'/∂s by a complex step, a matrix of the size of the state."""
    size = s.size
    columns = [
        textbook_step(cell, p, x, s + 1e-30j * e.reshape(s.shape)).imag.ravel() / 1e-30
        for e in np.eye(size)
    ]
    return np.array(columns).T


def problem(cell, T=23, H=5, D=3, seed=0):
    """Return parameters, inputs, four vectors and a state, all of order one.

    A relu is biased to be on.
    """
    rng = np.random.default_rng(seed)
    params = {name: 2 * array for name, array in uniform(rng, cell, D, H).items()}
    params["b"] += cell.activation == "relu"
    n = len(cell.state)
    return (
        params,
        rng.standard_normal((T, D)),
        rng.standard_normal((n, 4, H)),
        rng.standard_normal((n, H)) / 2,
    )


@pytest.mark.parametrize("name", CELLS)
def test_profiles_are_products_of_the_dense_jacobians(name):
    cell = as_cell(name)
    params, x, start, s = problem(cell)
    jacobians, state = [], s
    for x_t in x:
        jacobians.append(dense_jacobian(cell, params, x_t, state))
        state = textbook_step(cell, params, x_t, state)
    flat = start.transpose(0, 2, 1).reshape(-1, 4)
    # Products of 23 matrices of 10 rows: 1e-12 is some hundred roundings, and the data are of order
    # one.
    for sweep, factors in (
        (adjoint_profile, [J.T for J in reversed(jacobians)]),
        (tangent_profile, jacobians),
    ):
        found, block_, H = sweep(cell, params, x, start, s), flat, s.shape[1]
        for k, factor in enumerate(factors, start=1):
            block_ = factor @ block_
            assert found.log_norm[k] == pytest.approx(math.log(np.linalg.norm(block_)), abs=1e-12)
            share = (block_[H:] ** 2).sum() / (block_**2).sum()
            assert found.cell_share[k] == pytest.approx(share, abs=1e-12)
        expected = (
            (block_ / np.linalg.norm(block_)).reshape(len(cell.state), H, 4).transpose(0, 2, 1)
        )
        np.testing.assert_allclose(found.direction, expected, atol=1e-12)


def test_ground_truth_1_an_orthogonal_network_at_zero_decays_by_its_gain():
    # The tolerance is one rounding a step, the worst case of the sum.
    T, params = 10**5, glorot_orthogonal(np.random.default_rng(1), RNN(), 1, 8)
    params["U"] *= 0.9
    start = np.random.default_rng(2).standard_normal((1, 1, 8))
    log_norm = adjoint_profile(RNN(), params, NO_INPUT[T], start / np.linalg.norm(start)).log_norm
    assert log_norm[-1] == pytest.approx(-10536.05156578, rel=T * U64)


def scalar_rnn(w, T, h0):
    params = {"W": np.zeros((1, 1)), "U": np.array([[w]]), "b": np.zeros(1)}
    return [
        sweep(RNN(), params, NO_INPUT[T], np.ones((1, 1, 1)), np.array([[h0]])).log_norm
        for sweep in (tangent_profile, adjoint_profile)
    ]


def test_ground_truth_7_a_critical_scalar_network_decays_as_a_power_of_the_length():
    # J_T ~ T^(-3/2); the digits stated are the tolerance.
    tangent, adjoint = scalar_rnn(1.0, 10**6, 0.5)
    assert (tangent[10**6] - tangent[10**5]) / math.log(10) == pytest.approx(-1.499957, abs=5e-7)
    assert adjoint[-1] == pytest.approx(tangent[-1], abs=10**6 * U64)
    assert abs(adjoint[10**5] - tangent[10**5]) > 1  # by lag and by length are different things


@pytest.mark.parametrize(
    ("w", "rate", "digits"), [(2.0, -1.793528506542228, 1e-15), (1.5, -0.930610204156, 5e-13)]
)
def test_ground_truth_7_a_scalar_network_at_its_fixed_point(w, rate, digits):
    # ln J at h* = tanh(w h*), to the digits stated or one rounding a step.
    h, T = 0.9, 3000
    for _ in range(200):
        h = math.tanh(w * h)
    assert w != 2 or h == pytest.approx(0.9575040240772688, abs=2e-16)
    for log_norm in scalar_rnn(w, T, h):
        assert log_norm[-1] / T == pytest.approx(rate, abs=digits + T * U64 * -rate)


def scalar_lstm(b_f, u):
    params = {
        "W": np.zeros((1, 4)),
        "U": np.array([[0.0, 0.0, u, 0.0]]),
        "b": np.array([0.0, b_f, 0.0, 0.0]),
    }
    return lambda T: adjoint_profile(LSTM(), params, NO_INPUT[T], np.array([[[0.0]], [[1.0]]]))


@pytest.mark.parametrize(("u", "steps_", "gradient"), [(1.0, 100, 0.147739), (0.0, 100, 2.484e-14)])
def test_ground_truth_13_which_path_carries_the_gradient_of_a_scalar_lstm(u, steps_, gradient):
    # By the sweep itself: from a cotangent of c, a step multiplies by f + o i u after the first, by
    # f with U = 0.
    log_norm = scalar_lstm(1.0, u)(3000).log_norm
    assert math.exp(log_norm[steps_ + 1] - log_norm[1]) == pytest.approx(
        gradient, rel=3e-4 if u == 0 else 5e-6
    )


@pytest.mark.parametrize("b", [0.0, 1.0, 2.0, 5.0])
def test_ground_truth_4_a_constant_forget_gate_decays_at_the_log_of_its_sigmoid(b):
    # Without a recurrence all of it is the cell path.
    found = scalar_lstm(b, 0.0)(10**5)
    assert found.log_norm[-1] / 10**5 == pytest.approx(-math.log1p(math.exp(-b)), rel=10**5 * U64)
    assert found.cell_share[-1] == 1


CYCLE = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
W_CYCLE = np.array([[0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.9, 0.0, 0.1]])


def test_ground_truth_17_the_product_is_taken_in_the_order_of_time():
    # h' = tanh(W h + x) in column form, so U = Wᵀ.
    params = {"W": np.eye(3), "U": W_CYCLE.T.copy(), "b": np.zeros(3)}
    x = np.tile(CYCLE, (1000, 1))
    for sweep in (adjoint_profile, tangent_profile):
        log_norm = sweep(RNN(), params, x, np.ones((1, 1, 3))).log_norm
        assert (log_norm[2700] - log_norm[300]) / 2400 == pytest.approx(-3.08887, abs=5e-6)

    states, h = [], np.zeros(3)
    for x_t in x[:300]:
        h = np.tanh(W_CYCLE @ h + x_t)
        states.append(h)
    J1, J2, J3 = ((1 - h * h)[:, None] * W_CYCLE for h in states[-3:])
    rates = [
        math.log(abs(np.linalg.eigvals(product)).max()) / 3
        for product in (J3 @ J2 @ J1, J1 @ J2 @ J3)
    ]
    assert rates == pytest.approx([-3.08887, -0.96456], abs=5e-6)


def adjoint_identity(cell, T, H=4):
    """Return ln|⟨g, Pv⟩| and ln|⟨Pᵀg, v⟩|, and their signs."""
    params, x, g, state = problem(cell, T, H)
    v, g = g[:, :1], g[:, 1:2]
    v, g = v / np.linalg.norm(v), g / np.linalg.norm(g)
    forward, backward = (
        tangent_profile(cell, params, x, v, state),
        adjoint_profile(cell, params, x, g, state),
    )
    products = np.sum(g * forward.direction), np.sum(backward.direction * v)
    with np.errstate(divide="ignore"):  # a broken adjoint may be zero
        return np.array([forward.log_norm[-1], backward.log_norm[-1]]) + np.log(
            np.abs(products)
        ), np.sign(products)


# whose gradient is exactly zero long before
@pytest.mark.parametrize("name", [name for name in CELLS if name != "rnn-relu"])
def test_ground_truth_16_adjoint_and_tangent_agree_at_length(name):
    # Some ten operations a step each round at random: √(10 T) u; and T partial sums round relative
    # to the last: √T u L.
    T = 10**5
    logs, signs = adjoint_identity(as_cell(name), T)
    assert signs[0] == signs[1]
    assert logs[0] < -1000
    assert abs(logs[0] - logs[1]) < 4 * U64 * (math.sqrt(10 * T) + math.sqrt(T) * abs(logs[0]))


# of those that the products need
ROWS = {"rnn": (1,), "gru": range(5), "gru-before": range(5), "lstm": range(6)}


@pytest.mark.parametrize(
    ("name", "row"), [(name, row) for name, rows in ROWS.items() for row in rows]
)
def test_the_identity_breaks_when_the_adjoint_drops_a_term(name, row, monkeypatch):
    def broken(cell, params):
        kernel = cell_kernel(cell, params)

        def pull(J: Any, *rest: Any) -> None:
            J = J.copy()
            J[7 % len(J), row] = 0  # in one step of each segment
            kernel.pull(J, *rest)

        return kernel._replace(pull=pull)

    monkeypatch.setattr(passes, "cell_kernel", broken)
    logs, signs = adjoint_identity(as_cell(name), 100)
    assert signs[0] != signs[1] or not abs(logs[0] - logs[1]) < 1e-4


def test_nothing_underflows_in_a_million_steps():
    rng = np.random.default_rng(3)
    params = uniform(rng, LSTM(), 1, 4)
    log_norm = adjoint_profile(
        LSTM(), params, rng.standard_normal((10**6, 1)), np.ones((2, 1, 4))
    ).log_norm
    assert log_norm.shape == (10**6 + 1,)
    assert log_norm[-1] < -3e5  # exp of it is zero in any format
    assert np.diff(log_norm).max() < 0.5
    first, second = log_norm[500_000] - log_norm[0], log_norm[-1] - log_norm[500_000]
    # one stationary process; local exponents scatter by less than 1 in √500,000 = 700
    assert first == pytest.approx(second, rel=0.01)


@pytest.mark.parametrize("T", [0, 1, 2, 3, 24, 25, 26])
def test_the_checkpoints_change_nothing(T, monkeypatch):
    cell = GRU("before")
    params, x, start, s = problem(cell, T)
    cut = adjoint_profile(cell, params, x, start, s)
    monkeypatch.setattr(math, "isqrt", lambda n: n)  # one segment
    whole = adjoint_profile(cell, params, x, start, s)
    np.testing.assert_allclose(cut.log_norm, whole.log_norm, rtol=0, atol=1e-13)
    assert len(cut.log_norm) == T + 1


def test_progress_rises_to_both_ways_through_the_sequence():
    calls, params = [], uniform(np.random.default_rng(0), RNN(), 1, 2)
    adjoint_profile(
        RNN(),
        params,
        np.zeros((10, 1)),
        np.ones((1, 1, 2)),
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(done, 20) for done in (3, 6, 9, 10, 11, 14, 17, 20)]


def test_an_exact_zero_is_minus_infinity_from_there_on():
    params = {"W": np.zeros((1, 1)), "U": np.ones((1, 1)), "b": np.array([-1.0])}
    found = adjoint_profile(RNN("relu"), params, NO_INPUT[10], np.ones((1, 1, 1)))
    assert found.log_norm.tolist() == [0.0] + 10 * [-math.inf]
    assert np.isnan(found.cell_share[1:]).all()


def test_not_a_number_stays_so():
    params = {"W": np.ones((1, 1)), "U": np.ones((1, 1)), "b": np.zeros(1)}
    x = np.zeros((9, 1))
    x[4] = np.nan
    found = adjoint_profile(RNN("relu"), params, x, np.ones((1, 1, 1)), np.array([[1.0]]))
    assert np.isnan(found.log_norm[5:]).all()


def test_arguments_are_left_as_they_were():
    cell = LSTM()
    params, x, start, s = problem(cell)
    before = [a.copy() for a in (x, start, s)]
    adjoint_profile(cell, params, x, start, s)
    tangent_profile(cell, params, x, start, s)
    for array, copy in zip((x, start, s), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": np.zeros((2, 1, 3))},
            r"x has shape \(2, 1, 3\), but should be a NumPy array of shape \(T, D\)",
        ),
        ({"x": np.zeros((2, 3), "float32")}, "x has dtype float32, but should have dtype float64"),
        (
            {"start": np.zeros((1, 1, 5))},
            r"start has shape \(1, 1, 5\), but should have shape \(n, k, H\) = \(2, k, 5\)",
        ),
        ({"start": np.zeros((2, 0, 5))}, r"start has shape \(2, 0, 5\)"),
        ({"start": np.zeros((2, 1, 5))}, "start has norm 0.0, but should be finite and not zero"),
        ({"start": np.full((2, 1, 5), np.nan)}, "start has norm nan"),
        (
            {"state": np.zeros((1, 5))},
            r"state has shape \(1, 5\), but should have shape \(n, H\) = \(2, 5\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    params, x, start, state = problem(LSTM())
    arguments = {"x": x, "start": start, "state": state} | change
    for sweep in (adjoint_profile, tangent_profile):
        with pytest.raises(InputError, match=message):
            sweep(LSTM(), params, **arguments)
