"""Conventions: exact round trips, gradients by the transpose, and frameworks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import gatecheck as gk
from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, RNN, VARIANTS, Sizes
from gatecheck.conventions import CONVENTIONS, Convention, Layout, as_convention
from gatecheck.errors import ConventionError, UsageError
from gatecheck.reference import equations, run

SIZES = Sizes(T=6, B=2, D=3, H=4)
# It differs in every way at once, so that some entry exercises each attribute of a convention.
_SEPARATE = {"kernel": "W", "recurrent": "U", "bias": "b", "extra": "c_n"}
ODD = Convention(
    "odd",
    {
        "rnn": Layout("n", _SEPARATE),
        "gru": Layout("znr", _SEPARATE, negated="z"),
        "gru-before": Layout("nzr", _SEPARATE, negated="zr"),
        "lstm": Layout("oifg", _SEPARATE | {"peeps": "p : ofi"}, negated="fo"),
    },
)


def for_every_cell(name, arrays, **more):
    """Return a convention with the same arrays for every cell, in unusual gate orders."""
    orders = {"rnn": "n", "gru": "nzr", "gru-before": "rnz", "lstm": "gofi"}
    return Convention(
        name,
        {
            kind: Layout(order, arrays, negated="z" * ("z" in order))
            for kind, order in orders.items()
        },
        **more,
    )


TEST_CONVENTIONS = [
    ODD,
    replace(ODD, name="odd-rows", rows=True),
    for_every_cell(
        "two-biases",
        {"w": "W", "u": "U", "b": "b", "c": "c", "p": "p"},
        rows=True,
        vectors="column",
    ),
    for_every_cell("stacked-biases", {"w": "W", "u": "U", "b": "b; c", "p": "p"}),
    for_every_cell("biases-beside", {"w": "W", "u": "U", "b": "b | c", "p": "p"}, interleaved=True),
    for_every_cell(
        "candidate-beside", {"w": "W", "u": "U", "b": "b | c_n", "p": "p"}, vectors="row"
    ),
    for_every_cell("x-above-h", {"k": "W; U", "b": "b", "c": "c_n", "p": "p"}),
    for_every_cell(
        "h-beside-x", {"k": "U; W", "b": "b", "c": "c_n", "p": "p"}, rows=True, vectors="column"
    ),
    for_every_cell("bias-first", {"k": "b; W; U", "c": "c_n", "p": "p"}),
    for_every_cell(
        "bias-last-in-columns", {"k": "W; U; b; c", "p": "p"}, rows=True, interleaved=True
    ),
    for_every_cell(
        "apart",
        {"W{gate}": "W", "U{gate}": "U", "b{gate}": "b", "c": "c_n", "p{gate}": "p"},
        rows=True,
    ),
    for_every_cell(
        "apart-joined", {"K_{gate}": "b; U; W", "c": "c_n", "p{gate}": "p"}, vectors="row"
    ),
    for_every_cell(
        "turned", {"w": "W'", "u": "U", "b": "b", "c": "c_n", "p": "p", "R": "R'"}, rows=True
    ),
    for_every_cell("turned-beside", {"k": "b'; W'", "u": "U'", "c": "c_n", "p": "p", "R": "R'"}),
    for_every_cell(
        "interleaved", {"w": "W", "u": "U", "b": "b", "c": "c_n", "p": "p"}, interleaved=True
    ),
    Convention(
        "in-two",
        {
            "gru": Layout(
                "rzn", {"k": "W; U : zr", "n": "W; U : n", "kb": "b: zr", "nb": "b : n", "c": "c_n"}
            )
        },
    ),
    for_every_cell(
        "directions-stacked",
        {"W{layer}": "W", "U{layer}": "U", "B{layer}": "b | c", "P{layer}": "p", "R{layer}": "R"},
        rows=True,
        stacked=True,
    ),
]
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


# ---- PyTorch itself

TORCH_CELLS = [cell for cell in CELLS.values() if cell.name not in ("gru-before", "rnn-sigmoid")]


def run_torch_module(cell, case, module, convention, unroll):
    """Return the outputs and canonical gradients of a PyTorch module by name."""
    with torch.no_grad():
        for name, array in CONVENTIONS[convention].from_canonical(cell, case.params).items():
            getattr(module, name).copy_(torch.from_numpy(array))
    given = {
        k: torch.tensor(case[k], requires_grad=True) for k in ("x", *(f"{k}0" for k in cell.state))
    }
    out = unroll(module, *given.values())
    outputs = dict(zip(("y", *(f"{k}T" for k in cell.state)), out, strict=True))
    sum((v * torch.tensor(case[f"d{k}"])).sum() for k, v in outputs.items()).backward()
    gradients = CONVENTIONS[convention].pull_back(
        cell, {k: v.grad.numpy() for k, v in module.named_parameters()}
    )
    got = {k: v.detach().numpy() for k, v in outputs.items()} | {
        f"d{k}": v for k, v in gradients.items()
    }
    return got | {f"d{k}": v.grad.numpy() for k, v in given.items()}


def unroll_layer(module, x, h0, c0=None):
    y, last = module(x, h0[None] if c0 is None else (h0[None], c0[None]))
    return (y, last[0]) if c0 is None else (y, last[0][0], last[1][0])


def unroll_cell(module, x, h, c=None):
    y = []
    for x_t in x:
        h, c = (module(x_t, h), None) if c is None else module(x_t, (h, c))
        y.append(h)
    return (torch.stack(y), h) if c is None else (torch.stack(y), h, c)


@pytest.mark.parametrize(
    ("suffix", "convention", "unroll"),
    [("", "pytorch", unroll_layer), ("Cell", "pytorch-cell", unroll_cell)],
)
@pytest.mark.parametrize("cell", TORCH_CELLS, ids=str)
def test_the_entries_for_pytorch_reproduce_it(cell, suffix, convention, unroll):
    case = draw(cell, SIZES, seed=3, dtype="float64")
    option = {"nonlinearity": cell.activation} if cell.kind == "rnn" else {}
    module = getattr(torch.nn, cell.kind.upper() + suffix)(
        SIZES.D, SIZES.H, dtype=torch.float64, **option
    )
    got, want = (
        run_torch_module(cell, case, module, convention, unroll),
        run(equations(cell), dict(case.arrays)),
    )
    assert got.keys() == want.keys()
    for name in want:
        # Two float64 runs over six contracting steps: some tens of roundings of the largest entry.
        np.testing.assert_allclose(
            got[name], want[name], rtol=0, atol=1e-13 * abs(want[name]).max(), err_msg=name
        )


# ---- convert, and errors


def test_convert_goes_there_and_back():
    params = draw_params(GRU(), "float32")
    there = gk.convert(params, "canonical", "pytorch", "gru")
    assert set(there) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    back = gk.convert(there, "pytorch", ODD, GRU())
    again = gk.convert(back, ODD, "canonical", "gru")
    assert all((again[k] == params[k]).all() for k in params)
    H = SIZES.H
    np.testing.assert_array_equal(there["weight_hh_l0"][H : 2 * H], -params["U"][:, H : 2 * H].T)
    np.testing.assert_array_equal(there["bias_hh_l0"][2 * H :], params["c_n"])


def test_two_biases_are_one():
    zeros = {"weight_ih_l0": np.zeros((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    read = gk.convert(
        zeros | {"bias_ih_l0": np.arange(8.0), "bias_hh_l0": 10 * np.arange(8.0)},
        "pytorch",
        "canonical",
        "lstm",
    )
    np.testing.assert_array_equal(read["b"], 11 * np.arange(8.0))


def test_known_by_name_or_by_itself():
    assert as_convention(None) is CONVENTIONS["canonical"] is as_convention("canonical")
    assert as_convention(ODD) is ODD
    assert all(
        name == convention.name and convention.source for name, convention in CONVENTIONS.items()
    )


def torch_lstm(**instead):
    good = {
        "weight_ih_l0": (8, 3),
        "weight_hh_l0": (8, 2),
        "bias_ih_l0": (8,),
        "bias_hh_l0": (8,),
    } | instead
    return {k: np.zeros(v) for k, v in good.items() if v is not None}


BAD = [
    (
        torch_lstm(bias_hh_l0=None),
        "pytorch",
        "lstm",
        ConventionError,
        "the arrays are named ['bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']",
    ),
    (
        torch_lstm(extra=(2,)),
        "pytorch",
        "lstm",
        ConventionError,
        "but in the convention pytorch should be ['bias_hh_l0', 'bias_ih_l0',",
    ),
    (
        torch_lstm(),
        "pytorch-cell",
        "lstm",
        ConventionError,
        "but in the convention pytorch-cell should be ['bias_hh', 'bias_ih',",
    ),
    (
        torch_lstm(weight_ih_l0=(3, 8)),
        "pytorch",
        "lstm",
        ConventionError,
        "weight_ih_l0 has shape (3, 8), but should have shape (8, 8) (D = 8, H = 2)",
    ),
    (
        torch_lstm(bias_ih_l0=(6,)),
        "pytorch",
        "lstm",
        ConventionError,
        "bias_ih_l0 has shape (6,), but should have shape (8,) (D = 3, H = 2)",
    ),
    (
        torch_lstm(weight_hh_l0=(8,)),
        "pytorch",
        "lstm",
        ConventionError,
        "weight_hh_l0 has shape (8,), but should be a matrix",
    ),
    (
        torch_lstm(),
        "pytorch",
        "gru",
        ConventionError,
        "weight_ih_l0 has shape (8, 3), but should have shape (6, 3) (D = 3, H = 2)",
    ),
    (
        torch_lstm(),
        "pytorch",
        "gru-before",
        ConventionError,
        "the convention pytorch cannot express a GRU that resets before the product h U_n",
    ),
    (
        torch_lstm(),
        Convention("bare", {"gru": Layout("rzn", {"k": "W; U"})}),
        "lstm",
        ConventionError,
        "the convention bare has no lstm",
    ),
    (
        torch_lstm(),
        "torch",
        "lstm",
        UsageError,
        "there is no convention 'torch'; the conventions are canonical, pytorch, pytorch-cell",
    ),
    (torch_lstm(), "pytorch", "ltsm", UsageError, "there is no cell 'ltsm'"),
]


@pytest.mark.parametrize(
    ("arrays", "source", "cell", "error", "message"), BAD, ids=[m for *_, m in BAD]
)
def test_invalid_parameters_are_reported(arrays, source, cell, error, message):
    with pytest.raises(error) as caught:
        gk.convert(arrays, source, "canonical", cell)
    assert message in str(caught.value)


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


def test_paddle_has_a_name_for_its_projection_in_the_cell_only():
    paddle = CONVENTIONS["paddle"]
    assert paddle.expresses(LSTM(layers=2, bidirectional=True))
    assert not paddle.expresses(LSTM(projection=3))
    cell, params = LSTM(projection=3), draw_params(LSTM(projection=3))
    spelled = CONVENTIONS["paddle-cell"].from_canonical(cell, params)
    assert {k: v.shape for k, v in spelled.items() if k.startswith("w")} == {
        "weight_ih": (16, 3),
        "weight_hh": (16, 3),
        "weight_ho": (4, 3),
    }
    np.testing.assert_array_equal(spelled["weight_ho"], params["R"])
    np.testing.assert_array_equal(spelled["weight_hh"], params["U"].T)


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


def test_interleaved_gates_lie_unit_by_unit():
    params = draw_params(LSTM())
    H, W = SIZES.H, CONVENTIONS["chainer"].from_canonical(LSTM(), params)["upward/W"]
    for k, gate in enumerate("gifo"):  # chainer/functions/rnn/lstm.py: a, i, f, o
        np.testing.assert_array_equal(W[k::4], params["W"][:, H * "ifgo".index(gate) :][:, :H].T)
