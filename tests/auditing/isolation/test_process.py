"""A hostile target is a finding with its case, and the rest of the audit goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gatecheck._util import import_path
from gatecheck.auditing import explore
from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.isolation import process as isolation
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions, TargetOptions
from gatecheck.errors import TargetError, UsageError
from helpers.paths import HOSTILE
from helpers.processes import is_alive, wait_until

EMPTY, FORWARD, REPEATED, UNCHANGED = (
    "empty_sequence",
    "forward_within_budget",
    "repeated_calls_are_identical",
    "inputs_are_not_changed",
)
ALL = (EMPTY, FORWARD, REPEATED, UNCHANGED)

posix = pytest.mark.skipif(os.name != "posix", reason="there are no signals there")
linux = pytest.mark.skipif(sys.platform != "linux", reason="promised on Linux")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)


@pytest.fixture(scope="module")
def process():
    with Isolation() as process:
        yield process


def audit_hostile(name, process, only=ALL):
    with open_target(process, f"{HOSTILE}:{name}") as opened:
        return run_audit(opened, AuditOptions("quick", only))


def findings(result):
    return {p.name: (p.outcome, p.reason) for p in result.findings}


# ---- what a target may do


@posix
@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("Segfault", "ended by SIGSEGV (segmentation fault), at "),
        ("Abort", "ended by SIGABRT (aborted), at "),
        ("Complain", "in complain, after it printed 'out of mappings'"),
        ("Exit", "its process ended with exit status 3"),
        ("ExitInC", "its process ended with exit status 0"),
        ("SystemExit_", "forward raised SystemExit"),
        ("Interrupt", "forward raised KeyboardInterrupt"),
        ("Fail", "forward raised ValueError: no empty sequences here"),
        ("ForksAndExits", "its process ended with exit status 5"),
        ("ForksAndExitsLate", "its process ended with exit status 5"),
    ],
)
def test_a_crash_is_a_finding_with_its_case_and_the_rest_goes_on(process, name, fragment):
    result = audit_hostile(name, process)
    (found,) = result.findings
    assert (found.name, found.outcome) == (EMPTY, "crashed")
    assert fragment in found.reason
    assert found.counterexample is not None
    assert result.count("passed") == 3
    assert result.to_json()["counts"]["crashed"] == 1


@posix
@pytest.mark.parametrize(("name", "where"), [("Loop", "in loop"), ("LoopInC", "in hold_the_lock")])
def test_timeout_is_a_finding_with_location(name, where):
    with Isolation(timeout=2) as process:
        result = audit_hostile(name, process)
    (found,) = result.findings
    assert (found.name, found.outcome) == (EMPTY, "timed_out")
    assert "did not return within 2 s, at " in found.reason
    assert where in found.reason
    assert found.counterexample is not None
    assert result.count("passed") == 3
    assert result.to_json()["counts"]["timed_out"] == 1
    assert result.diagnosis is None  # the target would time out again


@linux
def test_out_of_memory_is_a_finding():
    with Isolation(memory=2**30) as process:
        result = audit_hostile("Hoard", process)
    (found,) = result.findings
    assert (found.name, found.outcome) == (EMPTY, "crashed")
    assert "MemoryError" in found.reason
    assert result.count("passed") == 3


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("CorrectRNN", {}),
        ("Warns", {}),
        ("WrongShape", dict.fromkeys(ALL, "y has shape")),
        ("WrongDtype", dict.fromkeys(ALL, "y has dtype complex128")),
        ("Nothing", dict.fromkeys(ALL, "forward returned a NoneType")),
        ("NaN", {FORWARD: "is nan"}),
        ("InPlace", {FORWARD: "but should be", UNCHANGED: "forward changed its argument x"}),
        ("Unsteady", {FORWARD: "but should be", REPEATED: "but should be exactly"}),
    ],
)
def test_faults_in_the_process_are_reported(process, name, found):
    result = audit_hostile(name, process)
    assert findings(result).keys() == found.keys()
    assert all(fragment in findings(result)[p][1] for p, fragment in found.items())
    assert all(p.outcome == "failed" and p.counterexample for p in result.findings)


def test_output_is_noted_not_shown(process, capfd):
    result = audit_hostile("Chatter", process)
    assert result.ok
    (note,) = [n for n in result.limitations if "printed" in n]
    assert note.endswith(r"they begin: '\x1b[31mhello from Python'")
    assert capfd.readouterr() == ("", "")
    assert not [n for n in audit_hostile("CorrectRNN", process).limitations if "printed" in n]


@posix
def test_output_of_c_is_noted(process):
    (note,) = [n for n in audit_hostile("ChatterInC", process).limitations if "printed" in n]
    assert "hello from C" in note


def test_target_that_always_exits_is_given_up(process):
    result = audit_hostile("AlwaysExits", process)
    assert {p.outcome for p in result.properties} == {"crashed"}
    assert (
        sum(p.counterexample is not None for p in result.properties)
        == explore.MAX_CONSECUTIVE_LOSSES
    )
    (left,) = [p for p in result.properties if p.counterexample is None]
    assert left.examples == 0
    assert left.reason.startswith(
        "not tried: the target was lost 3 times in a row, the last time in "
    )
    assert left.reason.endswith("its process ended with exit status 4")


# ---- loading


@posix
@pytest.mark.parametrize(
    ("source", "fragment"),
    [
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV"),
        ("import os; os._exit(0)", "ended with exit status 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("while True: pass", "did not return within 3 s"),
    ],
    ids=["segfault", "exit", "interrupt", "exception", "loop"],
)
def test_a_target_that_cannot_be_loaded_is_an_error_in_a_line(
    tmp_path, monkeypatch, source, fragment
):
    monkeypatch.setattr(isolation, "STARTUP_TIMEOUT_S", 3 if "while" in source else 60)
    (tmp_path / "mine.py").write_text(source)
    with Isolation(timeout=3) as process, pytest.raises(TargetError) as caught:
        process.load(f"{tmp_path / 'mine.py'}:Mine")
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_usage_error_stays_a_usage_error(process):
    with pytest.raises(UsageError, match="there is no cell 'x'"):
        process.load(f"{HOSTILE}:CorrectRNN", TargetOptions(cell="x"))


def test_a_target_and_what_it_starts_have_the_usual_import_path(process, tmp_path, monkeypatch):
    monkeypatch.delenv(import_path.SAFE, raising=False)
    (tmp_path / "neighbor.py").write_text("")
    (tmp_path / "script.py").write_text("import neighbor")
    source = (
        "import os, pathlib, subprocess, sys\n"
        "script = pathlib.Path(__file__).with_name('script.py')\n"
        "subprocess.run([sys.executable, script], check=True)\n"
        f"assert not {{{import_path.SAFE!r}, {import_path.ADDED!r}}} & {{*os.environ}}\n"
        f"{HOSTILE.read_text().replace('from __future__ import annotations', '')}"
    )
    (tmp_path / "mine.py").write_text(source)
    assert process.load(f"{tmp_path / 'mine.py'}:CorrectRNN").cell.name == "rnn"


# ---- nothing is left behind


AUDIT = """
import sys
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.isolation.run import open_target as opening
from gatecheck.auditing.options import AuditOptions
if __name__ == "__main__":
    with Isolation() as process, opening(process, sys.argv[1]) as opened:
        run_audit(opened, AuditOptions("quick", ("empty_sequence",)))
"""


@linux
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_target_ends_with_the_audit(tmp_path, sent):
    (tmp_path / "run.py").write_text(AUDIT)
    writes = (
        f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
        f"os.rename({str(tmp_path / 'pid')!r}, "
    )
    source = HOSTILE.read_text().replace(
        "def hold_the_lock():\n",
        f"def hold_the_lock():\n    {writes}{str(tmp_path / 'known')!r})\n",
    )
    (tmp_path / "mine.py").write_text(source)
    command = [sys.executable, tmp_path / "run.py", f"{tmp_path / 'mine.py'}:LoopInC"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "known").exists():
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(sent)
    running.wait(timeout=60)
    pid = int((tmp_path / "known").read_text())
    assert wait_until(30, lambda: not is_alive(pid))
