"""A user's own modules, with parameters of any name.

They wrap PyTorch's layers, or compute a cell by hand.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatecheck.auditing.audit import audit
from gatecheck.errors import TargetError
from gatecheck.targets.adapters.torch_module import adapt
from gatecheck.targets.loading import load

ONLY = [
    "forward_within_budget",
    "gradients_within_budget",
    "absent_arrays_mean_zero",
    "split_sequence_equals_whole_sequence",
]


class Encoder(nn.Module):
    """A wrapped layer of PyTorch, batch first."""

    cell = "lstm"

    def __init__(self, inputs, hidden):
        super().__init__()
        self.rnn = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, x, state=None):
        return self.rnn(x, state)


class ByHand(nn.Module):
    """A GRU that resets before the product.

    It has one linear map on [h, x] for the gates and one for the candidate.
    """

    cell = "gru"

    def __init__(self, inputs, hidden):
        super().__init__()
        self.gates, self.candidate = (
            nn.Linear(hidden + inputs, 2 * hidden),
            nn.Linear(hidden + inputs, hidden),
        )

    def forward(self, x, h=None):
        h = x.new_zeros(x.shape[1], self.candidate.out_features) if h is None else h
        y = []
        for x_t in x:
            z, r = torch.sigmoid(self.gates(torch.cat([h, x_t], 1))).chunk(2, 1)
            n = torch.tanh(self.candidate(torch.cat([r * h, x_t], 1)))
            h = z * h + (1 - z) * n
            y.append(h)
        return (torch.stack(y) if y else x.new_zeros(0, *h.shape)), h


class Wrong(nn.Module):
    """A module that computes no known cell."""

    cell = "rnn"

    def __init__(self, inputs, hidden):
        super().__init__()
        self.linear = nn.Linear(hidden + inputs, hidden)

    def forward(self, x, h=None):
        h = x.new_zeros(x.shape[1], self.linear.out_features) if h is None else h
        y = []
        for x_t in x:
            h = torch.tanh(self.linear(torch.cat([h, x_t], 1))) ** 3
            y.append(h)
        return (torch.stack(y) if y else x.new_zeros(0, *h.shape)), h


@pytest.mark.parametrize(
    ("make", "found"),
    [(Encoder, "axes BTD"), (ByHand, "it is a gru-before, with gates.weight = [U; W : zr]")],
    ids=["layer", "by-hand"],
)
def test_a_module_passes_in_the_convention_that_is_found(make, found):
    result = audit(adapt(make), profile="quick", only=ONLY)
    assert result.verdict == "pass", result.findings
    assert found in result.limitations[0]


def test_wrong_module_has_no_convention():
    with pytest.raises(
        TargetError,
        match=r"no convention .* explains it, nor one with a fault; "
        r"if it is meant to be right, declare its",
    ):
        audit(adapt(Wrong), profile="quick", only=ONLY)


def test_a_module_in_a_file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\nclass Net(nn.Module):\n def __init__(self, i, h):\n  "
        "super().__init__()\n  self.r = nn.GRU(i, h)\n"
        " def forward(self, x, h=None):\n  return self.r(x, h)\n"
    )
    result = audit(load(f"{path}:Net", cell="gru"), profile="quick", only=ONLY)
    assert result.verdict == "pass", result.findings


class Argumentless(nn.Module):
    cell = "rnn"


class Stateless(nn.Module):
    cell = "rnn"

    def __init__(self, inputs, hidden):
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden)

    def forward(self, x):
        return self.rnn(x)[0]


BAD = [
    (Argumentless, None, "it is constructed as Argumentless(input_size, hidden_size)"),
    (
        Stateless,
        None,
        "Stateless is called as module(x, h) and should return y and the final state",
    ),
    (nn.GRU, None, "GRU does not say which cell it is"),
]


@pytest.mark.parametrize(("make", "cell", "message"), BAD, ids=[m[:25] for *_, m in BAD])
def test_uncallable_module_is_an_error(make, cell, message):
    with pytest.raises(TargetError) as caught:
        adapt(make, cell)
    assert message in str(caught.value)
