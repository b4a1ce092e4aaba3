"""Arrays that fit a cell, and messages about those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, LSTM, RNN, Sizes
from gatecheck.cells.validation import check_cotangents, check_inputs
from gatecheck.errors import InputError

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
