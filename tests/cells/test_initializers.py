"""Initializers: distributions of initial weights, from a seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gatecheck.cells import CELLS, RNN
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.initializers import INITIALIZERS, chrono, initializer
from gatecheck.errors import UsageError

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=str)

NAMES = [*INITIALIZERS, "chrono:1000"]

GATED = [cell for cell in CELLS.values() if "gated" in cell.traits]


def draw_params(name, cell, seed=0, D=7, H=200):
    return initializer(name)(np.random.default_rng(seed), cell, D, H)


def is_uniform(sample, low, high):
    """Test for uniformity by Kolmogorov and Smirnov.

    The seeds are fixed, so this is a fact and not a chance of one in a thousand.
    """
    return stats.kstest(np.ravel(sample), "uniform", (low, high - low)).pvalue > 1e-3


def keep_bias(cell, params):
    """Return the bias towards keeping the old state."""
    return block(cell, params["b"], "f") if cell.kind == "lstm" else -block(cell, params["b"], "z")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", GATED, ids=str)
def test_every_initializer_gives_parameters_of_the_cell_from_a_seed(name, cell):
    params = draw_params(name, cell, seed=1, H=6)
    assert {k: v.shape for k, v in params.items()} == cell.param_shapes(7, 6)
    assert all(v.dtype == np.float64 and np.isfinite(v).all() for v in params.values())
    again, another = draw_params(name, cell, seed=1, H=6), draw_params(name, cell, seed=2, H=6)
    assert all(params[k].tobytes() == again[k].tobytes() for k in params)
    assert not np.array_equal(params["W"], another["W"])


@every_cell
def test_uniform_is_pytorchs(cell):
    params, a = draw_params("uniform", cell), 200**-0.5
    for name in ("W", "U", *({"c_n"} & set(params))):
        assert is_uniform(params[name], -a, a), name
    for gate in cell.gates:
        bias = np.concatenate(
            [block(cell, draw_params("uniform", cell, seed)["b"], gate) for seed in range(5)]
        )
        if cell.reset == "after" and gate == "n":
            assert is_uniform(bias, -a, a), "the candidate's second bias is c_n"
        else:
            # Two independent biases: a triangle over ±2a.
            assert stats.kstest(bias, "triang", (0.5, -2 * a, 4 * a)).pvalue > 1e-3, gate


@every_cell
def test_glorot_orthogonal(cell):
    params = draw_params("glorot_orthogonal", cell, D=30, H=50)
    a = (6 / 80) ** 0.5
    assert not params["b"].any()
    assert not params.get("c_n", np.zeros(1)).any()
    for gate in cell.gates:
        assert is_uniform(block(cell, params["W"], gate), -a, a)
        U = block(cell, params["U"], gate)
        # A product of 50 terms of order 1/50, and Householder's method is as exact as the product.
        np.testing.assert_allclose(U @ U.T, np.eye(50), atol=50 * np.finfo(float).eps)
    blocks = [block(cell, params["U"], gate) for gate in cell.gates]
    assert not any(np.array_equal(a, b) for k, a in enumerate(blocks) for b in blocks[:k])


def test_orthogonal_blocks_are_uniform_over_rotations():
    # Without the correction by signs, Householder's method makes the first entry of a 2 by 2 block
    # negative always.
    first = [draw_params("glorot_orthogonal", RNN(), seed, H=2)["U"][0, 0] for seed in range(500)]
    assert stats.kstest(np.arccos(first), "uniform", (0, np.pi)).pvalue > 1e-3


@pytest.mark.parametrize("cell", GATED, ids=str)
def test_unit_forget_bias(cell):
    params, plain = draw_params("unit_forget_bias", cell), draw_params("uniform", cell)
    assert (keep_bias(cell, params) == 1).all()
    where = block(cell, plain["b"], "f" if cell.kind == "lstm" else "z")
    where[:] = 1 if cell.kind == "lstm" else -1
    assert all(params[k].tobytes() == plain[k].tobytes() for k in plain), "nothing else is changed"


@pytest.mark.parametrize("name", ["chrono:1000", "uniform_gate"])
@pytest.mark.parametrize("cell", GATED, ids=str)
def test_the_writing_gate_has_the_opposite_bias_and_the_rest_is_uniform(name, cell):
    params, a = draw_params(name, cell), 200**-0.5
    keeping, writing = ("f", "i") if cell.kind == "lstm" else (None, "z")
    np.testing.assert_array_equal(block(cell, params["b"], writing), -keep_bias(cell, params))
    assert abs(keep_bias(cell, params)).max() > 2 * a
    for gate in set(cell.gates) - {keeping, writing}:
        assert 0 < abs(block(cell, params["b"], gate)).max() <= 2 * a, gate
    assert all(is_uniform(params[k], -a, a) for k in ("W", "U"))


@pytest.mark.parametrize("cell", GATED, ids=str)
def test_chrono_draws_time_constants_uniformly(cell):
    for Tmax in (4, 1000):
        time = np.exp(
            np.concatenate(
                [keep_bias(cell, draw_params(f"chrono:{Tmax}", cell, seed)) for seed in range(5)]
            )
        )
        assert is_uniform(time, 1, Tmax - 1)
    assert (
        draw_params("chrono:1000", cell)["b"]
        == chrono(1000)(np.random.default_rng(0), cell, 7, 200)["b"]
    ).all()


@pytest.mark.parametrize("cell", GATED, ids=str)
@pytest.mark.parametrize("H", [1, 2, 200])
def test_uniform_gate_draws_gates_uniformly(cell, H):
    rng, initialize = np.random.default_rng(0), initializer("uniform_gate")
    gates = np.concatenate(
        [1 / (1 + np.exp(-keep_bias(cell, initialize(rng, cell, 1, H)))) for _ in range(1000 // H)]
    )
    assert is_uniform(gates, *((1 / H, 1 - 1 / H) if H > 2 else (0.25, 0.75)))


@pytest.mark.parametrize("name", ["unit_forget_bias", "chrono:1000", "uniform_gate"])
def test_a_plain_cell_has_no_gate_to_bias(name):
    with pytest.raises(
        UsageError,
        match="a rnn has no gate that keeps the old state, so this initializer does not apply",
    ):
        draw_params(name, RNN())


BAD_NAMES = [
    (
        lambda: initializer("glorot"),
        "there is no initializer 'glorot'; the initializers are uniform, glorot_orthogonal,",
    ),
    (lambda: initializer("uniform:3"), "there is no initializer 'uniform:3'"),
    (
        lambda: initializer("chrono"),
        "the initializer 'chrono' should be written chrono:TMAX with a TMAX above 2",
    ),
    (
        lambda: initializer("chrono:long"),
        "the initializer 'chrono:long' should be written chrono:TMAX",
    ),
    (lambda: initializer("chrono:2"), "the initializer 'chrono:2' should be written chrono:TMAX"),
    (lambda: chrono(2.0), "Tmax is 2.0, but should be a number greater than 2"),
    (lambda: chrono(float("inf")), "Tmax is inf, but should be"),
    (lambda: chrono(float("nan")), "Tmax is nan, but should be"),
]


@pytest.mark.parametrize(("call", "message"), BAD_NAMES, ids=[m for _, m in BAD_NAMES])
def test_bad_names_are_usage_errors(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
