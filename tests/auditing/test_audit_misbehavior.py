"""Audits of targets that misbehave: crashes, noise, wrong results, global state."""

import json
import random

import numpy as np
import pytest

from gatecheck.auditing import explore as exploring
from gatecheck.auditing.audit import audit
from gatecheck.cells import GRU, RNN
from gatecheck.faults.edited_cell import EditedCell
from helpers.targets import with_changed_result

FORWARD, BACKWARD = "forward_within_budget", "gradients_within_budget"


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(exploring.PROFILES, "quick", 4)


def outcomes(result):
    return {p.name: p.outcome for p in result.properties}


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
