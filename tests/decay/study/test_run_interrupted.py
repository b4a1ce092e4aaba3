"""Ctrl-C during ``gatecheck decay``, as a terminal sends it, and its resumption."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatecheck.cli import main
from gatecheck.decay.jobs.checkpoints import PartStore
from gatecheck.decay.study import run
from gatecheck.errors import WorkerLostError
from helpers.small_studies import run_study

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals to a group of processes are POSIX's"
)

SWEEP = "decay --cell lstm --cell rnn --init uniform --hidden 16 --inputs 2 --steps 10000 --seeds 3"


def without_figures(patch):
    """Hide matplotlib: a figure takes longer than these sweeps."""
    for name in ["matplotlib", *(n for n in sys.modules if n.startswith("matplotlib."))]:
        patch.setitem(sys.modules, name, None)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    without_figures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the output of a sweep that is never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        done = CliRunner().invoke(main, [*SWEEP.split(), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert not (out / "parts").exists()
    return (out / "decay.json").read_bytes()


def processes(group):
    """Return the processes of a group that have not ended."""
    listed = subprocess.run(
        ["ps", "-wwA", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    return [
        line
        for line in listed.splitlines()
        if line.split()[0] == str(group) and not line.split()[1].startswith("Z")
    ]


def interrupt_command(command, number):
    """Send a signal to all processes of a command once a part is finished.

    Returns its exit status and output.
    """
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    begun = subprocess.Popen(["gatecheck", *command.split()], start_new_session=True, **pipes)
    end = time.monotonic() + 60
    while not list(Path().glob("*/parts/*.npz")):
        assert begun.poll() is None, begun.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(begun.pid, number)
    output = begun.communicate(timeout=20)
    while processes(begun.pid):
        assert time.monotonic() < end
        time.sleep(0.02)
    return begun.returncode, *output


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_kept_and_the_rest_ends_at_the_same_bytes(folder, expected, workers):
    status, out, errors = interrupt_command(
        f"{SWEEP} --workers {workers} --out mine", signal.SIGINT
    )
    assert status == 130
    assert out == ""
    match = re.fullmatch(
        r"gatecheck: interrupted; (\d) of 6 parts.* are kept in mine/parts; "
        r"to continue: (gatecheck decay .* --resume)\n",
        errors.lstrip("\n"),
    )
    assert match, errors
    assert 1 <= int(match[1]) < 6
    assert not (folder / "mine" / "decay.json").exists()
    assert all(file.suffix == ".npz" for file in (folder / "mine" / "parts").iterdir())
    again = CliRunner().invoke(main, shlex.split(match[2])[1:])
    assert again.exit_code == 0, again.output
    assert again.stderr == ""
    assert (folder / "mine" / "decay.json").read_bytes() == expected
    assert not (folder / "mine" / "parts").exists()


def test_a_killed_sweep_resumes_too(folder, expected):
    status, _, errors = interrupt_command(f"{SWEEP} --workers 2 --out mine", signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    (said,) = errors.splitlines()
    assert said.startswith("gatecheck: interrupted by SIGTERM; ")
    assert said.endswith("--resume")
    done = CliRunner().invoke(main, [*SWEEP.split(), "--out", "mine", "--resume"])
    assert done.exit_code == 0, done.output
    assert (folder / "mine" / "decay.json").read_bytes() == expected


def test_a_forgotten_resume_is_reported(folder, expected):
    store = PartStore("mine/parts")
    run_study(("lstm",), ("uniform",), hidden=16, inputs=2, steps=10000, seeds=2, store=store)
    done = CliRunner().invoke(main, [*SWEEP.split(), "--out", "mine"])
    assert done.exit_code == 0
    assert done.stderr == (
        "gatecheck: mine/parts holds 2 of the 6 parts of this sweep already; "
        "they are computed again, since resume was not asked for\n"
    )
    assert (folder / "mine" / "decay.json").read_bytes() == expected


def test_a_cluster_and_processes_exclude_each_other():
    done = CliRunner().invoke(main, ["decay", "--workers", "2", "--dask", "tcp://localhost:1"])
    assert done.exit_code == 2
    assert (
        done.output
        == "gatecheck: --workers is for this machine and --dask for a cluster: give one of them\n"
    )


def test_a_lost_process_is_reported_with_the_command_to_continue(monkeypatch):
    def lost(*arguments, **more):
        raise WorkerLostError("it was killed")

    monkeypatch.setattr(run, "decay", lost)
    done = CliRunner().invoke(
        main,
        ["decay", "--cell", "rnn", "--out", "my folder", "--workers", "2"],
        prog_name="gatecheck",
    )
    assert done.exit_code == 3
    command = "gatecheck decay --cell rnn --out 'my folder' --workers 2 --resume"
    assert done.output == f"gatecheck: it was killed; to continue: {command}\n"
