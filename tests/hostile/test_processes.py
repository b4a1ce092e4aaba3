"""An audit leaves no process and no file behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.processes import is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="promised on Linux")

COMMAND = "from gatecheck.cli import main; main()"

TARGET = """
import os, pathlib, subprocess, sys, tempfile, time
import numpy as np

HERE = pathlib.Path(__file__).parent
SCRIPT = f"import os, time; open({str(HERE)!r} + f'/started-{{os.getpid()}}', 'w'); time.sleep(999)"
SLEEP = [sys.executable, "-c", SCRIPT]
SHELL = ["sh", "-c", 'nohup setsid "$0" -c "$1" >/dev/null 2>&1 &', sys.executable, SCRIPT]

def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvpe(SLEEP[0], SLEEP, {"PATH": "/bin"})
        os._exit(0)

def start():
    START
    tempfile.mkdtemp()
    tempfile.NamedTemporaryFile(delete=False).write(b"left")

class Mine:
    cell = "rnn"
    convention = "canonical"
    started = False

    def forward(self, params, x, h0, c0=None):
        if not Mine.started:
            Mine.started = True
            start()
        HANG
        h = np.zeros((x.shape[1], len(params["U"])), x.dtype) if h0 is None else h0.copy()
        y = np.zeros((*x.shape[:2], len(params["U"])), x.dtype)
        for t in range(len(x)):
            h = y[t] = np.tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
        return y, h
"""

STARTS = {
    "a child": "subprocess.Popen(SLEEP)",
    "a session of its own": "subprocess.Popen(SLEEP, start_new_session=True)",
    "a daemon without an environment": "daemon()",
    "a daemon of a shell": "subprocess.run(SHELL)",
}
"""Ways in which a target starts a process that outlives it."""


@pytest.fixture
def audit(tmp_path):
    """Return a starter of an audit in a folder with its own temporary files."""
    room = tmp_path / "room"
    room.mkdir()

    def start(how, hang="pass", *more):
        source = TARGET.replace("START", STARTS[how]).replace("HANG", hang)
        (tmp_path / "mine.py").write_text(source)
        words = ["audit", "mine.py:Mine", "--profile", "quick", "--only", "forward_within_budget"]
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words, *more],
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(room)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def started(folder):
    """Return the processes that a target started."""
    return [int(path.name.removeprefix("started-")) for path in folder.glob("started-*")]


def nothing_is_left(folder):
    """Return whether processes and temporary files are gone, in some seconds."""
    return wait_until(
        15,
        lambda: not any(map(is_alive, started(folder))) and not list((folder / "room").iterdir()),
    )


@pytest.mark.parametrize("how", STARTS)
def test_after_an_audit(audit, tmp_path, how):
    # The target waits for its process, which has time to start.
    wait = "[time.sleep(0.05) for _ in range(100) if not list(HERE.glob('started-*'))]"
    process = audit(how, wait)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert len(started(tmp_path)) == 1
    assert nothing_is_left(tmp_path)


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
@pytest.mark.parametrize("how", ["a child", "a daemon without an environment"])
def test_after_a_signal(audit, tmp_path, how, sent):
    process = audit(how, "time.sleep(1000)")
    assert wait_until(60, lambda: started(tmp_path))
    process.send_signal(sent)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in printed
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("how", ["a session of its own", "a daemon without an environment"])
def test_after_a_crash(audit, tmp_path, how):
    process = audit(how, "os.abort() if list(HERE.glob('started-*')) else time.sleep(0.2)")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1, printed
    assert "SIGABRT" in printed
    assert nothing_is_left(tmp_path)


def children(pid):
    """Return the children of a process."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_next_audit_removes_what_a_killed_supervisor_left(audit, tmp_path):
    process = audit("a session of its own", "time.sleep(1000)")
    assert wait_until(60, lambda: started(tmp_path))
    (supervisor,) = children(process.pid)
    # Stopped first, so that neither can clean up after the other.
    os.kill(supervisor, signal.SIGSTOP)
    process.kill()
    process.communicate()
    os.kill(supervisor, signal.SIGKILL)
    time.sleep(0.5)
    assert any(map(is_alive, started(tmp_path)))
    assert list((tmp_path / "room").iterdir())
    next_one = audit("a child")
    next_one.communicate(timeout=60)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name
)
def test_an_interrupted_audit_prints_and_writes_what_is_known(audit, tmp_path, sent):
    hang = (
        "self.__dict__.update(n=getattr(self, 'n', 0) + 1); time.sleep(999 if self.n > 40 else 0)"
    )
    more = ("--only", "repeated_calls_are_identical", "--json", "known.json")
    process = audit("a child", hang, *more)
    assert wait_until(60, lambda: started(tmp_path))
    time.sleep(3)
    process.send_signal(sent)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + sent
    assert "interrupted" in printed.splitlines()[-1]
    assert "held on" in " ".join(printed.split())
    known = json.loads((tmp_path / "known.json").read_text())
    assert known["interrupted"]
    assert known["verdict"] == "inconclusive"
    assert nothing_is_left(tmp_path)
