"""The audit: verdicts, counts, shrinking, expected failures, arguments."""

from dataclasses import replace

import numpy as np
import pytest

from gatecheck.auditing import explore as exploring
from gatecheck.auditing.audit import audit
from gatecheck.auditing.selection import select_properties
from gatecheck.cases import Case
from gatecheck.cases.strategies import cases
from gatecheck.cells import CELLS, LSTM, RNN
from gatecheck.checking import evidence
from gatecheck.checking.evidence import Violation
from gatecheck.conventions import Convention, Layout
from gatecheck.errors import TargetError, UsageError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from helpers.targets import with_attributes

FORWARD, BACKWARD = "forward_within_budget", "gradients_within_budget"
NO_FORGET = misread("dc_prev", f=1)


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(exploring.PROFILES, "quick", 4)


def sigmoid(a):
    return 0.5 * (1 + np.tanh(a / 2))


class Port:
    """A GRU (reset before) by hand, with its own gate order, polarity and names.

    Gates are rows, and z = 1 keeps the state.
    """

    cell = "gru-before"
    layout = Layout("nzr", {"kernel": "W", "recurrent": "U", "bias": "b"}, negated="z")
    convention = Convention("mine", {"gru-before": layout}, rows=True)

    def forward(self, params, x, h0, c0=None):
        y, h, _ = self.trace(params, x, h0)
        return y, h

    def trace(self, params, x, h0):
        U_n, U_z, U_r = np.split(params["recurrent"], 3)
        h = np.zeros((x.shape[1], len(U_n)), x.dtype) if h0 is None else h0
        y, tape = np.zeros((*x.shape[:2], len(U_n)), x.dtype), []
        for t in range(len(x)):
            n, z, r = np.split(x[t] @ params["kernel"].T + params["bias"], 3, axis=1)
            z, r = sigmoid(z + h @ U_z.T), sigmoid(r + h @ U_r.T)
            n = np.tanh(n + (r * h) @ U_n.T)
            tape.append((n, z, r, h))
            h = y[t] = z * h + (1 - z) * n
        return y, h, tape

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        W, U = params["kernel"], params["recurrent"]
        U_n, U_z, U_r = np.split(U, 3)
        dW, dU, db, dx = (
            np.zeros_like(W),
            np.zeros_like(U),
            np.zeros_like(params["bias"]),
            np.zeros_like(x),
        )
        _, h, tape = self.trace(params, x, h0)
        dh = np.zeros_like(h) if dhT is None else dhT
        for t in reversed(range(len(x))):
            n, z, r, h = tape[t]
            dh = dh if dy is None else dh + dy[t]
            dn, dz = dh * (1 - z) * (1 - n * n), dh * (h - n) * z * (1 - z)
            dr = (dn @ U_n) * h * r * (1 - r)
            da = np.concatenate([dn, dz, dr], axis=1)
            dW += da.T @ x[t]
            dU += np.concatenate([dn.T @ (r * h), dz.T @ h, dr.T @ h])
            db += da.sum(0)
            dx[t] = da @ W
            dh = dh * z + (dn @ U_n) * r + dz @ U_z + dr @ U_r
        return {"kernel": dW, "recurrent": dU, "bias": db, "x": dx, "h0": dh}


def outcomes(result):
    return {p.name: p.outcome for p in result.properties}


# ---- correct code


@pytest.mark.parametrize("target", [*(Builtin(cell) for cell in CELLS), Port], ids=[*CELLS, "port"])
def test_correct_code_passes(target):
    result = audit(target, profile="quick")
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    assert (result.ok, result.findings) == (True, [])
    assert result.n_tried == result.count("passed") > 12
    assert (
        result.n_tried + result.count("skipped")
        == len(result.properties)
        == len(select_properties())
    )
    assert all(p.reason for p in result.properties if p.outcome == "skipped")
    assert all(
        p.examples and p.worst_ratio <= 1 for p in result.properties if p.outcome == "passed"
    )


def test_only_the_port_with_its_own_convention_passes():
    wrong = replace(Port.convention, layouts={"gru-before": replace(Port.layout, negated="")})
    assert audit(Port, convention=wrong, profile="quick", only=[FORWARD]).verdict == "fail"


# ---- a finding


def broken_audit(seed=0, shrinking=60, **how):
    """Audit an LSTM with a fault.

    Its counterexample is the smallest, and so the same every time, unless the time is short.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exploring, "SHRINKING_S", shrinking)
        # For the fixture, which has the scope of the module.
        patch.setitem(exploring.PROFILES, "quick", 4)
        return audit(
            EditedCell(LSTM(), NO_FORGET),
            profile="quick",
            only=[FORWARD, BACKWARD],
            seed=seed,
            **how,
        )


@pytest.fixture(scope="module")
def broken_result():
    return broken_audit()


def test_a_failure_is_shrunk(broken_result):
    (found,) = broken_result.findings
    assert found.name == BACKWARD
    assert found.worst_ratio > 1
    # Only dc0 is wrong in one step of one unit; nothing smaller exists.
    assert found.counterexample.sizes == (1, 1, 1, 1)
    with pytest.raises(Violation):
        next(iter(select_properties([BACKWARD])))(
            subject(EditedCell(LSTM(), NO_FORGET)), found.counterexample
        )


def test_failure_message_has_location_and_extent(broken_result):
    (found,) = broken_result.findings
    assert "dc0[0, 0] is" in found.reason
    assert "but should be" in found.reason
    assert "times its budget" in found.reason
    widest = found.reason.splitlines()[-1]
    assert widest.startswith("seen in ")
    wrong, right = widest.split("right:")
    assert "dx[t=0.." in wrong
    assert "dU[gate=i f g o]" in wrong
    assert "dc0" in wrong
    assert "dx[t=" in right  # the last step is right: nothing was carried there yet


def test_shrinking_stops_in_time(monkeypatch):
    """Then no case is drawn any more."""
    assert isinstance(broken_audit(shrinking=0).findings[0].counterexample, Case)
    drawn = []
    monkeypatch.setattr(
        exploring, "cases", lambda *of: cases(*of).map(lambda case: drawn.append(case) or case)
    )
    broken_audit(shrinking=0, diagnose=False)  # its own cases are cached
    assert len(drawn) == 1


# ---- expected failures


def test_expected_failure_is_not_a_finding():
    target = with_attributes(
        EditedCell(LSTM(), NO_FORGET), expected_failures={BACKWARD: "documented: drops f"}
    )
    result = audit(target, profile="quick", only=[FORWARD, BACKWARD])
    assert outcomes(result) == {FORWARD: "passed", BACKWARD: "expected_failure"}
    assert result.ok
    assert (
        result.properties[1].reason == "documented: drops f"
        or result.properties[0].reason == "documented: drops f"
    )


def test_an_expected_failure_that_holds_is_a_finding():
    result = audit(
        with_attributes(EditedCell(RNN()), expected_failures={FORWARD: "once wrong"}),
        profile="quick",
        only=[FORWARD],
    )
    assert outcomes(result) == {FORWARD: "failed"}
    assert "it holds, but was expected to fail: once wrong" in result.findings[0].reason


def test_an_expected_failure_of_nothing_is_an_error():
    with pytest.raises(TargetError, match="forward_in_budget"):
        audit(
            with_attributes(EditedCell(RNN()), expected_failures={"forward_in_budget": "a typo"}),
            profile="quick",
        )


# ---- arguments


@pytest.mark.parametrize(
    ("how", "fragment"),
    [
        (
            {"only": ["no_such"]},
            "there is no property no_such; `gatecheck properties` lists them all",
        ),
        ({"only": FORWARD}, "list"),
        ({"profile": "slow"}, "there is no profile 'slow'; the profiles are quick, ci, thorough"),
    ],
    ids=["property", "a name that is no list", "profile"],
)
def test_a_wrong_call(how, fragment):
    with pytest.raises(UsageError, match=fragment):
        audit(EditedCell(RNN()), **{"profile": "quick", **how})


def test_the_same_seed_gives_the_same_audit(broken_result):
    assert broken_audit().to_json() == broken_result.to_json()
    hastily = [
        broken_audit(seed=seed, shrinking=0, diagnose=False).to_json()["properties"]
        for seed in (0, 0, 4)
    ]
    assert hastily[0] == hastily[1] != hastily[2]


@pytest.mark.parametrize("edits", [(), (misread("dh", dh_next=0),)], ids=["correct", "broken"])
def test_progress_reaches_exactly_its_total(edits):
    calls = []
    audit(EditedCell(RNN(), *edits), profile="quick", progress=lambda *call: calls.append(call))
    done, totals, labels = zip(*calls, strict=True)
    assert set(totals) == {max(done)}
    assert list(done[: max(done)]) == list(range(1, max(done) + 1))
    assert set(done[max(done) :]) <= {max(done)}
    assert {c.name for c in select_properties()} >= set(labels[: max(done)])
    assert any("smaller counterexample" in label for label in labels) == bool(edits)


def test_zero_properties_run_is_an_error():
    result = audit(
        with_attributes(EditedCell(RNN()), backward=None), only=[BACKWARD], profile="quick"
    )
    assert (result.n_tried, result.verdict, result.ok) == (0, "error", False)


def test_rounding_as_large_as_the_values_is_inconclusive(monkeypatch):
    monkeypatch.setattr(evidence, "CHAOTIC_SPREAD", 0.0)
    result = audit(EditedCell(RNN()), only=[FORWARD, "inputs_are_not_changed"], profile="quick")
    assert outcomes(result) == {FORWARD: "inconclusive", "inputs_are_not_changed": "passed"}
    (found,) = (p for p in result.properties if p.name == FORWARD)
    assert (result.verdict, found.inconclusive) == ("inconclusive", 1)
    assert "no case could be judged in float32 and float64" in found.reason
