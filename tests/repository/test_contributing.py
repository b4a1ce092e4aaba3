"""The examples in docs/contributing.md, applied to a copy of the tree.

Each has under 30 lines, and does what the page says.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from helpers.paths import ROOT

PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
DIFFS = {
    re.search(r"rows_twice|tinyrnn|step before", body)[0]: body
    for body in re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
}


@pytest.fixture
def tree(request, tmp_path, find_program):
    """Apply an example to a copy of the tree, and return a runner of commands."""
    for name in ("gatecheck", "properties", "tests/properties"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "tests")
    shutil.copy(ROOT / "tests/examples/tinyrnn.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\n"
    )
    command = [find_program("git"), "apply", "-C1", "-"]
    subprocess.run(command, input=DIFFS[request.param], encoding="utf-8", check=True, cwd=tmp_path)
    # where the wheel has it
    shutil.copytree(tmp_path / "properties", tmp_path / "gatecheck/properties")

    def run(command, *more):
        assert command in PAGE
        program, *words = shlex.split(command)
        call = {
            "gatecheck": ["-c", "from gatecheck.cli import main; main()"],
            "pytest": ["-m", "pytest", "-p", "no:cacheprovider"],
        }
        done = subprocess.run(
            [sys.executable, *call[program], *words, *more],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200", "PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_examples_are_three_and_short():
    assert set(DIFFS) == {"rows_twice", "tinyrnn", "step before"}
    for body in DIFFS.values():
        assert 0 < len(re.findall(r"^\+(?!\+\+)", body, re.MULTILINE)) < 30


@pytest.mark.parametrize("tree", ["rows_twice"], indirect=True)
def test_a_property_fails_on_its_fault_and_holds_elsewhere(tree):
    status, printed = tree("pytest tests/properties/test_planted.py -k rows_twice")
    assert status == 0, printed
    assert "1 passed" in printed
    status, printed = tree(
        "gatecheck audit builtin:lstm --only rows_twice_give_gradients_twice", "--profile", "quick"
    )
    assert status == 0, printed
    assert "1 ran" in printed


@pytest.mark.parametrize("tree", ["step before"], indirect=True)
def test_a_fault_is_caught(tree):
    status, printed = tree('gatecheck faults --name "gru: mix by z of the step before"')
    assert status == 0, printed
    assert "The mix uses the update gate of the step before." in printed
    assert "forward_within_budget" in printed


@pytest.mark.parametrize("tree", ["tinyrnn"], indirect=True)
def test_a_framework_is_audited(tree):
    status, printed = tree(
        "gatecheck audit tinyrnn:GRU", "--profile", "quick", "--only", "forward_within_budget"
    )
    assert status == 0, printed
    assert "tinyrnn:GRU as gru: 1 ran" in printed
    status, printed = tree("gatecheck conventions")
    assert status == 0, printed
    assert "tinyrnn" in printed
