"""Custom cells are checked against their own forward.

Six cells in six styles go from their file to a verdict.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import gatecheck as gk
from gatecheck.auditing import explore
from gatecheck.auditing.applicability import DIFFERENTIABLE_PROPERTIES
from gatecheck.cli import main
from gatecheck.errors import TargetError
from gatecheck.implementation import any_subject
from helpers.paths import STYLES


class Cubic:
    """y = x³ w, with its gradient, which is right if `slope` is 3."""

    cell = "custom"
    slope = 3.0

    def example(self, rng):
        return {"params": {"w": rng.normal(size=3)}, "x": rng.normal(size=(4, 3))}

    def forward(self, params, x):
        return x**3 * params["w"]

    def backward(self, params, x, dy):
        return {"w": (dy * x**3).sum(0), "x": dy * self.slope * x**2 * params["w"]}


def make_variant(**attributes):
    return type("Mine", (Cubic,), attributes)()


def test_a_right_gradient_passes():
    result = gk.audit(Cubic(), profile="quick")
    assert result.verdict == "pass"
    ran = {p.name for p in result.properties if p.outcome != "skipped"}
    assert ran <= set(DIFFERENTIABLE_PROPERTIES)
    assert {
        "gradients_match_finite_differences",
        "taylor_remainder_has_next_order",
        "inputs_are_not_changed",
    } <= ran


def test_complex_arrays_and_tangents_are_used_where_there_are_any():
    def tangent(self, params, x, dparams, dx):
        return 3 * x**2 * dx * params["w"] + x**3 * dparams["w"]

    result = gk.audit(
        make_variant(dtypes=("float64", "complex128"), tangent=tangent), profile="quick"
    )
    outcomes = {p.name: p.outcome for p in result.properties}
    assert (
        outcomes["gradients_match_complex_step"]
        == outcomes["tangent_is_adjoint_of_backward"]
        == "passed"
    )


def scaled(self, params, x):
    x *= 1.0 + 1e-6
    return x**3 * params["w"]


class Counting(Cubic):
    calls = 0

    def forward(self, params, x):
        self.calls += 1
        return super().forward(params, x) + self.calls


WRONG = [
    (make_variant(slope=2.0), "gradients_match_finite_differences", "wrong: dx; right: nothing"),
    (make_variant(slope=3.0001), "taylor_remainder_has_next_order", ""),
    (make_variant(forward=scaled), "inputs_are_not_changed", "forward changed its argument x"),
    (Counting(), "repeated_calls_are_identical", "should be exactly"),
    (
        make_variant(backward=lambda self, params, x, dy: {"x": dy}),
        "zero_cotangents_give_zero_gradients",
        "should return a dict of gradients",
    ),
    (
        make_variant(backward=lambda self, params, x, dy: {"w": dy, "x": dy}),
        "zero_cotangents_give_zero_gradients",
        "has shape (4, 3)",
    ),
    (make_variant(forward=lambda self, params, x: None), None, "forward returned a NoneType"),
]


@pytest.mark.parametrize(
    ("target", "name", "message"), WRONG, ids=[str(n) + m[:12] for _, n, m in WRONG]
)
def test_faults_are_found(target, name, message):
    if name is None:
        with pytest.raises(TargetError, match=message):
            gk.audit(target, profile="quick")
        return
    (found,) = gk.audit(target, profile="quick", only=[name]).properties
    assert found.outcome in ("failed", "crashed")
    assert message in found.reason


BAD = [
    (make_variant(example=None), 'Mine has no example, which a cell = "custom" needs'),
    (
        make_variant(example=lambda self, rng: {"x": np.ones(2)}),
        "cannot be used (KeyError",
    ),
    (
        make_variant(example=lambda self, rng: {"params": {}}),
        'should return "params", "x" and perhaps states',
    ),
    (make_variant(example=lambda self, rng: 1 / 0), "raised ZeroDivisionError"),
]


@pytest.mark.parametrize(("target", "message"), BAD, ids=[m[:30] for _, m in BAD])
def test_an_example_that_cannot_be_used_is_an_error(target, message):
    with pytest.raises(TargetError) as caught:
        any_subject(target).examples(1, 0)
    assert message in str(caught.value)


def test_a_number_is_a_loss_and_several_arrays_are_outputs_and_states():
    one = any_subject(make_variant(forward=lambda self, params, x: float(x.sum()), backward=None))
    assert set(one.example(0, "float64").cotangents) == {"dloss"}
    three = any_subject(make_variant(forward=lambda self, params, x: (x, x, x), backward=None))
    assert three.example(0, "float64").cotangents == ["dy", "dhT", "dcT"]


# ---- six styles, from the file to a verdict

IN_SIX_STYLES = [
    ("notebook.py:NotebookGRU", 0, "found: it is a gru-before"),
    ("gate_classes.py:GateByGate", 0, "as lstm"),
    ("fused.py:Fused", 0, "WLSTM = [b; W; U : ifog]"),
    ("columns.py:Course", 0, "as lstm"),
    ("last_state.py:MinimalGatedUnit", 0, "it is a custom cell"),
    ("loss_built_in.py:CharModel", 0, "it is a custom cell"),
    ("loss_built_in.py:Clipped", 1, "gradients_match_finite_differences failed"),
]


@pytest.mark.parametrize(
    ("target", "status", "said"), IN_SIX_STYLES, ids=[t for t, *_ in IN_SIX_STYLES]
)
def test_a_cell_in_any_style_has_a_verdict(target, status, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(explore.PROFILES, "quick", 4)
    shutil.copytree(STYLES, "styles")
    done = CliRunner().invoke(main, ["audit", f"styles/{target}", "--profile", "quick"])
    assert done.exit_code == status, done.output
    assert said in " ".join(done.output.split())
