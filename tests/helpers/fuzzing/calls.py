"""Correct public calls, and wrong values for one argument of them."""

from __future__ import annotations

import numpy as np

import gatecheck
from gatecheck import GRU, LSTM, RNN, Builtin, Case, Convention, Layout
from gatecheck.cases import draw
from gatecheck.cells import Sizes

CASE = draw(LSTM(), Sizes(3, 2, 3, 4), seed=0, dtype="float64")
BUILTIN_LSTM = Builtin("lstm")
FORWARD_ARGUMENTS = {"params": dict(CASE.params), **{k: CASE[k] for k in ("x", "h0", "c0")}}


class Odd:
    """An object whose methods raise, as a third party's may."""

    def __repr__(self):
        return "Odd()"

    def __bool__(self):
        raise ValueError("no truth value")

    def __iter__(self):
        raise RuntimeError("not today")


WRONG_VALUES = [
    *(
        None,
        True,
        0,
        -1,
        3,
        10**30,
        1.5,
        float("nan"),
        float("inf"),
        -0.0,
        1j,
        "",
        "x",
        "lstm",
        "é\ud800\x1b[31m\0",
        b"x",
        [],
        ["x"],
        [None],
        (),
        {},
    ),
    *(
        {"x": 1},
        {1: 2},
        {"W": None},
        object(),
        Odd(),
        int,
        len,
        lambda: None,
        lambda *a, **k: None,
        np.zeros(3),
        np.array("x"),
    ),
    *(
        np.array([None]),
        np.zeros((3, 2, 3), "f2"),
        np.zeros((3, 2, 3)),
        np.float64(1),
        np.int64(2),
        np.full((3, 2, 3), np.nan),
        range(3),
        iter([1]),
    ),
    *(
        LSTM(),
        GRU(),
        CASE,
        BUILTIN_LSTM,
        Ellipsis,
        set(),
        frozenset({"x"}),
        "x" * 3000,
        [[]],
        np.zeros((0, 0, 0)),
        slice(2),
        NotImplemented,
    ),
]


def step(params, x, h, c):
    return h, c


LAYOUT = {"order": "ifgo", "arrays": {"W": "W", "U": "U", "b": "b"}}
AUDIT = {
    "target": BUILTIN_LSTM,
    "profile": "quick",
    "only": ("outputs_are_causal",),
    "cell": "lstm",
    "convention": "canonical",
    "seed": 0,
}
AUDIT |= {"expected_failures": {}, "diagnose": False, "progress": lambda *_: None}

CALLS = {
    "RNN": (RNN, {"activation": "tanh", "layers": 1, "bidirectional": False}),
    "GRU": (GRU, {"reset": "after", "hard": 5, "layers": 2, "bidirectional": True}),
    "LSTM": (
        LSTM,
        {
            "hard": 5,
            "peepholes": True,
            "coupled": False,
            "clip": 1.0,
            "forget_bias": 1.0,
            "projection": 3,
            "layers": 1,
            "bidirectional": False,
        },
    ),
    "Builtin": (Builtin, {"cell": "lstm", "reverse": False, "batch_first": False}),
    "Builtin.forward": (BUILTIN_LSTM.forward, FORWARD_ARGUMENTS | {"lengths": np.array([3, 1])}),
    "Builtin.backward": (
        BUILTIN_LSTM.backward,
        FORWARD_ARGUMENTS
        | {k: CASE[k] for k in ("dy", "dhT", "dcT")}
        | {"lengths": np.array([3, 1])},
    ),
    "Builtin.tangent": (
        BUILTIN_LSTM.tangent,
        FORWARD_ARGUMENTS
        | {
            "dparams": dict(CASE.params),
            "dx": CASE["x"],
            "dh0": CASE["h0"],
            "dc0": CASE["c0"],
            "lengths": None,
        },
    ),
    "Case": (Case, {"cell": LSTM(), "arrays": dict(CASE.arrays), "origin": {}}),
    "Case.get": (CASE.get, {"name": "x"}),
    "Case.having": (CASE.replace, {"x": CASE["x"], "h0": None}),
    "Case.of": (CASE.with_arrays, {"arrays": dict(CASE.arrays)}),
    "Case.with_gate": (CASE.with_gate, {"gate": "f", "bias": 1.0, "weights": True}),
    "Case.save": (CASE.save, {"path": "case.npz", "about": "x"}),
    "Case.load": (Case.load, {"path": "case.npz"}),
    "Layout": (Layout, LAYOUT | {"negated": "", "gate_names": {}}),
    "Convention": (
        Convention,
        {
            "name": "mine",
            "layouts": {"lstm": Layout(**LAYOUT)},
            "rows": False,
            "interleaved": False,
            "vectors": "flat",
            "reverse": "",
            "stacked": False,
            "axes": "TBD",
            "columns": False,
            "state_axes": "",
            "states": "hc",
            "source": "",
        },
    ),
    "convert": (
        gatecheck.convert,
        {"params": dict(CASE.params), "source": "canonical", "target": "pytorch", "cell": "lstm"},
    ),
    "from_step": (gatecheck.from_step, {"step": step, "cell": "lstm", "convention": "canonical"}),
    "from_jax": (
        gatecheck.from_jax,
        {"function": step, "cell": "lstm", "convention": "canonical", "compiler_options": None},
    ),
    "audit": (gatecheck.audit, AUDIT),
    "replay": (
        gatecheck.replay,
        {
            "target": BUILTIN_LSTM,
            "path": "case.npz",
            "cell": "lstm",
            "convention": "canonical",
            "expected_failures": {},
        },
    ),
    "infer": (
        gatecheck.infer,
        {"target": BUILTIN_LSTM, "cell": "lstm", "dtype": "float64", "seed": 0},
    ),
    "gradcheck": (
        gatecheck.gradcheck,
        {
            "fn": lambda x: x**2,
            "inputs": np.ones(3),
            "vjp": lambda x, g: 2 * x * g,
            "jvp": lambda x, v: 2 * x * v,
            "seed": 0,
            "max_entries": 1000,
        },
    ),
    "parametrize_with_properties": (
        gatecheck.parametrize_with_properties,
        {"implementations": [BUILTIN_LSTM], "expected_failures": {}, "profile": "quick", "seed": 0},
    ),
}
