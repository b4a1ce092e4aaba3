"""Single-step cells as implementations."""

import re

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.auditing import explore
from gatecheck.errors import UsageError


def sigmoid(a):
    return 0.5 * (1 + np.tanh(a / 2))


def lstm(params, x, h, c):
    i, f, g, o = np.split(
        x @ params["weight_ih"].T
        + h @ params["weight_hh"].T
        + params["bias_ih"]
        + params["bias_hh"],
        4,
        axis=1,
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def rnn(params, x, h):
    return np.tanh(x @ params["W"] + h @ params["U"] + params["b"])


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 4)


@pytest.mark.parametrize(
    ("step", "how"),
    [(lstm, {"cell": "lstm", "convention": "pytorch-cell"}), (rnn, {"cell": "rnn"})],
)
def test_a_right_step_passes(step, how):
    result = gk.audit(gk.from_step(step, **how), profile="quick")
    assert result.implementation == step.__name__
    assert result.verdict == "pass", result.findings


def test_a_wrong_step_fails():
    result = gk.audit(
        gk.from_step(lambda params, x, h: rnn(params, x, 0 * h), cell="rnn"),
        profile="quick",
        only=["forward_within_budget"],
    )
    assert result.verdict == "fail"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda params, x, h: (h, h), "the step returned 2 states, but should return h'"),
        (
            lambda params, x, h: h[:1, :1].sum(),
            r"the step returned h' of shape \(\), but should return shape",
        ),
    ],
)
def test_a_step_that_returns_something_else_is_a_finding(step, message):
    (found,) = gk.audit(
        gk.from_step(step, cell="rnn"), profile="quick", only=["forward_within_budget"]
    ).properties
    assert found.outcome == "failed"
    assert re.search(message, found.reason)


def test_unknown_cell_is_an_error():
    with pytest.raises(UsageError, match="there is no cell 'gur'"):
        gk.from_step(rnn, cell="gur")
