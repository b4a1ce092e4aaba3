"""Every installed target is audited as it would be alone, several at a time."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gatecheck.auditing import audit_installed as everything
from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.audit_installed import audit_installed
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions, TargetOptions
from gatecheck.errors import UsageError
from helpers.paths import HOSTILE
from helpers.processes import is_alive, wait_until

ONLY = ("empty_sequence", "forward_within_budget")
TARGETS = [
    (f"{HOSTILE}:Segfault", None),
    ("builtin:rnn", None),
    ("onnxruntime:RNN", "rnn-relu"),
    ("builtin:gru", None),
]


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setattr(everything.loading, "installed_targets", lambda: TARGETS)


def test_results_equal_single_audits_in_order(four, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = []
    options = AuditOptions("quick", ONLY, seed=3)
    found = audit_installed(
        60,
        str(tmp_path / "cases"),
        options=options,
        done=lambda *now: done.append(now),
        workers=2,
    )
    assert [r.implementation for r in found] == [name for name, _ in TARGETS]
    assert [(number, of) for number, of, _ in done] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {id(r) for _, _, r in done} == {id(r) for r in found}
    assert [r.verdict for r in found] == ["fail", "pass", "pass", "pass"]
    assert "SIGSEGV" in found[0].findings[0].reason
    assert all(Path(p.saved_path).exists() for p in found[0].findings)
    assert [path.name for path in tmp_path.iterdir()] == ["cases"]
    alone = []
    with Isolation() as process:
        for name, cell in TARGETS[1:]:
            with open_target(process, name, TargetOptions(cell)) as opened:
                alone.append(run_audit(opened, options))
    assert [r.to_json() for r in found[1:]] == [r.to_json() for r in alone]


@pytest.mark.parametrize(
    ("how", "message"),
    [({"only": ("forward",)}, "no property forward"), ({"profile": "slow"}, "no profile 'slow'")],
)
def test_usage_errors_come_before_anything_starts(monkeypatch, tmp_path, how, message):
    monkeypatch.setattr(everything, "map_jobs", lambda *a, **k: pytest.fail("it started"))
    with pytest.raises(UsageError, match=message):
        audit_installed(60, str(tmp_path), options=AuditOptions(**how), done=print)


SCRIPT = """
import os, pathlib, time
from gatecheck.cli import main
from gatecheck.targets import loading

class Waits:
    cell = "rnn"

    def forward(self, params, x, h0):
        pathlib.Path(f"told-{os.getpid()}").touch()
        time.sleep(300)

if __name__ == "__main__":
    loading.installed_targets = lambda: [("script.py:Waits", None)] * 2
    main(["audit", "--only", "forward_within_budget"])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_an_interrupt_ends_all_and_leaves_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "room").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "room")}
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while len(told := list(tmp_path.glob("told-*"))) < 2:
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said.splitlines()[-1]) == (
        130,
        "gatecheck: interrupted; nothing more was written",
    )
    assert "Traceback" not in said
    assert not list((tmp_path / "room").iterdir())
    pids = [int(path.name.removeprefix("told-")) for path in told]
    assert wait_until(30, lambda: not any(map(is_alive, pids)))
