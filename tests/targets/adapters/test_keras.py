"""Keras's recurrent classes pass, and so do their networks and options."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatecheck.auditing import audit as runner
from gatecheck.auditing.audit import audit
from gatecheck.cases import COTANGENTS, draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import check_agreement
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import UsageError
from gatecheck.implementation import subject
from gatecheck.reference import equations, run
from gatecheck.targets.adapters.keras import (
    EXPECTED_FAILURES,
    ROUNDING_FAILURES,
    TARGETS,
    KerasLayer,
    adapt,
)

import keras  # isort: skip  # after the adapter, which chooses the backend

NAMES = [f"{name}-{cell}" if cell else name for name, cell in TARGETS]

SIZES = Sizes(T=6, B=3, D=2, H=5)


def failures(result):
    return [p for p in result.properties if p.outcome not in ("passed", "skipped")]


def in_float32(layer):
    """Return the layer in float32 only, where properties of lengths should hold."""
    layer.dtypes, layer.expected_failures = ("float32",), EXPECTED_FAILURES
    return layer


@pytest.mark.parametrize(("name", "cell"), TARGETS, ids=NAMES)
def test_every_class_passes(name, cell, monkeypatch):
    monkeypatch.setitem(runner.PROFILES, "quick", 2)  # `gatecheck audit` tries six times as many
    result = audit(adapt(name, cell), profile="quick")
    assert result.verdict == "pass", failures(result)
    assert result.versions["keras"] == keras.__version__
    assert result.versions["torch"] == torch.__version__
    own_loop = name in ("GRU", "LSTM") and cell is None
    assert {
        p.name: p.reason for p in result.properties if p.outcome == "expected_failure"
    } == EXPECTED_FAILURES | (ROUNDING_FAILURES if own_loop else {})
    assert all(p.reason for p in result.properties if p.outcome == "skipped")


# ---- networks and options

ADAPTER_PROPERTIES = [
    *(
        "forward_within_budget",
        "gradients_within_budget",
        "lengths_within_budget",
        "padding_has_no_effect",
        "last_output_is_final_state",
    ),
    *(
        "directions_are_mirror_images",
        "lower_layers_do_not_depend_on_upper",
        "absent_arrays_mean_zero",
        "empty_batch",
    ),
]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *(
            ("LSTM", "lstm-bidirectional"),
            ("GRU", "gru-before-layers2-bidirectional"),
            ("SimpleRNN", "rnn-layers3"),
        ),
        *(
            ("GRUCell", "gru-layers2"),
            ("LSTMCell", "lstm-layers3"),
            ("LSTMCell", "lstm-layers2-bidirectional"),
        ),
    ],
)
def test_a_network_passes(name, cell, monkeypatch):
    """Layers in turn, Keras's stack of cells, its Bidirectional, lengths as a mask."""
    monkeypatch.setitem(runner.PROFILES, "quick", 4)
    result = audit(in_float32(adapt(name, cell)), profile="quick", only=ADAPTER_PROPERTIES)
    assert result.verdict == "pass", failures(result)
    assert result.n_tried >= 7


OPTIONS = [
    *(
        ("SimpleRNN", "rnn-sigmoid", {}),
        ("GRU", "gru-hard6", {}),
        ("GRU", "gru-before-hard6", {}),
        ("LSTM", "lstm-hard6", {}),
    ),
    *(
        ("GRUCell", "gru-hard6", {}),
        ("LSTMCell", "lstm-hard6", {}),
        ("SimpleRNNCell", "rnn-relu", {}),
        ("GRUCell", "gru-before", {}),
    ),
    *(
        ("SimpleRNN", "rnn", {"unroll": True}),
        ("GRU", "gru-before", {"unroll": True}),
        ("LSTM", "lstm", {"unroll": True}),
    ),
    *(
        ("GRU", "gru", {"use_cudnn": False}),
        ("LSTM", "lstm", {"use_cudnn": False}),
        ("LSTM", "lstm", {"unit_forget_bias": False}),
    ),
    *(
        (name, cell, {"use_cudnn": False, "implementation": 1})
        for name, cell in (("GRU", "gru"), ("GRU", "gru-before"), ("LSTM", "lstm"))
    ),
    *(
        ("GRU", "gru", {"dropout": 0.5}),
        ("LSTM", "lstm", {"recurrent_dropout": 0.5}),
        ("SimpleRNN", "rnn", {"dropout": 0.5}),
    ),
    *(
        (name, cell, {"go_backwards": True})
        for name, cell in (("SimpleRNN", "rnn"), ("GRU", "gru"), ("LSTM", "lstm"))
    ),
]


@pytest.mark.parametrize(
    ("name", "cell", "options"), OPTIONS, ids=lambda v: v if isinstance(v, str) else "-".join(v)
)
def test_an_option_passes(name, cell, options, monkeypatch):
    """Another activation, loop, implementation or direction; and dropout.

    Dropout is inactive outside of training.
    """
    monkeypatch.setitem(runner.PROFILES, "quick", 4)
    result = audit(
        in_float32(KerasLayer(name, as_cell(cell), **options)),
        profile="quick",
        only=ADAPTER_PROPERTIES,
    )
    assert result.verdict == "pass", failures(result)
    assert result.n_tried >= 6


def test_an_option_reaches_the_layer():
    assert (
        KerasLayer("GRU", as_cell("gru"), unroll=True, implementation=1)
        ._layers(2, 3, "float32")[0]
        .unroll
    )
    assert (
        KerasLayer("GRU", as_cell("gru"), implementation=1)
        ._layers(2, 3, "float32")[0]
        .cell.implementation
        == 1
    )


def test_the_hard_sigmoid_is_a_sixth_and_a_half():
    a = np.linspace(-4, 4, 65)
    got = np.asarray(keras.activations.get("hard_sigmoid")(torch.from_numpy(a)))
    np.testing.assert_allclose(got, np.clip(a / 6 + 0.5, 0, 1), rtol=0, atol=np.finfo(float).eps)


# ---- the convention, without the adapter

DIRECT = [
    "rnn",
    "rnn-relu",
    "gru",
    "gru-before",
    "lstm",
    "gru-hard6",
    "lstm-hard6",
    "rnn-bidirectional",
    "gru-bidirectional",
]


DIRECT += ["gru-before-bidirectional", "lstm-bidirectional"]


def layer_name(cell):
    return {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}[cell.kind]


def make_user_layer(cell):
    """Return a layer as users make it, and its variables by the convention's names."""
    more = {
        "rnn": {"activation": cell.activation},
        "lstm": {},
        "gru": {"reset_after": cell.reset == "after"},
    }[cell.kind]
    more |= {"recurrent_activation": "hard_sigmoid"} if cell.hard else {}
    layer = getattr(keras.layers, layer_name(cell))(
        SIZES.H, return_sequences=True, return_state=True, dtype="float64", **more
    )
    layer = keras.layers.Bidirectional(layer, dtype="float64") if cell.bidirectional else layer
    layer.build((None, None, SIZES.D))
    return layer, {
        f"{v.name}{'.reverse' * ('/backward_' in v.path)}": v for v in layer.trainable_variables
    }


@pytest.mark.parametrize("cell", [as_cell(name) for name in DIRECT], ids=str)
def test_the_entry_reproduces_keras(cell):
    """Gate order, polarity, the two biases, axes, order of states, both directions."""
    case = draw(cell, SIZES, seed=3, dtype="float64")
    layer, variables = make_user_layer(cell)
    spelled = CONVENTIONS["keras"].from_canonical(cell, case.params)
    assert {k: tuple(v.shape) for k, v in variables.items()} == {
        k: v.shape for k, v in spelled.items()
    }
    for name, variable in variables.items():
        variable.assign(spelled[name])
    given = {
        k: torch.tensor(case[k], requires_grad=True) for k in ("x", *(f"{k}0" for k in cell.state))
    }
    rows = [given[f"{k}0"].reshape(-1, SIZES.B, SIZES.H) for k in cell.state]
    y, *final = layer(
        given["x"].transpose(0, 1),
        initial_state=[s[k] for k in range(cell.directions) for s in rows],
    )
    n = len(cell.state)
    states = {
        f"{k}T": torch.stack(final[j::n]).reshape(case[f"{k}0"].shape)
        for j, k in enumerate(cell.state)
    }
    outputs = {"y": y.transpose(0, 1)} | states
    sum((v * torch.tensor(case[f"d{k}"])).sum() for k, v in outputs.items()).backward()
    got = {k: v.detach().numpy() for k, v in outputs.items()} | {
        f"d{k}": v.grad.numpy() for k, v in given.items()
    }
    gradients = CONVENTIONS["keras"].pull_back(
        cell, {k: v.value.grad.numpy() for k, v in variables.items()}
    )
    got |= {f"d{k}": v for k, v in gradients.items()}
    want = run(equations(cell), dict(case.arrays))
    assert got.keys() == want.keys()
    # Two runs over six contracting steps: some tens of roundings of the largest entry, in float32
    # where the adapter declares only that.
    rounding = 1e-13 if "float64" in adapt(layer_name(cell), cell).dtypes else 1e-5
    for name in want:
        np.testing.assert_allclose(
            got[name], want[name], rtol=0, atol=rounding * abs(want[name]).max(), err_msg=name
        )


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        *(
            ("gru", {"order": "rzn"}),
            ("gru", {"negated": ""}),
            ("gru", {"negated": "zr"}),
            ("gru-before", {"negated": ""}),
        ),
        *(("lstm", {"order": "ifog"}), ("lstm", {"order": "figo"}), ("lstm", {"negated": "f"})),
    ],
    ids=str,
)
def test_a_wrong_convention_fails(cell, wrong):
    right = CONVENTIONS["keras"]
    mine = replace(right, layouts={cell: replace(right.layouts[cell], **wrong)})
    target = adapt("LSTM" if cell == "lstm" else "GRU", cell)
    (found,) = audit(
        target, convention=mine, profile="quick", only=["forward_within_budget"], diagnose=False
    ).properties
    assert found.outcome == "failed"


@pytest.mark.parametrize("cotangent", [*COTANGENTS, None])
@pytest.mark.parametrize(
    ("name", "cell"),
    [*TARGETS, ("LSTM", "lstm-bidirectional"), ("LSTMCell", "lstm-layers2")],
    ids=str,
)
def test_gradients_for_each_cotangent_alone(name, cell, cotangent):
    implementation = subject(adapt(name, cell))
    if cotangent == "dcT" and implementation.cell.kind != "lstm":
        with pytest.raises(KeyError):
            draw(implementation.cell, SIZES, seed=8, dtype="float32")["dcT"]
        return
    case = draw(implementation.cell, SIZES, seed=8, dtype="float32")
    case = case.replace(**{k: None for k in COTANGENTS if k != cotangent})
    budget = case_budget(case)
    got = implementation.backward(case)
    expected = {k: v for k, v in budget.exact.items() if k.startswith("d")}
    assert set(got) == set(expected)
    if cotangent is None:
        assert not any(v.any() for v in got.values())
        return
    assert check_agreement(case.cell, got, expected, budget.tolerance).judged >= len(expected)
    assert all(np.any(got[k]) for k in ("dW", "dU", "dx"))


@pytest.mark.parametrize(
    ("name", "cell"),
    [("GRU", None), ("LSTM", None), ("LSTM", "lstm-hard6"), ("GRU", "gru-layers2-bidirectional")],
    ids=str,
)
def test_lengths_hold_in_float32(name, cell, monkeypatch):
    monkeypatch.setitem(runner.PROFILES, "quick", 4)
    result = audit(in_float32(adapt(name, cell)), profile="quick", only=list(ROUNDING_FAILURES))
    assert [p.outcome for p in result.properties] == ["passed"] * len(ROUNDING_FAILURES)


# ---- the other backend, and errors

ON_JAX = """
import keras, numpy as np
from gatecheck.targets.adapters.keras import adapt
from gatecheck.auditing import audit as runner
runner.PROFILES["quick"] = 2
names = ["forward_within_budget", "gradients_within_budget", "lengths_within_budget"]
empty = ["empty_sequence", "empty_batch"]
for name, cell, more in [("GRU", None, empty), ("LSTM", "lstm-bidirectional", [])]:
    result = runner.audit(adapt(name, cell), profile="quick", only=names + more)
    failed = [p for p in result.properties if p.outcome not in ("passed", "skipped")]
    assert result.verdict == "pass", failed
    assert result.versions["jax"] and adapt(name, cell).dtypes == ("float32",)
try:
    keras.layers.SimpleRNN(2, dtype="float64")(np.ones((1, 3, 2)))
except TypeError as error:
    assert "carry input and carry output must have equal types" in str(error)
else:
    raise AssertionError("Keras computes in float64 on JAX: it can be audited")
"""


def python(code, backend):
    env = os.environ | {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_on_jax_it_passes_as_well():
    """In float32; in float64 Keras crashes there (keras-team/keras#23704)."""
    done = python(ON_JAX, "jax")
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_backend_without_gradients_is_refused_and_left_out():
    code = (
        "from gatecheck.targets import loading\nloading.ADAPTERS = "
        "{'keras.layers': loading.ADAPTERS['keras.layers']}\n"
    )
    code += "assert not any('keras' in name for name, _ in loading.installed_targets())\n"
    done = python(
        code + "from gatecheck.cli import main\nmain(['audit', 'keras.layers:GRU'])", "numpy"
    )
    assert done.returncode == 3, done.stderr[-2000:]
    assert "it runs on numpy: set KERAS_BACKEND=torch" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "cell", "fragment"),
    [
        (
            "Dense",
            None,
            "keras.layers:Dense is not a recurrent class that gatecheck knows; those are "
            "SimpleRNN, GRU, LSTM",
        ),
        ("Cell", None, "not a recurrent class"),
        ("GRU", "lstm", "keras.layers:GRU cannot be a lstm"),
        ("GRU", "gru-hard5", "cannot be a gru-hard5"),
        ("LSTM", "lstm-peepholes", "cannot be a lstm-peepholes"),
        ("LSTM", "lstm-forget1", "cannot be a lstm-forget1"),
        ("LSTMCell", "lstm-proj2", "cannot be a lstm-proj2"),
        ("SimpleRNN", "nope", "there is no cell 'nope'"),
    ],
)
def test_a_class_that_cannot_be_audited(name, cell, fragment):
    with pytest.raises(UsageError, match=fragment):
        adapt(name, cell)
