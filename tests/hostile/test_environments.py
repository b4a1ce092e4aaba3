"""Odd ways to start and to end a command: it works, or one line says why not."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatecheck._util.cache_dir import cache_root
from gatecheck._util.processes import signal_name
from gatecheck.errors import WITHOUT_DOCSTRINGS
from helpers.processes import is_alive, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX's descriptors and signals")

FILES = {
    "mine.py": "from gatecheck import Builtin\nMine = Builtin('rnn')\n",
    "waits.py": """
import os, pathlib, time
from gatecheck import Builtin

class Waits(Builtin):
    def __init__(self):
        super().__init__("rnn")

    def forward(self, *arguments, **more):
        pathlib.Path(f"told-{os.getpid()}").touch()
        time.sleep(300)
""",
}

ONE_CHECK = "--profile quick --only forward_within_budget"

OWN = f"audit builtin:rnn {ONE_CHECK}"

TARGET = f"audit mine.py:Mine {ONE_CHECK}"

PASSED = "1 ran, 0 failed"


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a command in a shell."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def run(command, before="", after="", **environment):
        line = f"{before} {shlex.quote(sys.executable)} -m gatecheck {command} {after}"
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
        )
        for said in (done.stdout, done.stderr):
            assert "Traceback" not in said
            assert "Exception ignored" not in said
        return done.returncode, done.stdout, done.stderr

    return run


# ---- Python's own options


@pytest.mark.parametrize("command", [TARGET, "decay", "properties"])
def test_without_docstrings_there_are_no_theorems(run, command):
    status, out, said = run(command, PYTHONOPTIMIZE="2")
    assert (status, out, said) == (2, "", f"gatecheck: {WITHOUT_DOCSTRINGS}\n")


def test_a_property_without_docstrings_says_so():
    code = "from gatecheck.auditing.selection import select_properties as s; s()"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith(f"UsageError: {WITHOUT_DOCSTRINGS}")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONOPTIMIZE": "1"},
        {"PYTHONWARNINGS": "error"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb"},
        {"COLUMNS": "0"},
        {"COLUMNS": "20"},
        {"COLUMNS": "x", "TMPDIR": "/nonexistent"},
    ],
    ids=repr,
)
def test_an_environment_changes_no_verdict(run, environment):
    status, out, said = run(TARGET, **environment)
    assert (status, said) == (0, "")
    assert out.splitlines()[-1].startswith("pass  mine.py:Mine as rnn: 1 ran, 0 failed")


# ---- descriptors


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_descriptors(run, closed):
    status, out, said = run(TARGET, after=f"--json a.json {closed}")
    assert (status, said) == (0, "")
    assert (PASSED in out) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.parametrize("after", [">&- 2>&-", "2>/dev/full", "2> >(true)"])
def test_an_error_without_a_place_for_it_keeps_its_status(run, after):
    assert run("audit no_such_module:X", after=after)[0] == 3


def test_a_reader_that_left_changes_neither_status_nor_files(run, tmp_path):
    for k, command in enumerate((OWN, TARGET, f"audit mine.py:Mine --only no_such {ONE_CHECK}")):
        _, out, _ = run(
            command, after=f"--json {k}.json | true; echo ${{PIPESTATUS[0]}} >status-{k}"
        )
        assert out == ""
    assert [(tmp_path / f"status-{k}").read_text() for k in range(3)] == ["0\n", "0\n", "2\n"]
    assert all((tmp_path / f"{k}.json").exists() for k in range(2))


# ---- what the system does not give


@pytest.mark.parametrize(
    ("before", "status", "says"),
    [
        ("ulimit -f 0;", 3, "the system does not let it run: No usable temporary directory"),
        ("ulimit -n 6;", 3, "the system does not let it run: "),
        ("ulimit -n 64;", 0, ""),
    ],
)
def test_limits(run, before, status, says):
    found, out, said = run(TARGET, before)
    assert found == status, said
    assert len(said.splitlines()) == (status != 0)
    assert said.startswith(f"gatecheck: {says}" if status else "")
    assert (PASSED in out) == (status == 0)


@pytest.mark.parametrize("home", ["/nonexistent", "/dev/null", ""])
def test_homes(run, home):
    status, out, said = run(OWN, HOME=home, XDG_CACHE_HOME="", NUMBA_CACHE_DIR=str(cache_root()))
    assert (status, said) == (0, "")
    assert PASSED in out


def test_a_damaged_package_is_one_line(run, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "scipy.py").write_text("raise ImportError('no libfortran')")
    status, out, said = run("decay", PYTHONPATH=str(tmp_path / "broken"))
    assert (status, out) == (3, "")
    assert said == "gatecheck: a package cannot be imported: no libfortran\n"


def may_become_another():
    """Return whether this is root, whose Python other users may run."""
    folders = Path(os.path.realpath(sys.executable)).parents
    return (
        os.name == "posix" and os.geteuid() == 0 and all(p.stat().st_mode & 0o001 for p in folders)
    )


if may_become_another():

    @pytest.mark.parametrize("cwd", ["own", "/"])
    def test_another_user(tmp_path, cwd):
        """Run as a user with no home, in a folder that is theirs or is not."""
        (tmp_path / "own").mkdir()
        os.chown(tmp_path / "own", 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-m", "gatecheck", *OWN.split()],
            cwd=tmp_path / cwd,
            env={"PATH": os.environ["PATH"]},
            user=65534,
            group=65534,
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == (0 if cwd == "own" else 2), done.stderr


# ---- signals

SIGNALS = ["SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGRTMIN+5"]


def number_of(name):
    base, _, more = name.partition("+")
    return int(getattr(signal, base)) + int(more or 0)


@pytest.fixture
def interrupt(tmp_path):
    """Return a function that starts an audit of a target that waits, and signals it."""
    (tmp_path / "waits.py").write_text(FILES["waits.py"])
    (tmp_path / "room").mkdir()

    def interrupt(*numbers, group=False, before=()):
        process = subprocess.Popen(
            [
                *before,
                sys.executable,
                "-m",
                "gatecheck",
                *f"audit waits.py:Waits {ONE_CHECK}".split(),
            ],
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(tmp_path / "room")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert wait_until(90, lambda: list(tmp_path.glob("told-*")) or process.poll())
            for number in numbers:
                (os.killpg if group else os.kill)(process.pid, number)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
        (told,) = tmp_path.glob("told-*")
        pid = int(told.name.removeprefix("told-"))
        assert wait_until(30, lambda: not is_alive(pid))
        assert list((tmp_path / "room").iterdir()) == []
        return process.returncode, said

    return interrupt


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_an_audit_as_ctrl_c_does(interrupt, name):
    number = number_of(name)
    status, said = interrupt(number)
    assert status == 128 + number
    how = "interrupted" if name == "SIGINT" else f"interrupted by {name}"
    assert said.splitlines()[-1].startswith(f"gatecheck: {how};")
    assert "Traceback" not in said


def test_a_terminal_that_closes_ends_an_audit_once(interrupt):
    status, said = interrupt(signal.SIGHUP, signal.SIGHUP, group=True)
    assert status == 128 + signal.SIGHUP
    assert len(said.splitlines()) == 1


TWICE = """
import os, signal, time
from gatecheck._util.processes import raise_on_signals
from gatecheck.errors import Interrupted
raise_on_signals()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except Interrupted as first:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        time.sleep(0.01)
    print(first.number)
"""


def test_more_signals_do_not_disturb_the_end():
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{int(signal.SIGTERM)}\n"), done.stderr


def test_an_ignored_signal_stays_ignored(interrupt):
    status, _ = interrupt(signal.SIGHUP, signal.SIGTERM, before=["nohup"])
    assert status == 128 + signal.SIGTERM


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_have_names(name):
    assert signal_name(number_of(name)) == name
