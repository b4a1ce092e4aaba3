"""Cells as specifications: shapes, traits, messages; and initializers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, RNN, TRAITS, Cell, Sizes, as_cell
from gatecheck.cells.gate_blocks import block, join, split
from gatecheck.cells.initializers import INITIALIZERS, chrono, initializer
from gatecheck.cells.validation import check_cotangents, check_inputs
from gatecheck.errors import InputError, UsageError

T, B, D, H = 6, 3, 4, 5

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=str)


def call_arguments(cell, dtype="float64", **instead):
    """Return the arguments of check_inputs, with a different number in every entry."""
    rng = np.random.default_rng(0)
    given = {
        "params": {
            k: rng.standard_normal(s).astype(dtype) for k, s in cell.param_shapes(D, H).items()
        }
    }
    given["x"] = rng.standard_normal((T, B, D)).astype(dtype)
    given |= {f"{k}0": rng.standard_normal((B, H)).astype(dtype) for k in cell.state}
    return given | instead


LAYER = {"plain_layer", "unidirectional", "single_layer", "no_projection"}
PLAIN = set(TRAITS) - {
    "peepholes",
    "clipped",
    "hard_gates",
    "bidirectional",
    "stacked",
    "projected",
}

DESCRIBED = {
    "rnn": (RNN(), ("n",), (), ("h",), LAYER | {"bounded", "odd", "analytic", "unclipped"}),
    "rnn-relu": (RNN("relu"), ("n",), (), ("h",), LAYER | {"unclipped"}),
    "rnn-sigmoid": (
        RNN("sigmoid"),
        ("n",),
        (),
        ("h",),
        LAYER | {"bounded", "analytic", "unclipped"},
    ),
    "gru": (
        GRU(),
        ("r", "z", "n"),
        ("r", "z"),
        ("h",),
        PLAIN - {"cell_state", "independent_gates"},
    ),
    "gru-before": (
        GRU("before"),
        ("r", "z", "n"),
        ("r", "z"),
        ("h",),
        PLAIN - {"cell_state", "independent_gates"},
    ),
    "lstm": (
        LSTM(),
        ("i", "f", "g", "o"),
        ("i", "f", "o"),
        ("h", "c"),
        PLAIN - {"update_gate", "reset_gate", "complementary_gates"},
    ),
}


def test_every_cell_is_described():
    assert DESCRIBED.keys() == CELLS.keys()


@pytest.mark.parametrize("name", DESCRIBED)
def test_gates_states_traits_and_shapes(name):
    cell, gates, sigmoids, state, traits = DESCRIBED[name]
    assert CELLS[name] == as_cell(name) == cell
    assert as_cell(cell) is cell
    assert cell.name == str(cell) == name
    assert (cell.gates, cell.sigmoid_gates, cell.state, cell.traits) == (
        gates,
        sigmoids,
        state,
        traits,
    )
    G = len(gates)
    bias = {"c_n": (H,)} if name == "gru" else {}
    assert cell.param_shapes(D, H) == {"W": (D, G * H), "U": (H, G * H), "b": (G * H,)} | bias


@pytest.mark.parametrize("cell", NETWORKS.values(), ids=str)
def test_a_network_has_parameters_for_each_layer_and_direction(cell):
    assert as_cell(cell.name) == cell
    shapes = cell.param_shapes(D, H)
    assert len(shapes) == len(cell.param_suffixes) * len(cell.layer_cell.param_shapes(D, H))
    assert {
        name: shapes[name] for name in cell.layer_cell.param_shapes(D, H)
    } == cell.layer_cell.param_shapes(D, H)
    if cell.layers > 1:
        inputs = cell.directions * (cell.projection or H)
        assert shapes["W.l1"] == (inputs, len(cell.gates) * H)
    assert cell.state_shape("h", B, H) == (len(cell.param_suffixes), B, cell.projection or H)


@pytest.mark.parametrize(
    "name", ["lstm-layers0", "gru-layers", "lstm-proj0", "gru-proj2", "rnn-bidirectional-layers2"]
)
def test_an_invalid_network_name(name):
    with pytest.raises(
        UsageError, match=r"there is no cell|should be a whole number of at least 1"
    ):
        as_cell(name)


@every_cell
def test_blocks_are_views_in_the_order_of_the_gates(cell):
    G = len(cell.gates)
    matrix = np.arange(D * G * H).reshape(D, G * H)
    for k, gate in enumerate(cell.gates):
        view = block(cell, matrix, gate)
        np.testing.assert_array_equal(view, matrix[:, k * H : (k + 1) * H])
        assert np.shares_memory(view, matrix)


@every_cell
def test_join_is_the_inverse_of_split(cell):
    params = call_arguments(cell)["params"]
    blocks = split(cell, params)
    assert set(blocks) == {f"{name}_{gate}" for name in "WUb" for gate in cell.gates} | (
        {"c_n"} & set(params)
    )
    # A join in another order would show: no two blocks are equal.
    again = join(cell, blocks)
    assert again.keys() == params.keys()
    assert all(again[k].tobytes() == params[k].tobytes() for k in params)


@every_cell
@pytest.mark.parametrize("sizes", [(T, B, D, H), (0, B, D, H), (T, 0, D, H), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("states", [True, False])
def test_fitting_arrays_give_their_sizes(cell, sizes, states):
    t, b, d, h = sizes
    params = {k: np.zeros(s) for k, s in cell.param_shapes(d, h).items()}
    given = {f"{k}0": np.full((b, h), np.nan) for k in cell.state} if states else {}
    assert check_inputs(cell, params, np.full((t, b, d), np.inf), **given) == Sizes(*sizes)


def params_with(**instead):
    return lambda cell: {
        k: v for k, v in (call_arguments(cell)["params"] | instead).items() if v is not None
    }


def zeros(*shape, dtype="float64"):
    return lambda cell: np.zeros(shape, dtype)


BAD_INPUTS = [
    (
        GRU(),
        "x",
        zeros(T, B),
        "x is a float64 array of shape (6, 3), but should be a NumPy array of shape (T, B, D)",
    ),
    (
        GRU(),
        "x",
        lambda cell: [[[0.0]]],
        "x is a list, but should be a NumPy array of shape (T, B, D)",
    ),
    (GRU(), "x", lambda cell: None, "x is a NoneType"),
    (
        GRU(),
        "x",
        zeros(T, B, D, dtype="float16"),
        "x has dtype float16, but should have dtype float32 or float64",
    ),
    (
        GRU(),
        "x",
        zeros(T, B, D, dtype="complex128"),
        "x has dtype complex128, but should have dtype float32 or float64",
    ),
    (
        GRU(),
        "x",
        zeros(T, B, D, dtype=">f8"),
        "x has dtype >f8, but should have dtype float32 or float64",
    ),
    (
        GRU(),
        "x",
        zeros(T, B, 0),
        "x has shape (6, 3, 0) and U has shape (5, 15), but D and H should be at least 1",
    ),
    (GRU(), "x", zeros(T, B, 7), "W has shape (4, 15), but should have shape (D, 3*H) = (7, 15)"),
    (
        GRU(),
        "params",
        lambda cell: [1],
        "params is a list, but should be a mapping of names to arrays",
    ),
    (
        GRU(),
        "params",
        params_with(b=None),
        "params of a gru has the names ['U', 'W', 'c_n'], but should have ['U', 'W', 'b', 'c_n']",
    ),
    (
        GRU("before"),
        "params",
        params_with(c_n=np.zeros(H)),
        "params of a gru-before has the names ['U', 'W', 'b', 'c_n']",
    ),
    (
        GRU(),
        "params",
        params_with(U=np.zeros(5)),
        "U is a float64 array of shape (5,), but should be a NumPy array of shape (H, 3*H)",
    ),
    (
        GRU(),
        "params",
        params_with(U=[[0.0]]),
        "U is a list, but should be a NumPy array of shape (H, 3*H)",
    ),
    (
        GRU(),
        "params",
        params_with(U=np.zeros((0, 0))),
        "U has shape (0, 0), but D and H should be at least 1",
    ),
    (
        GRU(),
        "params",
        params_with(U=np.zeros((15, 5))),
        "W has shape (4, 15), but should have shape (D, 3*H) = (4, 45)",
    ),
    (
        GRU(),
        "params",
        params_with(U=np.zeros((5, 16))),
        "U has shape (5, 16), but should have shape (H, 3*H) = (5, 15)",
    ),
    (
        GRU(),
        "params",
        params_with(c_n=np.zeros(6)),
        "c_n has shape (6,), but should have shape (H,) = (5,)",
    ),
    (
        GRU(),
        "params",
        params_with(W=[1.0]),
        "W is a list, but should be a NumPy array of shape (D, 3*H) = (4, 15)",
    ),
    (
        LSTM(),
        "params",
        params_with(b=np.zeros(20, "float32")),
        "b has dtype float32, but should have dtype float64, like x",
    ),
    (
        RNN(),
        "params",
        params_with(b=np.zeros((5, 1))),
        "b has shape (5, 1), but should have shape (1*H,) = (5,)",
    ),
    (LSTM(), "h0", zeros(B + 1, H), "h0 has shape (4, 5), but should have shape (B, H) = (3, 5)"),
    (
        LSTM(),
        "c0",
        zeros(B, H, dtype="float32"),
        "c0 has dtype float32, but should have dtype float64, like x",
    ),
    (
        LSTM(),
        "c0",
        lambda cell: 0.0,
        "c0 is a float, but should be a NumPy array of shape (B, H) = (3, 5)",
    ),
    (GRU(), "c0", zeros(B, H), "c0 was given, but a gru has no state c"),
]


@pytest.mark.parametrize(
    ("cell", "name", "make", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS]
)
def test_an_array_that_does_not_fit_is_named(cell, name, make, message):
    with pytest.raises(InputError) as caught:
        check_inputs(cell, **call_arguments(cell, **{name: make(cell)}))
    assert message in str(caught.value)


def test_names_of_any_type_are_an_input_error():
    with pytest.raises(InputError, match="params of a gru has the names"):
        check_inputs(
            GRU(),
            **call_arguments(GRU(), params=call_arguments(GRU())["params"] | {1: np.zeros(H)}),
        )


@every_cell
def test_the_caller_says_which_dtypes(cell):
    given = call_arguments(cell, dtype="complex128")
    assert check_inputs(cell, **given, dtypes=("complex128",)) == (T, B, D, H)
    with pytest.raises(InputError, match="x has dtype float64, but should have dtype complex128"):
        check_inputs(cell, **call_arguments(cell), dtypes=("complex128",))


BAD_COTANGENTS = [
    (
        LSTM(),
        {"dy": np.zeros((T + 1, B, H))},
        "dy has shape (7, 3, 5), but should have shape (T, B, H) = (6, 3, 5)",
    ),
    (
        LSTM(),
        {"dy": 1.0},
        "dy is a float, but should be a NumPy array of shape (T, B, H) = (6, 3, 5)",
    ),
    (
        LSTM(),
        {"dhT": np.zeros((B, D))},
        "dhT has shape (3, 4), but should have shape (B, H) = (3, 5)",
    ),
    (
        LSTM(),
        {"dcT": np.zeros((B, H), "float32")},
        "dcT has dtype float32, but should have dtype float64, like x",
    ),
    (GRU(), {"dcT": np.zeros((B, H))}, "dcT was given, but a gru has no state c"),
]


@pytest.mark.parametrize(
    ("cell", "wrong", "message"), BAD_COTANGENTS, ids=[m for *_, m in BAD_COTANGENTS]
)
def test_cotangents_that_do_not_fit_are_named(cell, wrong, message):
    nothing = {"dy": None, "dhT": None, "dcT": None}
    check_cotangents(cell, Sizes(T, B, D, H), np.dtype("float64"), **nothing)
    with pytest.raises(InputError) as caught:
        check_cotangents(cell, Sizes(T, B, D, H), np.dtype("float64"), **nothing | wrong)
    assert message in str(caught.value)


BAD_NAMES = [
    (lambda: RNN("gelu"), "activation is 'gelu', but should be 'tanh', 'relu' or 'sigmoid'"),
    (lambda: GRU("both"), "reset is 'both', but should be 'after' or 'before'"),
    (
        lambda: as_cell("gur"),
        "there is no cell 'gur'; the cells are rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm",
    ),
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


# ---- initializers

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


def test_a_cell_is_a_value():
    assert GRU() == Cell("gru", reset="after")
    assert len({GRU(), GRU("after"), GRU("before")}) == 2
