"""A cell without a bias is audited fully, and faults in it are caught.

Every property that saturates a gate is tried on it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatecheck.auditing import explore
from gatecheck.auditing.audit import applicable, audit
from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, RNN, Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import agree
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.diagnosis.diagnose import diagnose
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import Edited
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
        y, *states = self.whole.forward(BARE.read(self.cell, params), x.swapaxes(0, 1), h0, c0)
        return (y.swapaxes(0, 1), *states)

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        dy = None if dy is None else dy.swapaxes(0, 1)
        got = self.whole.backward(
            BARE.read(self.cell, params), x.swapaxes(0, 1), h0, c0, dy, dhT, dcT
        )
        own = BARE.gradients(self.cell, {k: got[k] for k in self.cell.param_shapes(1, 1)})
        return own | {"x": got["x"].swapaxes(0, 1)} | {k: got[k] for k in ("h0", "c0") if k in got}


class Tangent(Bare):
    def tangent(self, params, x, h0, c0, dparams, dx, dh0, dc0):
        order = (BARE.read(self.cell, dparams), dx.swapaxes(0, 1), dh0, dc0)
        y, *states = self.whole.tangent(
            BARE.read(self.cell, params), x.swapaxes(0, 1), h0, c0, *order
        )
        return (y.swapaxes(0, 1), *states)


@pytest.mark.parametrize("cell", [GRU(), LSTM(), RNN("relu", bidirectional=True)], ids=str)
def test_every_claim_that_applies_with_a_bias_applies_without_and_holds(cell, monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)
    bare, whole = subject(Bare(Edited(cell))), subject(Edited(cell))
    assert [c.name for c in applicable(bare)] == [
        c.name for c in applicable(whole) if "lengths" not in c.needs
    ]
    result = audit(bare, profile="quick")
    assert result.verdict == "pass", result.findings
    assert (
        "it has no bias: b is here the weight of one more input, the first, that is always 1"
        in result.narrowings
    )
    assert bare.absent == (["c_n"] if cell.reset == "after" else [])


@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=str)
def test_the_constant_input_has_its_gradients_and_no_tangent(cell):
    """db is the gradient of the input's weight; the input has no dx and no tangent."""
    bare, whole = subject(Tangent(Builtin(cell))), subject(Builtin(cell))
    case, direction = (
        bare.possible(draw(cell, Sizes(5, 3, 2, 4), seed=k, dtype="float64")) for k in (1, 2)
    )
    assert bare.arguments(case)["x"].shape == (3, 5, 3)
    np.testing.assert_array_equal(bare.arguments(case)["x"][..., 0], 1)
    got, budget = bare.run(case), case_budget(case)
    assert got.keys() == budget.exact.keys() - {"dc_n"}
    assert agree(cell, got, {k: budget.exact[k] for k in got}, budget.tolerance).inconclusive == 0
    for name, value in whole.tangent(case, direction).items():
        np.testing.assert_allclose(
            bare.tangent(case, direction)[name], value, rtol=0, atol=1e-12, err_msg=name
        )


FAULTS = {
    "update_gate_of_ones_is_plain_rnn": Edited(GRU(), misread("h", z=lambda s: 1 - s.z)),
    "update_gate_of_zeros_copies": Edited(
        GRU(), replaced(h=lambda s: s.z * s.n + (1 - s.z) * s.r * s.h_prev)
    ),
    "saturated_gates_reach_their_ends": Edited(
        GRU(), replaced(z=lambda s: np.exp(s.a_z) / (1 + np.exp(s.a_z)))
    ),
    "open_forget_gate_holds_memory": Edited(LSTM(), misread("c", f=lambda s: 1 - s.f)),
    "shut_output_gate_is_silent": Edited(LSTM(), misread("h", o=1)),
    "input_and_forget_gates_are_free": Edited(LSTM(), misread("c", i=lambda s: 1 - s.f)),
    "each_gate_has_its_own_weights": Edited(LSTM(), misread("a_f", W_f=other("W_o"))),
    "gradients_within_budget": Edited(LSTM(), misread("dc_prev", f=1)),
    "input_and_weight_gradients_balance": Edited(GRU(), misread("dx", da_z=lambda s: 0 * s.da_z)),
    "forward_within_budget": find("gru: reset also in the mix").plant(),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name):
    assert (
        audit(Bare(FAULTS[name]), profile="quick", only=[name], diagnose=False)
        .properties[0]
        .outcome
        == "failed"
    )


def test_a_fault_around_a_cell_with_something_that_is_always_zero_is_diagnosed():
    """The search's calls must not use an inner bias that the convention lacks."""
    found = diagnose(subject(Bare(find("gru: x scaled in place").plant())))
    assert "x scaled in place" in " ".join(found.sentences)


def test_where_the_number_of_inputs_is_fixed_the_bias_is_always_zero():
    fixed = subject(Bare(Builtin("lstm"), sizes={"D": 3}))
    assert fixed.absent == ["b"]
    assert "b is always zero: the convention bare has no place for it" in fixed.narrowings
    case = fixed.possible(draw(LSTM(), Sizes(4, 2, 3, 5), seed=1, dtype="float64"))
    assert fixed.arguments(case)["x"].shape == (2, 4, 3)


def test_layers_have_no_constant_input_of_their_own():
    pytorch = CONVENTIONS["pytorch"].without("b", "c")
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
def test_its_convention_is_found_and_the_audit_goes_on_in_it(cell):
    found = infer(Hidden(Builtin(cell)))
    assert [c for _, c in found.found] == [cell]
    only = [
        "forward_within_budget",
        "gradients_within_budget",
        "gates_in_unit_interval",
        "saturated_gates_reach_their_ends",
    ]
    result = audit(Hidden(Builtin(cell)), profile="quick", only=only)
    assert (result.verdict, result.ran) == ("pass", 4), result.findings


# ---- PyTorch's

ONLY = [
    "forward_within_budget",
    "gradients_within_budget",
    "saturated_gates_reach_their_ends",
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
    assert any(n.startswith("it has no bias") for n in result.narrowings) == (
        cell != "lstm-layers2"
    )


class Encoder(torch.nn.Module):
    cell = "lstm"

    def __init__(self, inputs, hidden):
        super().__init__()
        self.rnn = torch.nn.LSTM(inputs, hidden, bias=False, batch_first=True)

    def forward(self, x, state=None):
        return self.rnn(x, state)


def test_a_module_without_bias_is_found_and_held_to_every_claim(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 3)
    result = audit(
        adapt_module(Encoder), profile="quick", only=["open_forget_gate_holds_memory", *ONLY]
    )
    assert result.verdict == "pass", result.findings
    assert result.ran == 4


def test_the_bias_of_a_layer_of_pytorchs_is_its_own():
    with pytest.raises(UsageError, match="cannot be a gru-before"):
        adapt("GRU", "gru-before", bias=False)
