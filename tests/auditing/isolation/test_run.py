"""An audit in a process has the results of one without, and replays cases."""

import os
from dataclasses import replace

import pytest

from gatecheck.auditing import explore
from gatecheck.auditing.audit import make_subject, run_audit, run_replay
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions
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
    options = AuditOptions("quick", only, diagnose=False)
    there = run_audit(make_subject(process.load(target)), options)
    here = run_audit(make_subject(loading.load(target)), options)
    assert there.to_json() == here.to_json()
    assert [p.counterexample for p in there.properties] == [
        p.counterexample for p in here.properties
    ]


@posix
def test_a_crash_is_replayed(process, tmp_path):
    options = AuditOptions("quick", ALL)
    with open_target(process, f"{HOSTILE}:Segfault") as opened:
        result = replace(run_audit(opened, options), implementation="it")
    path = result.save_counterexamples(tmp_path).findings[0].saved_path
    with open_target(process, f"{HOSTILE}:Segfault") as opened:
        again = run_replay(opened, path)
    assert again.outcome == "crashed"
    assert "SIGSEGV" in again.reason
    with open_target(process, f"{HOSTILE}:CorrectRNN") as opened:
        assert run_replay(opened, path).outcome == "passed"
