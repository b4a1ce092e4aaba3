"""The audit: verdicts, counts, shrinking, expected failures, misbehaving targets."""

import json
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gatecheck.auditing import explore as exploring
from gatecheck.auditing.audit import audit, select_properties
from gatecheck.auditing.explore import draw_cases, explore
from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES, cases
from gatecheck.cells import CELLS, GRU, LSTM, RNN
from gatecheck.checking import evidence
from gatecheck.checking.evidence import Violation
from gatecheck.conventions import Convention, Layout
from gatecheck.errors import TargetError, UsageError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from helpers.targets import with_attributes, with_changed_result

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


def test_the_same_seed_draws_the_same_cases_in_every_process():
    code = (
        "from gatecheck.auditing.explore import draw_cases; "
        "from gatecheck.cells import LSTM; "
        "from gatecheck.implementation import subject; "
        "from gatecheck.kernels import Builtin; "
        "from gatecheck.cases.strategies import SCOPES; "
        "own = Builtin('lstm'); own.sizes = {'B': 2}; "
        "print(*(case.key for case in draw_cases(subject(own), 'float32', SCOPES['any'], 40, 7)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    own = Builtin("lstm")
    own.sizes = {"B": 2}
    here, other = (draw_cases(subject(own), "float32", SCOPES["any"], 40, s) for s in (7, 8))
    assert [case.key for case in here] == there
    assert len(here) == 40
    assert here != other


def test_stopping_at_a_failure():
    target, chosen = subject(EditedCell(LSTM(), NO_FORGET)), select_properties([FORWARD, BACKWARD])
    whole = explore(target, chosen, "quick", 0)
    assert {name: t.examples for name, t in whole.items()} == {FORWARD: 8, BACKWARD: 8}
    assert whole[BACKWARD].failures > 2
    once = explore(target, chosen, "quick", 0, stop_at_first_failure=True)
    assert once[FORWARD].examples == 8
    assert once[BACKWARD].failures == 1
    assert once[BACKWARD].examples < 8
    first = explore(target, chosen, "quick", 0, stop_at_first_failing_property=True)
    assert first[FORWARD].examples == first[BACKWARD].examples == once[BACKWARD].examples
    assert first[BACKWARD].case == once[BACKWARD].case == whole[BACKWARD].case


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


# ---- misbehaving implementations


def raise_error(error):
    def change(arguments, result):
        raise error

    return change


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("by hand"), SystemExit(0), RecursionError("deep")],
    ids=lambda e: type(e).__name__,
)
def test_a_crash_is_an_outcome_and_the_rest_goes_on(error):
    result = audit(
        with_changed_result(EditedCell(RNN()), raise_error(error), "backward"),
        profile="quick",
        only=[FORWARD, BACKWARD, "outputs_are_causal"],
    )
    assert outcomes(result) == {
        FORWARD: "passed",
        BACKWARD: "crashed",
        "outputs_are_causal": "passed",
    }
    assert f"backward raised {type(error).__name__}" in result.findings[0].reason
    assert result.verdict == "fail"
    assert json.dumps(result.to_json(), allow_nan=False)


def test_an_interrupt_is_not_a_finding():
    with pytest.raises(KeyboardInterrupt):
        audit(
            with_changed_result(EditedCell(RNN()), raise_error(KeyboardInterrupt())),
            profile="quick",
            only=[FORWARD],
        )


def add_noise():
    rng = np.random.default_rng(0)
    return lambda arguments, result: (
        result[0] + rng.uniform(0, 1e-3, result[0].shape).astype(result[0].dtype),
        *result[1:],
    )


def change_first_call():
    calls = []

    def change(arguments, result):
        calls.append(1)
        return (result[0] + (len(calls) == 1), *result[1:])

    return change


@pytest.mark.parametrize("make", [add_noise, change_first_call])
def test_nondeterministic_implementation_is_found(make):
    result = audit(
        with_changed_result(EditedCell(RNN()), make()),
        profile="quick",
        only=["repeated_calls_are_identical"],
    )
    (found,) = result.findings
    assert "y[t=0, 0, 0] is" in found.reason
    assert found.counterexample is not None


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda a, r: None, "forward returned a NoneType"),
        (lambda a, r: r[0], "forward returned a ndarray"),
        (lambda a, r: (r[0].tolist(), r[1]), "y is a list"),
        (lambda a, r: (r[0], r[1][0]), "hT has shape"),
        (lambda a, r: (r[0].astype(complex), r[1]), "y has dtype complex128"),
        (lambda a, r: (r[0] * np.nan, r[1]), "y[t=0, 0, 0] is nan"),
        (lambda a, r: (r[0] * np.inf, r[1]), "inf"),
    ],
    ids=["None", "y alone", "a list", "a row too few", "complex", "NaN", "infinity"],
)
def test_a_wrong_result_is_a_finding(change, fragment):
    with np.errstate(invalid="ignore"):
        result = audit(
            with_changed_result(EditedCell(RNN()), change), profile="quick", only=[FORWARD]
        )
    assert outcomes(result) == {FORWARD: "failed"}
    assert fragment in result.findings[0].reason


def test_views_of_inputs_are_allowed():
    """Without steps the input state itself may be returned."""
    same = {
        k: audit(with_changed_result(EditedCell(RNN()), k), profile="quick").to_json()["properties"]
        for k in (return_views, lambda a, r: r)
    }
    assert len({json.dumps(p) for p in same.values()}) == 1


def return_views(arguments, result):
    buffer = np.empty((2, *result[0].shape), result[0].dtype)[::-1]
    buffer[0] = result[0]
    return (
        buffer[0],
        arguments[2] if not len(arguments[1]) and arguments[2] is not None else result[1],
    )


def change_global_state(arguments, result):
    np.seterr(all="raise")
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    return result


def test_global_state_that_the_target_changes_does_not_reach_the_audit():
    only = [FORWARD, BACKWARD, "saturated_gates_are_exactly_0_or_1"]
    with np.errstate():
        result = audit(
            with_changed_result(EditedCell(GRU()), change_global_state), profile="quick", only=only
        )
        assert np.geterr()["over"] != "raise"
    assert (
        result.to_json()["properties"]
        == audit(EditedCell(GRU()), profile="quick", only=only).to_json()["properties"]
    )


def test_shrinking_stops_in_time(monkeypatch):
    """Then no case is drawn any more."""
    assert isinstance(broken_audit(shrinking=0).findings[0].counterexample, Case)
    drawn = []
    monkeypatch.setattr(
        exploring, "cases", lambda *of: cases(*of).map(lambda case: drawn.append(case) or case)
    )
    broken_audit(shrinking=0, diagnose=False)  # its own cases are cached
    assert len(drawn) == 1
