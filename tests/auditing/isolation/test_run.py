"""An audit in a process has the results of one without, and replays cases."""

import os
from dataclasses import replace

import pytest

from gatecheck.auditing import audit as runner
from gatecheck.auditing import explore
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import audit, replay
from gatecheck.targets import loading
from helpers.paths import HOSTILE

ALL = (
    "empty_sequence",
    "forward_within_budget",
    "repeated_calls_are_identical",
    "inputs_are_not_changed",
)

posix = pytest.mark.skipif(os.name != "posix", reason="there are no signals there")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)


@pytest.fixture(scope="module")
def process():
    with Isolation() as process:
        yield process


@pytest.mark.parametrize(
    ("target", "only"), [("builtin:lstm", ()), (f"{HOSTILE}:InPlace", ALL), (f"{HOSTILE}:NaN", ALL)]
)
def test_isolated_audit_equals_local_audit(process, target, only, monkeypatch):
    monkeypatch.setattr(explore, "SHRINKING_S", 60)
    declared = process.load(target)
    there = runner.run_audit(
        declared, process.check, process.package_versions, profile="quick", only=only
    )
    here = runner.audit(loading.load(target), profile="quick", only=only, diagnose=False)
    assert there.to_json() == here.to_json()
    assert [p.counterexample for p in there.properties] == [
        p.counterexample for p in here.properties
    ]


@posix
def test_a_crash_is_replayed(process, tmp_path):
    result = replace(
        audit(process, f"{HOSTILE}:Segfault", profile="quick", only=ALL), implementation="it"
    ).save_counterexamples(tmp_path)
    again, _ = replay(process, f"{HOSTILE}:Segfault", result.findings[0].saved_path)
    assert again.outcome == "crashed"
    assert "SIGSEGV" in again.reason
    again, _ = replay(process, f"{HOSTILE}:CorrectRNN", result.findings[0].saved_path)
    assert again.outcome == "passed"
