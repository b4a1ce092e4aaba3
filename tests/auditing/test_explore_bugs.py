"""A bug of gatecheck in a property is not a finding, and the audit goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

import gatecheck as gk
from gatecheck.auditing import audit, selection
from gatecheck.auditing.explore import explore
from gatecheck.checking.registry import REGISTRY
from gatecheck.cli import main
from gatecheck.implementation import subject

BROKEN, SOUND = "inputs_are_not_changed", "repeated_calls_are_identical"


@pytest.fixture
def broken(monkeypatch):
    """Replace a property by one that raises an exception of its own."""
    selection.select_properties()

    def check(implementation, case):
        return {}["a bug of ours"]

    monkeypatch.setitem(REGISTRY, BROKEN, replace(REGISTRY[BROKEN], check=check))


class Crashes:
    cell = "rnn"

    def forward(self, params, x, h0, c0=None):
        raise KeyError("a bug of theirs")


def outcomes(result):
    return {p.name: p for p in result.properties}


@pytest.mark.usefixtures("broken")
def test_audit_goes_on_after_a_bug():
    result = gk.audit(gk.Builtin("rnn"), profile="quick", only=[BROKEN, SOUND])
    found = outcomes(result)
    assert found[SOUND].outcome == "passed"
    assert found[BROKEN].outcome == "error"
    assert found[BROKEN].reason.startswith(
        "this is a bug in gatecheck, please report it with the case and all of this: KeyError: 'a "
        "bug of"
    )
    assert "test_explore_bugs.py" in found[BROKEN].reason
    assert (result.verdict, result.ok, result.diagnosis) == ("error", False, None)
    assert result.to_json()["counts"]["error"] == 1


def test_target_crash_is_not_a_gatecheck_bug():
    result = gk.audit(Crashes(), profile="quick", only=[BROKEN], diagnose=False)
    assert outcomes(result)[BROKEN].outcome == "crashed"
    assert "bug in gatecheck" not in outcomes(result)[BROKEN].reason


@pytest.mark.usefixtures("broken")
def test_command_reports_bug_and_case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        main, ["audit", "builtin:rnn", "--profile", "quick", "--only", BROKEN, "--only", SOUND]
    )
    assert done.exit_code == 1, done.output
    said = " ".join(done.output.split())
    assert f"{BROKEN} error this is a bug in gatecheck" in said
    assert "replay: gatecheck audit builtin:rnn" in said
    (saved,) = (tmp_path / "gatecheck-cases").iterdir()
    assert gk.replay(gk.Builtin("rnn"), str(saved)).outcome == "error"


@pytest.mark.usefixtures("broken")
def test_bug_does_not_count_as_detected_fault():
    """While faults are tried, a bug ends the run: it would count as a detected fault."""
    with pytest.raises(KeyError):
        explore(subject(gk.Builtin("rnn")), selection.select_properties([BROKEN]), "quick", 0)


def test_a_diagnosis_that_fails_leaves_the_findings(monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(audit, "find_causes", broken)
    result = gk.audit(Crashes(), profile="quick", only=[SOUND])
    assert result.verdict == "fail"
    assert "There is no diagnosis: this is a bug in gatecheck" in result.diagnosis.message
