"""A cell without a bias is audited fully, and faults in it are caught.

Every property that saturates a gate is tried on it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatecheck.auditing import explore
from gatecheck.auditing.audit import audit
from gatecheck.auditing.selection import applicable_properties
from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, RNN, Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import check_agreement
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.diagnosis.diagnose import diagnose
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread, other, replaced
from gatecheck.implementation import subject
from gatecheck.inference.infer import infer
from gatecheck.kernels import Builtin
from gatecheck.targets.adapters.torch import adapt
from gatecheck.targets.adapters.torch_module import adapt as adapt_module

BARE = Convention(
    "bare",
    {
        "rnn": Layout("n", {"W{reverse}": "W", "U{reverse}": "U"}),
        "gru": Layout("zrn", {"W_{gate}": "W", "U_{gate}": "U"}, negated="z"),
        "gru-before": Layout("rzn", {"gates": "U; W : rz", "candidate": "W; U : n"}),
        "lstm": Layout("ifgo", {"kernel": "W; U"}),
    },
    axes="BTD",
    reverse=".reverse",
)


class Bare:
    """A port of a canonical implementation without biases."""

    convention = BARE

    def __init__(self, whole, **declared):
        self.whole, self.cell = whole, whole.cell
        vars(self).update(declared)

    def forward(self, params, x, h0, c0=None):
        y, *states = self.whole.forward(
            BARE.to_canonical(self.cell, params), x.swapaxes(0, 1), h0, c0
        )
        return (y.swapaxes(0, 1), *states)

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        dy = None if dy is None else dy.swapaxes(0, 1)
        got = self.whole.backward(
            BARE.to_canonical(self.cell, params), x.swapaxes(0, 1), h0, c0, dy, dhT, dcT
        )
        own = BARE.gradients(self.cell, {k: got[k] for k in self.cell.param_shapes(1, 1)})
        return own | {"x": got["x"].swapaxes(0, 1)} | {k: got[k] for k in ("h0", "c0") if k in got}


class Tangent(Bare):
    def tangent(self, params, x, h0, c0, dparams, dx, dh0, dc0):
        order = (BARE.to_canonical(self.cell, dparams), dx.swapaxes(0, 1), dh0, dc0)
        y, *states = self.whole.tangent(
            BARE.to_canonical(self.cell, params), x.swapaxes(0, 1), h0, c0, *order
        )
        return (y.swapaxes(0, 1), *states)


@pytest.mark.parametrize("cell", [GRU(), LSTM(), RNN("relu", bidirectional=True)], ids=str)
def test_every_property_holds_without_a_bias(cell, monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)
    bare, whole = subject(Bare(EditedCell(cell))), subject(EditedCell(cell))
    assert [c.name for c in applicable_properties(bare)] == [
        c.name for c in applicable_properties(whole) if "lengths" not in c.needs
    ]
    result = audit(bare, profile="quick")
    assert result.verdict == "pass", result.findings
    assert (
        "it has no bias: b is here the weight of one more input, the first, that is always 1"
        in result.limitations
    )
    assert bare.unsupported_params == (["c_n"] if cell.reset == "after" else [])


@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=str)
def test_the_constant_input_has_its_gradients_and_no_tangent(cell):
    """db is the gradient of the input's weight; the input has no dx and no tangent."""
    bare, whole = subject(Tangent(Builtin(cell))), subject(Builtin(cell))
    case, direction = (
        bare.zero_unsupported(draw(cell, Sizes(5, 3, 2, 4), seed=k, dtype="float64"))
        for k in (1, 2)
    )
    assert bare.arguments(case)["x"].shape == (3, 5, 3)
    np.testing.assert_array_equal(bare.arguments(case)["x"][..., 0], 1)
    got, budget = bare.run(case), case_budget(case)
    assert got.keys() == budget.exact.keys() - {"dc_n"}
    assert (
        check_agreement(cell, got, {k: budget.exact[k] for k in got}, budget.tolerance).inconclusive
        == 0
    )
    for name, value in whole.tangent(case, direction).items():
        np.testing.assert_allclose(
            bare.tangent(case, direction)[name], value, rtol=0, atol=1e-12, err_msg=name
        )


FAULTS = {
    "update_gate_of_ones_is_plain_rnn": EditedCell(GRU(), misread("h", z=lambda s: 1 - s.z)),
    "update_gate_of_zeros_copies": EditedCell(
        GRU(), replaced(h=lambda s: s.z * s.n + (1 - s.z) * s.r * s.h_prev)
    ),
    "saturated_gates_are_exactly_0_or_1": EditedCell(
        GRU(), replaced(z=lambda s: np.exp(s.a_z) / (1 + np.exp(s.a_z)))
    ),
    "open_forget_gate_holds_memory": EditedCell(LSTM(), misread("c", f=lambda s: 1 - s.f)),
    "closed_output_gate_gives_zero": EditedCell(LSTM(), misread("h", o=1)),
    "input_and_forget_gates_are_independent": EditedCell(LSTM(), misread("c", i=lambda s: 1 - s.f)),
    "each_gate_has_its_own_weights": EditedCell(LSTM(), misread("a_f", W_f=other("W_o"))),
    "gradients_within_budget": EditedCell(LSTM(), misread("dc_prev", f=1)),
    "input_and_weight_gradients_balance": EditedCell(
        GRU(), misread("dx", da_z=lambda s: 0 * s.da_z)
    ),
    "forward_within_budget": find("gru: reset also in the mix").inject(),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_without_bias_is_detected(name):
    assert (
        audit(Bare(FAULTS[name]), profile="quick", only=[name], diagnose=False)
        .properties[0]
        .outcome
        == "failed"
    )


def test_wrapper_fault_is_diagnosed_without_inner_bias():
    """The search's calls must not use an inner bias that the convention lacks."""
    found = diagnose(subject(Bare(find("gru: x scaled in place").inject())))
    assert "x scaled in place" in " ".join(found.sentences)


def test_where_the_number_of_inputs_is_fixed_the_bias_is_always_zero():
    fixed = subject(Bare(Builtin("lstm"), sizes={"D": 3}))
    assert fixed.unsupported_params == ["b"]
    assert "b is always zero: the convention bare has no place for it" in fixed.limitations
    case = fixed.zero_unsupported(draw(LSTM(), Sizes(4, 2, 3, 5), seed=1, dtype="float64"))
    assert fixed.arguments(case)["x"].shape == (2, 4, 3)


def test_networks_have_no_constant_input():
    pytorch = CONVENTIONS["pytorch"].drop_parts("b", "c")
    assert pytorch.with_constant_input(as_cell("gru-layers2")) is pytorch
    assert pytorch.with_constant_input(GRU()).shapes(GRU(), 3, 2) == {
        "weight_ih_l0": (6, 4),
        "weight_hh_l0": (6, 2),
    }
    assert CONVENTIONS["pytorch"].with_constant_input(GRU()) is CONVENTIONS["pytorch"]


class Hidden(Bare):
    """The same without a declared convention."""

    convention = None

    def shapes(self, D, H):
        return BARE.shapes(self.cell, D, H)


@pytest.mark.parametrize("cell", [GRU(), GRU("before"), LSTM()], ids=str)
def test_convention_is_inferred_without_bias(cell):
    found = infer(Hidden(Builtin(cell)))
    assert [c for _, c in found.matches] == [cell]
    only = [
        "forward_within_budget",
        "gradients_within_budget",
        "gates_in_unit_interval",
        "saturated_gates_are_exactly_0_or_1",
    ]
    result = audit(Hidden(Builtin(cell)), profile="quick", only=only)
    assert (result.verdict, result.n_tried) == ("pass", 4), result.findings


# ---- PyTorch's

ONLY = [
    "forward_within_budget",
    "gradients_within_budget",
    "saturated_gates_are_exactly_0_or_1",
    "lengths_within_budget",
]


@pytest.mark.parametrize(
    ("name", "cell"),
    [("GRU", None), ("LSTM", "lstm-bidirectional"), ("LSTM", "lstm-layers2"), ("GRUCell", None)],
)
def test_pytorch_without_bias(name, cell):
    result = audit(adapt(name, cell, bias=False), profile="quick", only=ONLY)
    assert result.verdict == "pass", result.findings
    assert (
        result.convention == "pytorch without b and c"
        if "Cell" not in name
        else "pytorch-cell without b and c"
    )
    # Of two layers the upper one has no input that could be constant, so there the biases are zero.
    assert any(n.startswith("it has no bias") for n in result.limitations) == (
        cell != "lstm-layers2"
    )


class Encoder(torch.nn.Module):
    cell = "lstm"

    def __init__(self, inputs, hidden):
        super().__init__()
        self.rnn = torch.nn.LSTM(inputs, hidden, bias=False, batch_first=True)

    def forward(self, x, state=None):
        return self.rnn(x, state)


def test_module_without_bias_passes(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 3)
    result = audit(
        adapt_module(Encoder), profile="quick", only=["open_forget_gate_holds_memory", *ONLY]
    )
    assert result.verdict == "pass", result.findings
    assert result.n_tried == 4


def test_torch_layer_cannot_reset_before():
    with pytest.raises(UsageError, match="cannot be a gru-before"):
        adapt("GRU", "gru-before", bias=False)
