"""Paths, input gradients and gates against other computations, and in one sweep."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, LSTM, RNN, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.initializers import chrono, uniform
from gatecheck.decay.jacobians.profile import Adjoint, adjoint_profile
from gatecheck.decay.jacobians.sweep import prepare_run, run_passes
from gatecheck.decay.measures.gates import BINS, CLOSED, OPEN, GateStatistics
from gatecheck.decay.measures.input_sensitivity import InputSensitivity
from gatecheck.decay.measures.paths import path_split
from gatecheck.kernels.run import backward, forward


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def scalar_lstm(u=1.0, b_f=1.0):
    return {
        "W": np.zeros((1, 4)),
        "U": np.array([[0.0, 0.0, u, 0.0]]),
        "b": np.array([0.0, b_f, 0.0, 0.0]),
    }


def test_ground_truth_13_which_path_carries_a_scalar_lstm():
    # From a cotangent of c, a step multiplies by f + o i u after the first, by f along the cell
    # state.
    found = path_split(LSTM(), scalar_lstm(), np.zeros((101, 1)), np.array([[[0.0]], [[1.0]]]))
    gradient = {name: math.exp(log_norm[101] - log_norm[1]) for name, log_norm in found.items()}
    assert gradient["total"] == pytest.approx(0.147739, abs=5e-7)
    # The cell path is an exponential from the start; that of `total` needs one step to reach its
    # direction (h, c).
    assert math.exp(found["keep"][100]) == pytest.approx(2.484e-14, abs=5e-18)
    assert gradient["candidate"] == gradient["total"]  # at zero state no gate has a derivative
    assert gradient["gates"] == gradient["keep"]


def test_the_cell_carries_a_gradient_at_chrono_biases():
    rng = np.random.default_rng(11)
    params, x = chrono(1000)(rng, LSTM(), 4, 32), rng.standard_normal((500, 4))
    found = path_split(LSTM(), params, x, rng.standard_normal((2, 4, 32)))
    assert found["total"][-1] - found["keep"][-1] < 1 < found["total"][0] - found["total"][-1] + 1
    plain = path_split(LSTM(), uniform(rng, LSTM(), 4, 32), x, rng.standard_normal((2, 4, 32)))
    assert plain["total"][-1] - plain["keep"][-1] > 50


def step(cell, p, x, s, held):
    """Return one step whose gates or candidate see the state `held` instead of h."""
    names = {"gates": held[0], "candidate": held[0], "keep": s[0], **held[1]}
    a = x @ p["W"] + p["b"]
    if cell.kind == "rnn":
        return np.stack([np.tanh(a + names["candidate"] @ p["U"])])
    U = {k: block(cell, p["U"], k) for k in cell.gates}
    pre = {k: block(cell, a, k) for k in cell.gates}
    gate = {k: sigmoid(pre[k] + names["gates"] @ U[k]) for k in cell.sigmoid_gates}
    if cell.kind == "lstm":
        c = gate["f"] * s[1] + gate["i"] * np.tanh(pre["g"] + names["candidate"] @ U["g"])
        return np.stack([gate["o"] * np.tanh(c), c])
    h, r, z = names["candidate"], gate["r"], gate["z"]
    n = (
        np.tanh(pre["n"] + (r * h) @ U["n"])
        if cell.reset == "before"
        else np.tanh(pre["n"] + r * (h @ U["n"] + p["c_n"]))
    )
    return np.stack([z * n + (1 - z) * names["keep"]])


def dense(cell, p, x, s, path):
    """Return ∂s'/∂s by a complex step, with uses of h off the path held constant."""
    cut = {
        "total": (),
        "keep": ("gates", "candidate"),
        "candidate": ("gates",),
        "gates": ("candidate",),
    }[path]
    columns = []
    for e in np.eye(s.size):
        moved = s + 1e-30j * e.reshape(s.shape)
        held = (moved[0], dict.fromkeys(cut, s[0]))
        columns.append(step(cell, p, x, moved, held).imag.ravel() / 1e-30)
    return np.array(columns).T


@pytest.mark.parametrize("name", ["rnn", "gru", "gru-before", "lstm"])
@pytest.mark.parametrize("path", ["total", "keep", "candidate", "gates"])
def test_a_path_is_the_product_of_its_jacobians(name, path):
    cell, rng, H = as_cell(name), np.random.default_rng(12), 4
    params = {k: 2 * array for k, array in uniform(rng, cell, 3, H).items()}
    n, x = len(cell.state), rng.standard_normal((11, 3))
    start, s = rng.standard_normal((n, 2, H)), rng.standard_normal((n, H)) / 2
    found, jacobians, state = path_split(cell, params, x, start, s)[path], [], s
    for x_t in x:
        jacobians.append(dense(cell, params, x_t, state, path))
        state = step(cell, params, x_t, state, (state[0], {}))
    u = start.transpose(0, 2, 1).reshape(-1, 2)
    with np.errstate(divide="ignore"):
        expected = [np.log(np.linalg.norm(u))]
        for J in reversed(jacobians):
            u = J.T @ u
            expected.append(np.log(np.linalg.norm(u)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    if name == "rnn" and path in ("keep", "gates"):
        assert np.isneginf(found[1:]).all()


def problem(name, T=30, k=3, H=4, D=3):
    cell, rng = as_cell(name), np.random.default_rng(13)
    params = {key: 1.5 * array for key, array in uniform(rng, cell, D, H).items()}
    params["b"] += cell.activation == "relu"
    n = len(cell.state)
    return (
        cell,
        params,
        rng.standard_normal((T, D)),
        rng.standard_normal((n, k, H)),
        rng.standard_normal((n, H)) / 2,
    )


@pytest.mark.parametrize("name", CELLS)
def test_input_gradients_are_those_of_the_backward_kernels(name):
    cell, params, x, start, state = problem(name)
    run = prepare_run(cell, params, x, state)
    found = InputSensitivity(run)
    run_passes(run, backward=[Adjoint(run, start, readings=[found])])
    squares = 0
    for p in range(start.shape[1]):
        _, _, _, tape = forward(cell, params, x[:, None], *state[:, None])
        gradients = backward(
            cell, params, tape, None, *start[:, p : p + 1], *[None] * (2 - len(state))
        )
        squares = squares + (gradients["x"] ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(found.log_norm, np.log(squares[::-1]) / 2, atol=1e-12)


def test_an_input_that_nothing_sees_has_no_gradient():
    run = prepare_run(
        RNN(), {"W": np.zeros((1, 1)), "U": np.ones((1, 1)), "b": np.zeros(1)}, np.ones((5, 1))
    )
    found = InputSensitivity(run)
    run_passes(run, backward=[Adjoint(run, np.ones((1, 1, 1)), readings=[found])])
    assert np.isneginf(found.log_norm).all()


def gates_by_hand(cell, params, x, state):
    """Return the sigmoid gates (T, H) by name, in plain NumPy."""
    values = {k: [] for k in cell.sigmoid_gates}
    for x_t in x:
        a = x_t @ params["W"] + params["b"] + state[0] @ params["U"]
        for k in values:
            values[k].append(sigmoid(block(cell, a, k)))
        state = step(cell, params, x_t, state, (state[0], {}))
    return {k: np.array(rows) for k, rows in values.items()}


@pytest.mark.parametrize("name", ["gru", "gru-before", "lstm"])
def test_gate_statistics(name):
    cell, params, x, _, state = problem(name, T=200)
    params["b"] *= 3
    run = prepare_run(cell, params, x, state)
    statistics = GateStatistics(run)
    run_passes(run, forward=[statistics])
    found, values = statistics.result(), gates_by_hand(cell, params, x, state)
    assert set(found.by_name) == set(values)
    for k, gate in found.by_name.items():
        assert gate.mean == pytest.approx(values[k].mean(), rel=1e-12)
        assert gate.closed == np.mean(values[k] < CLOSED)
        assert gate.open == np.mean(values[k] > OPEN)
        assert gate.counts.tolist() == np.histogram(values[k], BINS, (0, 1))[0].tolist()
        assert gate.counts.sum() == values[k].size
    assert sum(gate.closed + gate.open for gate in found.by_name.values()) > 0  # the case can tell
    keep = values["f"] if name == "lstm" else 1 - values["z"]
    np.testing.assert_allclose(found.time_constants, -1 / np.log(keep).mean(axis=0), rtol=1e-12)


def test_time_constants_of_gates_that_never_move():
    params = {"W": np.zeros((1, 12)), "U": np.zeros((3, 12)), "b": np.zeros(12)}
    block(LSTM(), params["b"], "f")[:] = 1.0, 1000.0, -1000.0
    run = prepare_run(LSTM(), params, np.zeros((50, 1)))
    statistics = GateStatistics(run)
    run_passes(run, forward=[statistics])
    # ground truth 4
    assert statistics.result().time_constants == pytest.approx([3.1922, math.inf, 0], abs=5e-5)


def test_a_plain_rnn_has_no_gates():
    cell, params, x, _, state = problem("rnn")
    run = prepare_run(cell, params, x, state)
    statistics = GateStatistics(run)
    run_passes(run, forward=[statistics])
    assert statistics.result() == ({}, None)


def test_one_sweep_for_all_is_what_each_would_have_been():
    cell, params, x, start, state = problem("gru", T=101)
    run, calls = prepare_run(cell, params, x, state), []
    gates, inputs = GateStatistics(run), InputSensitivity(run)
    adjoint = Adjoint(run, start, readings=[inputs])
    advance = run.kernel.advance
    counted = run._replace(
        kernel=run.kernel._replace(
            advance=lambda *args: (calls.append(len(args[0])), advance(*args))
        )
    )
    run_passes(counted, forward=[gates], backward=[adjoint])
    assert sum(calls) == 2 * 101
    np.testing.assert_array_equal(
        adjoint.profile().log_norm, adjoint_profile(cell, params, x, start, state).log_norm
    )
    assert GRU() == cell
