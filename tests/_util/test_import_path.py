"""Files in a user's folder shadow neither gatecheck nor the standard library."""

import os
import subprocess
import sys
import sysconfig

import pytest

from gatecheck._util.import_path import (
    ADDED,
    SAFE,
    path_with,
    restore_environment,
    safe_path_for_children,
)

CELL = """
import numpy as np
import secrets  # no module of ours imports it first

assert "SHADOWED" not in dir(secrets)


class Cell:
    cell = "rnn"

    def forward(self, params, x, h0, c0=None):
        h = np.zeros((x.shape[1], params["U"].shape[0]), x.dtype) if h0 is None else h0
        y = np.zeros((len(x), *h.shape), x.dtype)
        for t in range(len(x)):
            h = y[t] = np.tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
        return y, h
"""

SHADOWS = ["random", "types", "secrets", "queue", "signal", "gatecheck", "numpy"]

COMMANDS = [
    ["audit", "cell.py:Cell", "--profile", "quick"],
    ["decay", "--cell", "rnn", "--hidden", "4", "--steps", "20", "--seeds", "2", "--workers", "2"],
]


@pytest.fixture
def run(tmp_path):
    """Run a command in a folder whose files are named like modules."""
    folder, script = tmp_path / "project", tmp_path / "script.py"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text("SHADOWED = True\nraise SystemExit('shadowed')")
    (folder / "gatecheck.py").rename(folder / "gatecheck_.py")
    (folder / "gatecheck").mkdir()
    (folder / "gatecheck" / "__init__.py").write_text("raise SystemExit('a clone')")
    (folder / "cell.py").write_text(CELL)
    script.write_text(
        "from gatecheck.cli import main\nif __name__ == '__main__':\n    "
        "main(prog_name='gatecheck')"
    )

    def run(*words):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
        return subprocess.run(
            [sys.executable, str(script), *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_file_of_a_folder_is_taken_for_a_module(run, command):
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shadowed" not in done.stdout + done.stderr


def test_a_folder_comes_after_the_standard_library_and_before_what_is_installed(tmp_path):
    path = path_with(tmp_path)
    at = path.index(str(tmp_path))
    assert path[:at] + path[at + 1 :] == sys.path
    assert at > path.index(sysconfig.get_path("stdlib"))
    installed = [k for k, entry in enumerate(path) if entry.endswith("site-packages")]
    assert installed
    assert at < installed[0]


def test_what_a_target_starts_has_the_environment_of_the_user(monkeypatch):
    monkeypatch.delenv(SAFE, raising=False)
    with safe_path_for_children():
        assert os.environ[SAFE]
        restore_environment()  # as a child does
        assert {SAFE, ADDED}.isdisjoint(os.environ)
    monkeypatch.setenv(SAFE, "yes")
    with safe_path_for_children():
        restore_environment()
        assert os.environ[SAFE] == "yes"
    assert os.environ[SAFE] == "yes"
