"""Results of an audit: verdicts, JSON, and counterexamples that can be replayed."""

import json

import pytest

import gatecheck as gk
from gatecheck.auditing.audit import audit, replay
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, RNN, Sizes
from gatecheck.errors import CaseFileError, UsageError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread

BACKWARD = "gradients_within_budget"
NO_FORGET = misread("dc_prev", f=1)


@pytest.fixture(scope="module")
def broken_result():
    return audit(EditedCell(LSTM(), NO_FORGET), profile="quick", only=[BACKWARD])


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (["passed", "skipped"], "pass"),
        (["passed", "expected_failure"], "pass"),
        (["passed", "failed"], "fail"),
        (["passed", "crashed"], "fail"),
        (["passed", "timed_out"], "fail"),
        (["passed", "inconclusive"], "inconclusive"),
        (["failed", "inconclusive"], "fail"),
        (["skipped", "skipped"], "error"),
        ([], "error"),
    ],
)
def test_verdict(found, verdict):
    result = AuditResult(
        "it",
        "gru",
        "canonical",
        "quick",
        0,
        [],
        [PropertyResult(f"p{k}", o) for k, o in enumerate(found)],
    )
    assert result.verdict == verdict
    assert result.ok == (verdict == "pass")
    assert [p.outcome for p in result.findings] == [
        o for o in found if o in ("failed", "crashed", "timed_out")
    ]


@pytest.mark.parametrize("edits", [(), (NO_FORGET,)], ids=["correct", "broken"])
def test_to_json_has_the_promised_keys_and_no_nan(edits):
    only = [
        BACKWARD,
        "open_forget_gate_holds_memory",
        "gradients_are_causal",
        "update_is_convex_combination",
    ]
    result = audit(EditedCell(LSTM(), *edits), profile="quick", only=only)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["schema"] == "gatecheck-audit-2"
    assert {
        "schema",
        "implementation",
        "versions",
        "seed",
        "verdict",
        "properties",
        "diagnosis",
    } <= set(data)
    assert {"python", "numpy", "gatecheck"} <= set(data["versions"])
    keys = {
        "name",
        "outcome",
        "examples",
        "worst_ratio",
        "inconclusive",
        "reason",
        "counterexample",
    }
    assert all(set(p) == keys for p in data["properties"])
    assert {p["name"]: p["outcome"] for p in data["properties"]} == {
        p.name: p.outcome for p in result.properties
    }
    assert data["verdict"] == ("fail" if edits else "pass")
    assert data["counts"]["ran"] == 3
    assert data["counts"]["skipped"] == 1


def test_replay_reproduces_the_failure_and_passes_when_repaired(broken_result, tmp_path):
    (found,) = broken_result.save_counterexamples(tmp_path / "new").findings
    again = replay(EditedCell(LSTM(), NO_FORGET), found.saved_path)
    assert again.outcome == "failed"
    assert again.reason.splitlines()[0] == found.reason.splitlines()[0]
    assert replay(EditedCell(LSTM()), found.saved_path).outcome == "passed"
    assert gk.replay is replay


def test_replay_refuses_another_cell(broken_result, tmp_path):
    (found,) = broken_result.save_counterexamples(tmp_path).findings
    with pytest.raises(UsageError, match=r"holds a case of a lstm, but .* is a gru"):
        replay(EditedCell(GRU()), found.saved_path)


def save_case(tmp_path, dtype="float64", **about):
    draw(RNN(), Sizes(3, 2, 1, 4), seed=1, dtype=dtype).save(tmp_path / "case.npz", **about)
    return str(tmp_path / "case.npz")


def test_replay_refuses_a_case_that_names_no_property(tmp_path):
    with pytest.raises(CaseFileError, match="property"):
        replay(EditedCell(RNN()), save_case(tmp_path))


@pytest.mark.parametrize(
    "declared", [{"backward": None}, {"dtypes": ("float32",)}], ids=["no backward", "float32 only"]
)
def test_replay_refuses_an_inapplicable_property(tmp_path, declared):
    narrowed = EditedCell(RNN())
    vars(narrowed).update(declared)
    with pytest.raises(UsageError, match=r"backward|float"):
        replay(narrowed, save_case(tmp_path, property=BACKWARD))


def test_replay_of_a_file_that_is_not_a_case(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(CaseFileError, match=r"x\.npz"):
        replay(EditedCell(RNN()), str(tmp_path / "x.npz"))
