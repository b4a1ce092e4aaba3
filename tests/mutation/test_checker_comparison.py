"""Gradient checkers of other packages, run as their users run them.

What they catch, what they let pass, what they refuse; PyTorch's only.
"""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.cells import CELLS, as_cell
from gatecheck.cli import main
from gatecheck.errors import MissingExtraError, UsageError
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.mutation import checker_comparison
from gatecheck.mutation.checker_comparison import (
    USAGES,
    ExactGradient,
    audit_verdict,
    check_fault,
    checked_function,
    sample_labels,
)
from gatecheck.mutation.gradient_checkers import (
    CHECKERS,
    checkers_of,
    jax_check_grads,
    torch_gradcheck,
)

TORCH, FAST, OURS = "torch gradcheck", "torch gradcheck, fast_mode", "gatecheck.gradcheck"


def run_checker(target, checker, question):
    return CHECKERS[checker].run(
        checked_function(
            target,
            question,
            "float64",
            checker_comparison._correct_forward(as_cell(target.cell).name),
        )
    )


class ChangedGradients:
    """LSTM whose backward returns changed gradients."""

    def __init__(self, change):
        self.cell, self.change = as_cell("lstm"), change

    def backward(self, *arguments):
        return self.change(EditedCell(self.cell).backward(*arguments))


def raise_error(gradients):
    raise ZeroDivisionError("no such gradient")


@pytest.mark.parametrize("question", USAGES)
@pytest.mark.parametrize("checker", [TORCH, FAST])
@pytest.mark.parametrize("cell", CELLS)
def test_correct_code_passes(cell, checker, question):
    assert run_checker(EditedCell(as_cell(cell)), checker, question) == ("passed", "")


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_correct_code_passes_ours(cell):
    assert run_checker(EditedCell(as_cell(cell)), OURS, "short").outcome == "passed"


def test_a_gross_fault_is_caught_by_all():
    judged = check_fault("rnn: dh carried twice", [TORCH, FAST, OURS])
    assert judged.side == "backward"
    assert {v.outcome for by in judged.verdicts.values() for v in by.values()} == {"caught"}
    assert all(v.reason for by in judged.verdicts.values() for v in by.values())


@pytest.mark.parametrize(
    ("label", "question"), [("rnn: dh0 missing", "last"), ("lstm: dh in float32", "short")]
)
def test_what_torch_lets_pass_we_catch(label, question):
    planted = find(label).inject()
    assert run_checker(planted, TORCH, question).outcome == "passed"
    assert run_checker(planted, FAST, question).outcome == "passed"
    assert run_checker(planted, OURS, question).outcome == "caught"
    assert audit_verdict(planted).outcome == "caught"


def test_a_wrong_forward_with_its_own_gradient_is_right_to_a_gradient_checker():
    judged = check_fault("rnn: h0 ignored", [TORCH, OURS])
    assert judged.side == "forward"
    assert {q: v.outcome for q, v in judged.verdicts[TORCH].items()} == {
        "short": "passed",
        "last": "passed",
    }
    assert judged.verdicts[OURS]["short"].outcome == "passed"
    assert judged.verdicts["gatecheck audit"]["all"].outcome == "caught"


@pytest.mark.parametrize("cell", CELLS)
def test_the_exact_gradient_is_that_of_the_reference(cell):
    right = EditedCell(as_cell(cell))
    asked = checked_function(right, "short", "float64", checker_comparison._correct_forward(cell))
    cotangents = {
        k: np.cos(np.arange(v.size)).reshape(v.shape) for k, v in asked.fn(asked.inputs).items()
    }
    exact = checked_function(ExactGradient(right), "short", "float64", asked.fn).vjp(
        cotangents, asked.inputs
    )
    for name, expected in asked.vjp(cotangents, asked.inputs).items():
        # Sums of a few dozen terms of order one in float64.
        np.testing.assert_allclose(exact[name], expected, rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_a_backward_fault_leaves_the_forward_alone(cell):
    correct = checker_comparison._correct_forward(cell)
    inputs = checked_function(EditedCell(as_cell(cell)), "short", "float64", correct).inputs
    for fault in faults(cell):
        if fault.edit and fault.side(as_cell(cell)) == "backward":
            got = checker_comparison._run_forward(fault.inject(), inputs)
            assert all(np.array_equal(got[k], v) for k, v in correct(inputs).items()), fault.label


@pytest.mark.parametrize(
    ("checker", "change", "why"),
    [
        (TORCH, raise_error, "ZeroDivisionError: no such gradient"),
        (OURS, raise_error, "ZeroDivisionError: no such gradient"),
        (
            TORCH,
            lambda g: g | {"x": g["x"][:1]},
            "RuntimeError: Function PlantedBackward returned an invalid gradient at index 3",
        ),
    ],
)
def test_an_error_is_a_refusal_and_says_why(checker, change, why):
    verdict = run_checker(ChangedGradients(change), checker, "short")
    assert verdict.outcome == "refused"
    assert verdict.reason.startswith(why)


@pytest.mark.parametrize(
    ("package", "checker"), [("jax", jax_check_grads), ("torch", torch_gradcheck)]
)
def test_a_missing_package_is_named(package, checker, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"gatecheck\[{package}\]"):
        checker(
            checked_function(
                EditedCell(as_cell("rnn")),
                "short",
                "float64",
                checker_comparison._correct_forward("rnn"),
            )
        )


def test_an_unknown_package_is_a_usage_error():
    with pytest.raises(UsageError, match="no checker of keras; available: torch, jax"):
        checkers_of(["torch", "keras"])


def test_labels_cover_every_backward_fault():
    sides = {"backward": 0, "forward": 0}
    for fault in faults("lstm"):
        if fault.edit:
            sides[fault.side(as_cell("lstm"))] += 1
    chosen = sample_labels(["lstm"])
    assert chosen[0] == "lstm: correct"
    assert (
        len(set(chosen))
        == len(chosen)
        == 1 + sides["backward"] + -(-sides["forward"] // checker_comparison.FORWARD_SHARE)
    )


def test_the_command_writes_verdicts(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checker_comparison,
        "sample_labels",
        lambda cells: ["rnn: dh0 missing", "rnn: dW_n in float32"],
    )
    path = tmp_path / "checkers.json"
    result = CliRunner().invoke(
        main,
        ["checkers", "--cell", "rnn", "--against", "torch", "--json", str(path)],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    found = json.loads(path.read_text())
    assert [*found["checkers"]] == [TORCH, FAST, OURS, "gatecheck audit"]
    assert found["versions"]["torch"]
    missing, rounded = found["faults"]
    assert missing["verdicts"][TORCH]["short"]["outcome"] == "caught"
    assert missing["verdicts"][TORCH]["last"]["outcome"] == "passed"
    assert "torch gradcheck does not catch 1 in last only: dh0 missing (rnn)" in " ".join(
        result.stdout.split()
    )
    assert rounded["verdicts"][TORCH] == {q: {"outcome": "passed", "reason": ""} for q in USAGES}


@pytest.mark.parametrize(
    ("label", "dtype", "shown"),
    [
        ("rnn: truncated after 16 steps", "float64", ["last"]),
        ("lstm: dh in float32", "float64", ["short", "last"]),
        ("lstm: dh in float32", "float32", []),
        ("gru: dy averaged over time", "float32", ["short"]),
    ],
)
def test_faults_without_effect_on_gradients_are_known(label, dtype, shown):
    assert [
        q for q in USAGES if checker_comparison._differs(find(label).inject(), q, dtype)
    ] == shown
