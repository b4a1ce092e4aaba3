"""Conventions are inferred from calls; none is found if none fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.errors import TargetError, UsageError
from gatecheck.faults.catalogue import find
from gatecheck.inference.infer import Inference, infer
from gatecheck.reference import equations, network_forward
from gatecheck.targets.adapters.torch import adapt


def without_options(cell):
    """Return the cell without its options, as a user may declare it."""
    return replace(
        cell, hard=None, forget_bias=0.0, reset="after" if cell.reset else None, activation="tanh"
    )


class Blind:
    """A cell whose convention is not revealed by array names or declarations."""

    def __init__(self, convention, cell, mathematics=None):
        self.true, self.actual, self.cell = convention, cell, without_options(cell)
        self.mathematics = mathematics or equations(cell)
        self.own = {f"p{k}": name for k, name in enumerate(convention.shapes(cell, 3, 5))}

    def shapes(self, D, H):
        shapes = self.true.shapes(self.actual, D, H)
        return {name: shapes[own] for name, own in self.own.items()}

    def parameters(self, params):
        return {own: params[name] for name, own in self.own.items()}

    def forward(self, params, x, *states):
        true, cell = self.true, self.actual
        order = [k for k in true.states if k in cell.state]
        arrays = true.to_canonical(cell, self.parameters(params)) | {
            "x": x.transpose([true.axes.index(axis) for axis in "TBD"])
        }
        arrays |= {
            f"{k}0": true.state_to_canonical(cell, v)
            for k, v in zip(order, states, strict=False)
            if v is not None
        }
        out, _ = network_forward(self.mathematics, arrays)
        final = [true.state_from_canonical(cell, out[f"{k}T"]) for k in order]
        return (out["y"].transpose(["TBD".index(axis) for axis in true.axes]), *final)


def effect(convention, cell, arrays):
    states = [
        convention.columns,
        convention.state_axes,
        convention.states if "c" in cell.state else "h",
    ]
    return [convention.axes, *states, cell], convention.to_canonical(cell, arrays)


def assert_recovered(found, blind):
    rng = np.random.default_rng(7)
    arrays = {name: rng.standard_normal(shape) for name, shape in blind.shapes(3, 5).items()}
    ((convention, cell),) = found.matches
    frame, params = effect(convention, cell, arrays)
    true_frame, true_params = effect(blind.true, blind.actual, blind.parameters(arrays))
    assert frame == true_frame
    assert all((params[k] == true_params[k]).all() for k in true_params)


def expressible(convention, cell):
    kind = "gru-before" if cell.reset == "before" else cell.kind
    return kind in convention.layouts and (
        not cell.peepholes or any(c[0] == "p" for c in convention.layouts[kind].arrays.values())
    )


ACTUAL = [
    RNN("relu"),
    GRU(),
    GRU("before"),
    LSTM(),
    LSTM(hard=6, forget_bias=1.0),
    LSTM(peepholes=True),
]
ENTRIES = [
    (convention, cell)
    for convention in CONVENTIONS.values()
    for cell in ACTUAL
    if expressible(convention, cell)
]


@pytest.mark.parametrize(
    ("convention", "cell"), ENTRIES, ids=[f"{c.name}-{cell}" for c, cell in ENTRIES]
)
def test_every_entry_is_recovered_blind(convention, cell):
    blind = Blind(convention, cell)
    assert_recovered(infer(blind), blind)


def convention_param(name, cell, layout, **more):
    return pytest.param(
        Convention(name, {"gru-before" if cell.reset == "before" else cell.kind: layout}, **more),
        cell,
        id=f"{name}-{cell}",
    )


UNUSUAL_CONVENTIONS = [
    convention_param(
        "course",
        LSTM(),
        Layout("fiog", {"W{gate}": "U; W", "b{gate}": "b"}),
        rows=True,
        vectors="column",
        axes="DBT",
        columns=True,
    ),
    convention_param("bias-first", LSTM(), Layout("gifo", {"k": "b; W; U"})),
    convention_param(
        "bias-last", GRU("before"), Layout("nzr", {"k": "U; W; b"}, negated="zr"), rows=True
    ),
    convention_param(
        "interleaved",
        LSTM(),
        Layout("gofi", {"w": "W", "u": "U", "b": "b"}),
        interleaved=True,
        states="ch",
    ),
    convention_param(
        "orders-of-their-own", LSTM(), Layout("ifgo", {"w": "W", "u": "U : ogif", "b": "b : fiog"})
    ),
    convention_param(
        "polarity",
        LSTM(hard=5),
        Layout("ogif", {"w": "W", "u": "U", "b": "b"}, negated="fo"),
        axes="BDT",
    ),
    convention_param(
        "columns",
        RNN("sigmoid"),
        Layout("n", {"k": "U; W", "b": "b"}),
        rows=True,
        columns=True,
        axes="TDB",
    ),
    convention_param(
        "numbered",
        LSTM(),
        Layout("fgio", {"w": "W", "u": "U", "b": "b"}),
        state_axes="BNH",
        axes="BTD",
    ),
    convention_param(
        "numbered-first", GRU(), Layout("rzn", {"w": "W", "u": "U", "b": "b | c"}), state_axes="NBH"
    ),
    convention_param("no-bias", GRU(), Layout("znr", {"w": "W", "u": "U"})),
]


@pytest.mark.parametrize(("convention", "cell"), UNUSUAL_CONVENTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unusual_conventions_are_recovered(convention, cell, dtype):
    blind = Blind(convention, cell)
    assert_recovered(infer(blind, dtype=dtype), blind)


@pytest.mark.parametrize("name", ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"])
def test_pytorch_is_recovered_blind(name):
    layer = adapt(name)
    convention = CONVENTIONS[layer.convention]

    class Torch(Blind):
        def forward(self, params, x, h0, c0=None):
            return layer.forward(self.parameters(params), x, h0, c0)

    blind = Torch(convention, layer.cell)
    assert_recovered(infer(blind), blind)


def test_known_convention_is_named():
    found = infer(adapt("GRU"))
    assert found.sentence.startswith(
        "it is a gru, in the convention pytorch, a gate's block is a set of rows, the opposite "
        "polarity in z"
    )


def test_without_shapes_the_arrays_are_canonical():
    assert infer(gk.Builtin("lstm")).sentence == "it is a lstm, in the convention canonical"


@pytest.mark.parametrize(
    "fault",
    [
        "lstm: no tanh on c",
        "lstm: f missing in c",
        "gru: reset also in the mix",
        "rnn: b_n added twice",
        "lstm: i + g",
    ],
    ids=str,
)
def test_faulty_cell_has_no_convention(fault):
    planted = find(fault).inject()
    found = infer(planted)
    assert found.matches == ()
    assert found.sentence == "no convention that gatecheck can express explains it"


def test_ignored_initial_state_is_reported():
    class Forgetful(Blind):
        def forward(self, params, x, *states):
            return super().forward(params, x, *(np.zeros_like(s) for s in states))

    blind = Forgetful(CONVENTIONS["haiku"], LSTM(forget_bias=1.0))
    found = infer(blind)
    assert_recovered(found, blind)
    assert found.sentence.endswith("; the initial states are ignored")


def test_ambiguity_is_reported():
    two = Inference(((CONVENTIONS["haiku"], LSTM()), (CONVENTIONS["dynet"], LSTM())), True, 9)
    assert two.sentence.startswith(
        "it cannot be decided here whether it is a lstm, in the convention haiku; or it is a "
        "lstm, in the"
    )


def test_required_sizes_are_kept():
    class Alone(Blind):
        sizes = {"B": 1}  # noqa: RUF012

        def forward(self, params, x, *states):
            assert x.shape[1] == 1
            return super().forward(params, x, *states)

    blind = Alone(CONVENTIONS["dynet"], LSTM())
    assert_recovered(infer(blind), blind)


BAD = [
    (lambda D, H: {"W": (D, D * H)}, "the axes of W are not multiples of D and H"),
    (lambda D, H: {f"W{D}": (D, H)}, "gives other arrays for other sizes"),
    (lambda D, H: 1 / 0, "shapes raised ZeroDivisionError"),
    (lambda D, H: [(D, H)], "returned a list of 1 items"),
]


@pytest.mark.parametrize(("shapes", "message"), BAD, ids=[m for _, m in BAD])
def test_shapes_that_make_no_sense_are_named(shapes, message):
    blind = Blind(CONVENTIONS["canonical"], RNN())
    blind.shapes = shapes
    with pytest.raises(TargetError, match=message):
        infer(blind)


def test_networks_are_not_inferred():
    with pytest.raises(UsageError, match="the convention of a gru-layers2 is not inferred"):
        infer(gk.Builtin("gru-layers2"))
