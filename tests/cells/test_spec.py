"""Cells as specifications: gates, traits, shapes and options."""

from __future__ import annotations

import pytest

from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, RNN, TRAITS, Cell, as_cell
from gatecheck.errors import UsageError

B, D, H = 3, 4, 5

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


def test_a_cell_is_a_value():
    assert GRU() == Cell("gru", reset="after")
    assert len({GRU(), GRU("after"), GRU("before")}) == 2


BAD_NAMES = [
    (lambda: RNN("gelu"), "activation is 'gelu', but should be 'tanh', 'relu' or 'sigmoid'"),
    (lambda: GRU("both"), "reset is 'both', but should be 'after' or 'before'"),
]


@pytest.mark.parametrize(("call", "message"), BAD_NAMES, ids=[m for _, m in BAD_NAMES])
def test_bad_names_are_usage_errors(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
