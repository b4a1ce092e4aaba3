"""Conventions: exact round trips, gradients by the transpose, and errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, RNN, VARIANTS, Sizes
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.errors import ConventionError
from gatecheck.reference import equations, run
from helpers.odd_conventions import ODD, TEST_CONVENTIONS

SIZES = Sizes(T=6, B=2, D=3, H=4)

ALL = {**CONVENTIONS, **{c.name: c for c in TEST_CONVENTIONS}}

EVERY_CELL = [*CELLS.values(), *VARIANTS.values(), *NETWORKS.values()]

EXPRESSIBLE = [
    (cell, convention)
    for convention in ALL.values()
    for cell in EVERY_CELL
    if convention.expresses(cell)
]
expressible = pytest.mark.parametrize(
    ("cell", "convention"), EXPRESSIBLE, ids=[f"{a}-{b.name}" for a, b in EXPRESSIBLE]
)


def draw_params(cell, dtype="float64", seed=0):
    return draw(cell, SIZES, seed=seed, dtype=dtype).params


@expressible
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_to_canonical_is_the_exact_inverse_of_from_canonical(cell, convention, dtype):
    params = draw_params(cell, dtype)
    spelled = convention.from_canonical(cell, params)
    assert {k: v.shape for k, v in spelled.items()} == convention.shapes(cell, SIZES.D, SIZES.H)
    assert all(
        v.dtype == dtype and v.flags.writeable and v.flags.c_contiguous for v in spelled.values()
    )
    read = convention.to_canonical(cell, spelled)
    assert read.keys() == params.keys()
    for name in params:
        assert read[name].dtype == dtype
        np.testing.assert_array_equal(read[name], params[name])
    assert not any(
        np.shares_memory(a, b) for a in spelled.values() for b in (*params.values(), *read.values())
    )


@expressible
def test_gradients_are_pulled_back_by_the_transpose(cell, convention):
    params, rng = draw_params(cell), np.random.default_rng(1)
    spelled = convention.from_canonical(cell, params)
    gradients = {k: rng.standard_normal(v.shape) for k, v in spelled.items()}
    back = convention.pull_back(cell, gradients)
    left = [spelled[k] * gradients[k] for k in spelled]
    right = [params[k] * back[k] for k in params]
    # Sums of the same products in another order: a rounding for each, relative to their total size.
    size = sum(abs(v).sum() for v in left)
    terms = sum(v.size for v in left)
    assert (
        abs(sum(v.sum() for v in left) - sum(v.sum() for v in right))
        < terms * np.finfo(float).eps * size
    )
    # It is linear: the identity above would also hold for a map that depends on the point.
    twice = convention.pull_back(cell, {k: 2 * v for k, v in gradients.items()})
    assert all((twice[k] == 2 * back[k]).all() for k in back)


@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=str)
@pytest.mark.parametrize(
    "wrong",
    [
        {"gru": {"order": "zrn"}, "lstm": {"order": "figo"}},
        {"gru": {"negated": "r"}, "lstm": {"negated": "f"}},
    ],
    ids=["order", "negated"],
)
def test_another_convention_is_another_function(cell, wrong):
    right = CONVENTIONS["pytorch"]
    case = draw(cell, SIZES, seed=2, dtype="float64")
    changed = {kind: replace(right.layouts[kind], **how) for kind, how in wrong.items()}
    misread = replace(right, layouts=changed).to_canonical(
        cell, right.from_canonical(cell, case.params)
    )
    y = run(equations(cell), dict(case.arrays))["y"]
    other = run(equations(cell), dict(case.arrays) | misread)["y"]
    assert (abs(y - other).max(axis=(1, 2)) > 1e-3).all(), "every step differs far above rounding"


@pytest.mark.parametrize("call", ["from_canonical", "to_canonical", "pull_back"])
def test_unsupported_cells_are_errors_in_every_direction(call):
    with pytest.raises(
        ConventionError, match="the convention pytorch cannot express a GRU that resets before"
    ):
        getattr(CONVENTIONS["pytorch"], call)(GRU("before"), draw_params(GRU("before")))


INVALID_CONVENTIONS = [
    (
        lambda: Layout("ifg", {"k": "W; U"}),
        {},
        "orders a lstm as 'ifg', but should order i, f, g, o",
    ),
    (lambda: Layout("ifgoo", {"k": "W; U"}), {}, "orders a lstm as 'ifgoo'"),
    (lambda: Layout("iffo", {"k": "W; U"}), {}, "orders a lstm as 'iffo'"),
    (lambda: "ifgo", {}, "has 'ifgo' for a lstm, but should have a Layout"),
    (
        lambda: Layout("ifgo", {"k": "W; V"}),
        {},
        "says that k holds 'W; V', but it should hold W, U, b, c, c_n, p, R",
    ),
    (lambda: Layout("ifgo", {"k": "W; U | b"}), {}, "says that k holds 'W; U | b'"),
    (lambda: Layout("ifgo", {"k": "W; U'"}), {}, 'says that k holds "W; U\'"'),
    (lambda: Layout("ifgo", {"k": "W''", "u": "U"}), {}, "says that k holds \"W''\""),
    (lambda: Layout("ifgo", {"k": "W", "b": "b"}), {}, "the convention mine has no weights of h"),
    (
        lambda: Layout("ifgo", {"k": "W; U"}, negated="g"),
        {},
        "negates 'g', but only i, f, o have a polarity",
    ),
    (
        lambda: Layout("ifgo", {"k": "W; U"}),
        {"axes": "TB"},
        "has axes 'TB', but should have one of TBD, BTD",
    ),
    (
        lambda: Layout("ifgo", {"k": "W; U"}),
        {"states": "h"},
        "has states 'h', but should have 'hc' or 'ch'",
    ),
    (
        lambda: Layout("ifgo", {"k": "W; U"}),
        {"state_axes": "BHN"},
        "has state_axes 'BHN', but should have 'NBH', 'BNH' or ''",
    ),
    (
        lambda: Layout("ifgo", {"k": "W; U"}),
        {"state_axes": "NBH", "columns": True},
        "and columns only with ''",
    ),
    (lambda: Layout("ifgo", {"k": "W; U"}), {"vectors": "columns"}, "has vectors 'columns'"),
]


@pytest.mark.parametrize(
    ("layout", "more", "message"), INVALID_CONVENTIONS, ids=[m for *_, m in INVALID_CONVENTIONS]
)
def test_a_convention_that_makes_no_sense_is_an_error(layout, more, message):
    with pytest.raises(ConventionError) as caught:
        Convention("mine", {"lstm": layout()}, **more)
    assert message in str(caught.value)


def test_unsupported_parameters_are_zero():
    bare = Convention(
        "bare",
        {
            "gru": Layout("rzn", {"W": "W", "U": "U", "b": "b"}),
            "rnn": Layout("n", {"W": "W", "U": "U"}),
        },
    )
    assert (bare.unsupported_params(GRU()), bare.unsupported_params(RNN())) == (["c_n"], ["b"])
    params = draw_params(GRU())
    with pytest.raises(
        ConventionError,
        match="the convention bare has no c_n, so it cannot express one that is not zero",
    ):
        bare.from_canonical(GRU(), params)
    params["c_n"] = np.zeros_like(params["c_n"])
    spelled = bare.from_canonical(GRU(), params)
    assert set(spelled) == {"W", "U", "b"}
    assert set(bare.pull_back(GRU(), spelled)) == {"W", "U", "b"}
    np.testing.assert_array_equal(bare.to_canonical(GRU(), spelled)["c_n"], params["c_n"])


@pytest.mark.parametrize(
    "cell",
    [RNN(), LSTM(), GRU(bidirectional=True), LSTM(projection=2, layers=2, bidirectional=True)],
    ids=str,
)
@pytest.mark.parametrize(
    ("more", "shape"),
    [
        ({}, lambda N, H: (2, H) if N == 1 else (N, 2, H)),
        ({"columns": True}, lambda N, H: (H, 2) if N == 1 else (N, H, 2)),
        ({"state_axes": "NBH"}, lambda N, H: (N, 2, H)),
        ({"state_axes": "BNH"}, lambda N, H: (2, N, H)),
    ],
    ids=["BH", "HB", "NBH", "BNH"],
)
def test_states_are_converted_there_and_back(cell, more, shape):
    convention, N = replace(ODD, name="odd", **more), len(cell.param_suffixes)
    case = draw(cell, SIZES, seed=1, dtype="float32")
    for k in cell.state:
        state, width = case[f"{k}0"], cell.width(SIZES.H) if k == "h" else SIZES.H
        spelled = convention.state_from_canonical(cell, state)
        assert spelled.shape == convention.state_shape(cell, k, SIZES.B, SIZES.H) == shape(N, width)
        assert spelled.flags.c_contiguous
        assert not np.shares_memory(spelled, state)
        np.testing.assert_array_equal(convention.state_to_canonical(cell, spelled), state)
        if more == {"state_axes": "BNH"} and N > 1:
            np.testing.assert_array_equal(spelled[1, 0], state[0, 1])


def test_shapes_of_a_course_convention_in_columns():
    """Courses use one matrix on [h, x] per gate, and biases as columns."""
    course = Convention(
        "course",
        {
            "lstm": Layout(
                "fioc".replace("c", "g"), {"W{gate}": "U; W", "b{gate}": "b"}, gate_names={"g": "c"}
            )
        },
        rows=True,
    )
    assert course.shapes(LSTM(), 3, 2) == {f"W{k}": (2, 5) for k in "fioc"} | {
        f"b{k}": (2,) for k in "fioc"
    }
    assert set(replace(course, vectors="column").shapes(LSTM(), 3, 2).values()) == {(2, 5), (2, 1)}
