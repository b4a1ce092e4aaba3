"""Bitwise guarantees of the kernels, empty sizes, NaN and infinity."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.cells.gate_blocks import block
from gatecheck.kernels import run
from gatecheck.kernels.builtin import KERNEL_CELLS

every_cell = pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
both_resets = pytest.mark.parametrize("gru", [GRU("after"), GRU("before")], ids=str)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def outputs_and_gradients(cell, problem):
    y, hT, cT, tape = run.forward(cell, *problem.inputs)
    return [y, hT, *([] if cT is None else [cT])], run.backward(
        cell, problem.params, tape, problem.dy, problem.dhT, problem.dcT
    )


def with_bias(cell, problem, **bias):
    for gate, value in bias.items():
        block(cell, problem.params["b"], gate)[:] = value
    return problem


@both_dtypes
@both_resets
@pytest.mark.parametrize(
    "sizes", [(6, 3, 4, 5), (5, 1, 3, 1), (9, 1, 1, 8), (30, 7, 5, 33), (4, 16, 16, 64)], ids=str
)
def test_open_gates_make_a_gru_a_plain_cell(gru, sizes, dtype, draw):
    problem = with_bias(gru, draw(gru, *sizes, dtype=dtype), r=1000, z=1000)
    problem.params.get("c_n", np.empty(0))[:] = 0
    plain = problem._replace(params={k: block(gru, problem.params[k], "n").copy() for k in "WUb"})
    (y, hT), grads = outputs_and_gradients(gru, problem)
    (plain_y, plain_hT), plain_grads = outputs_and_gradients(RNN(), plain)
    assert same(y, plain_y)
    assert same(hT, plain_hT)
    assert same(grads["x"], plain_grads["x"])
    assert same(grads["h0"], plain_grads["h0"])
    for name in "WUb":
        assert same(block(gru, grads[name], "n").copy(), plain_grads[name]), name
        assert not block(gru, grads[name], "r").any()
        assert not block(gru, grads[name], "z").any()
    if gru.reset == "after":
        assert same(grads["c_n"], plain_grads["b"])


@both_dtypes
@both_resets
def test_a_closed_update_gate_makes_a_gru_a_copy(gru, dtype, draw):
    problem = with_bias(gru, draw(gru, T=20, dtype=dtype), z=-1000)
    (y, hT), grads = outputs_and_gradients(gru, problem._replace(dy=None))
    assert all(same(y_t, problem.h0) for y_t in (*y, hT))
    assert same(grads["h0"], problem.dhT)
    assert all(not grad.any() for name, grad in grads.items() if name != "h0")
    tape = run.forward(gru, *problem.inputs)[3]
    for j in range(problem.h0.shape[1]):
        one = np.zeros_like(problem.h0)
        one[:, j] = 1
        assert same(run.backward(gru, problem.params, tape, None, one, None)["h0"], one)
        assert same(run.tangent(gru, problem.params, tape, dh0=one)[1], one)


@both_dtypes
def test_an_lstm_that_neither_writes_nor_forgets_keeps_its_cell_state(dtype, draw):
    problem = with_bias(LSTM(), draw(LSTM(), T=20, dtype=dtype), f=1000, i=-1000)
    outputs, grads = outputs_and_gradients(LSTM(), problem._replace(dy=None, dhT=None))
    assert same(outputs[2], problem.c0)
    assert same(grads["c0"], problem.dcT)


@every_cell
def test_calls_repeat_to_the_bit(cell, draw):
    problem = draw(cell, T=12, B=5, H=40, dtype="float32")
    (first, first_grads), (again, again_grads) = (
        outputs_and_gradients(cell, problem) for _ in range(2)
    )
    assert all(map(same, first, again))
    assert all(same(first_grads[k], again_grads[k]) for k in first_grads)


@every_cell
def test_a_tape_shares_no_memory_with_arguments_or_results(cell, draw):
    problem = draw(cell)
    want = outputs_and_gradients(cell, problem)[1]
    y, hT, cT, tape = run.forward(cell, *problem.inputs)
    for array in (problem.x, problem.h0, problem.c0, y, hT, cT):
        if array is not None:
            array[:] = np.nan
    for _ in range(2):
        grads = run.backward(cell, problem.params, tape, problem.dy, problem.dhT, problem.dcT)
        assert all(same(grads[name], want[name]) for name in want)


@every_cell
def test_the_future_does_not_reach_the_past(cell, draw):
    problem = draw(cell, T=12, dtype="float32")
    y = run.forward(cell, *problem.inputs)[0]
    for t in (1, 7, 11):
        x = problem.x.copy()
        x[t:] = 3 - x[t:]
        other = run.forward(cell, problem.params, x, problem.h0, problem.c0)[0]
        assert same(y[:t], other[:t])
        assert np.all(y[t] != other[t]) or cell.activation == "relu"


@both_dtypes
@every_cell
@pytest.mark.parametrize("sizes", [{"T": 0}, {"B": 0}, {"T": 0, "B": 0}], ids=str)
def test_empty_sequences_and_batches(cell, sizes, dtype, draw):
    problem = draw(cell, **sizes, dtype=dtype)
    outputs, grads = outputs_and_gradients(cell, problem)
    states = [problem.h0, *([] if problem.c0 is None else [problem.c0])]
    assert outputs[0].shape == problem.dy.shape
    assert outputs[0].size == 0
    assert all(map(same, outputs[1:], states))
    for name, array in (problem.params | {"x": problem.x}).items():
        assert same(grads[name], np.zeros_like(array)), name
    assert same(grads["h0"], problem.dhT)
    assert not np.shares_memory(grads["h0"], problem.dhT)
    assert not np.shares_memory(outputs[1], problem.h0)
    tape = run.forward(cell, *problem.inputs)[3]
    moved = run.tangent(
        cell, problem.params, tape, problem.params, problem.x, problem.h0, problem.c0
    )
    assert all(map(same, [m for m in moved if m is not None], [np.empty_like(problem.dy), *states]))


@every_cell
def test_nan_stays_nan_and_in_its_row(cell, draw):
    problem = draw(cell, T=6, B=4, H=9)
    clean, clean_grads = outputs_and_gradients(cell, problem)
    problem.x[2, 1, 0] = np.nan
    outputs, grads = outputs_and_gradients(cell, problem)
    hit = np.zeros(clean[0].shape, bool)
    hit[2:, 1] = True
    np.testing.assert_array_equal(np.isnan(outputs[0]), hit)
    assert same(outputs[0][~hit], clean[0][~hit])
    others = [0, 2, 3]
    assert np.isnan(grads["x"][:, 1]).all()
    assert same(grads["x"][:, others], clean_grads["x"][:, others])
    assert same(grads["h0"][others], clean_grads["h0"][others])
    assert all(np.isnan(grads[name]).all() for name in problem.params)


@every_cell
@pytest.mark.parametrize("name", ["W", "U", "b", "h0"])
def test_nan_in_a_parameter_or_state_stays_nan(cell, name, draw):
    problem = draw(cell)
    (problem.params.get(name, problem.h0))[:] = np.nan
    outputs, grads = outputs_and_gradients(cell, problem)
    assert all(np.isnan(a).all() for a in outputs)
    assert np.isnan(grads["x"]).all()


@both_dtypes
@every_cell
@pytest.mark.parametrize("sign", [1, -1])
def test_infinity_gives_the_limit_and_stays_in_its_row(cell, sign, dtype, draw):
    problem = draw(cell, T=1 if cell.activation == "relu" else 5, dtype=dtype)
    clean = run.forward(cell, *problem.inputs)[0]
    results = []
    # Every weight is far from 0, so that 1e30 saturates the same gates as infinity.
    for value in (sign * np.inf, sign * 1e30):
        problem.x[0, 1, 0] = value
        results.append(run.forward(cell, *problem.inputs)[0])
    infinite, large = results
    assert same(infinite[:, [0, 2]], clean[:, [0, 2]])
    if cell.activation == "relu":
        np.testing.assert_array_equal(
            infinite[0, 1], np.where(sign * problem.params["W"][0] > 0, np.inf, 0)
        )
    else:
        assert same(infinite, large)
        assert np.isfinite(infinite).all()
