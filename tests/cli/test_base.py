"""Full disks, unwritable folders and broken settings: one line and an exit status."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gatecheck.cases import draw
from gatecheck.cells import RNN, Sizes
from gatecheck.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's limits and devices")

ONE_PROPERTY = ["--profile", "quick", "--only", "forward_within_budget"]


STUDY = """
steps = 40
seeds = 1
hidden = 4
inputs = 2
network = [{cell = "rnn", init = "uniform"}]
measure = {paths = false, inputs = false, gates = false, truncation = false}
"""


def run_gatecheck(*words, limit=None, stdout=subprocess.PIPE, **more):
    """Run a command; return its exit status, output and errors."""

    # Set by the process itself: forking to set the limit would cause a warning if another test has
    # imported JAX.
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        if limit
        else ""
    )
    code = f"{limited}from gatecheck.cli import main; main(prog_name='gatecheck')"
    how = dict(stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    if limit:  # measuring coverage there would need disk space too
        how["env"] = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("COVERAGE_PROCESS")
        }
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], **how, **more)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- no room


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["audit", "builtin:rnn", *ONE_PROPERTY, "--json", "a.json"], "a.json"),
        (["audit", "builtin:rnn", *ONE_PROPERTY, "--html", "a.html"], "a.html"),
        (["faults", "--name", "lstm: dc not carried", "--first", "--figure", "a.png"], "a.png"),
        (["vectors", "export", "a", "--cell", "rnn", "--cases", "1"], "the folder a"),
        (
            [
                "decay",
                "--cell",
                "rnn",
                "--init",
                "uniform",
                "--hidden",
                4,
                "--inputs",
                2,
                "--steps",
                40,
                "--out",
                "a",
            ],
            "a/parts/",
        ),
    ],
)
def test_a_full_disk_is_one_line(folder, words, file):
    status, _, said = run_gatecheck(*words, limit=500)
    assert status == 2
    (line,) = [line for line in said.splitlines() if "compiled kernels" not in line]
    assert line.startswith(f"gatecheck: {file}")
    assert line.endswith("cannot be written: File too large")
    assert not [
        path for path in folder.rglob("*") if path.is_file() and ".hypothesis" not in path.parts
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's device")
@pytest.mark.parametrize(
    "words", [["--help"], ["audit", "--help"], ["properties"], ["conventions"]]
)
def test_a_full_output_device_is_one_line(words):
    with open("/dev/full", "w") as full:
        assert run_gatecheck(*words, stdout=full)[::2] == (
            2,
            "gatecheck: the output cannot be written: No space left on device\n",
        )


# ---- a cache that cannot be written


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "builtin:rnn", "--replay", "case.npz"],
        ["audit", "mine.py:Mine", "--cell", "rnn", "--replay", "case.npz"],
        ["decay", "study.toml", "--workers", 2],
    ],
)
def test_an_unwritable_kernel_cache_warns_once(folder, words):
    """Warn once, on one case and in a small study, which need few kernels."""
    (folder / "study.toml").write_text(STUDY)
    (folder / "mine.py").write_text("from gatecheck import Builtin\nMine = Builtin('rnn')\n")
    draw(RNN(), Sizes(2, 2, 1, 3), seed=0, dtype="float32").save(
        "case.npz", property="outputs_are_causal", implementation="x"
    )
    (folder / "file").touch()
    status, _, said = run_gatecheck(
        *words, env=os.environ | {"NUMBA_CACHE_DIR": str(folder / "file"), "NUMBA_OPT": "0"}
    )
    assert status == 0
    (line,) = said.splitlines()
    assert line.startswith("gatecheck: compiled kernels cannot be cached (")
    assert line.endswith(
        "), so each process compiles its own; set NUMBA_CACHE_DIR to a writable folder"
    )


# ---- settings


@pytest.mark.parametrize(
    "text",
    [
        "[tool",
        "[tool.gatecheck]\nseed = 'x'\n",
        "tool = 3",
        "a = " + "[" * 5000,
        "\xff",
        "[tool.gatecheck]\nno = 1",
    ],
)
def test_help_works_with_broken_settings(folder, text):
    (folder / "pyproject.toml").write_bytes(text.encode("latin-1"))
    (folder / "deep").mkdir()
    os.chdir("deep")
    for option in ("--help", "-h"):
        found = CliRunner().invoke(main, ["audit", option])
        assert (found.exit_code, found.output.split()[0]) == (0, "Usage:"), found.output
    found = CliRunner().invoke(main, ["audit", "builtin:rnn", *ONE_PROPERTY])
    assert found.exit_code == 2
    assert found.output.startswith(f"gatecheck: {folder / 'pyproject.toml'}")
    assert len(found.output.splitlines()) == 1


def test_a_removed_working_folder(folder):
    (folder / "gone").mkdir()
    os.chdir("gone")
    (folder / "gone").rmdir()
    assert CliRunner().invoke(main, ["audit", "--help"]).exit_code == 0
    found = CliRunner().invoke(main, ["audit", "builtin:rnn", *ONE_PROPERTY])
    assert found.exit_code == 2
    assert (
        found.output
        == "gatecheck: the folder gatecheck-cases cannot be written: No such file or directory\n"
    )
