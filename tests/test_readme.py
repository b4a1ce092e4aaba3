"""The README is true: its code runs, its commands parse, its figures are those in reports/."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gatecheck.auditing.runner import audit, claims
from gatecheck.cli import main
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from gatecheck.targets.loading import load

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def blocks(kind):
    return [body for k, body in BLOCKS if k == kind]


def commands():
    lines = "\n".join([*blocks("sh"), *re.findall(r"`(gatecheck [^`]+)`", README), *re.findall(r"replay: (.*)", README)])
    return [command for line in lines.splitlines() for command in re.findall(r"(?:^|&& )(gatecheck .*?)(?:\s+#|\s*>|$)", line)]


def test_the_implementation_in_the_readme_is_right(tmp_path):
    path = tmp_path / "my_lstm.py"
    path.write_text(blocks("python")[0])
    result = audit(load(f"{path}:MyLSTM"), profile="quick")
    assert result.verdict == "pass", result.findings


def test_the_python_in_the_readme_runs():
    exec(blocks("python")[1], {})


@pytest.mark.parametrize("k", [3, 4])
def test_conventions_and_a_cell_of_its_own_in_the_readme_run(k):
    exec(blocks("python")[k], {})


def test_the_tests_in_the_readme_are_tests(tmp_path, monkeypatch):
    (tmp_path / "my_lstm.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    made = {}
    exec(blocks("python")[2], made)
    (mark,) = made["test_my_lstm"].pytestmark
    assert len(mark.args[1]) > 30


@pytest.mark.parametrize("command", commands())
def test_a_command_in_the_readme_is_one(command):
    _, name, *arguments = shlex.split(command)
    known = main.commands[name]
    if "--help" not in arguments:
        known.make_context(name, [a for a in arguments if a != "…"])


def test_the_number_of_claims_is_right():
    assert f"({len(claims())} in all)" in README


def test_the_verdicts_shown_are_those_of_an_audit():
    shown = re.findall(r"builtin:(\S+)\s+\S+\s+pass\s+(\d+)\s+·\s+·\s+·\s+(\d+)", README)
    assert shown
    for cell, ran, skipped in shown:
        apply = [c for c in claims() if not c.inapplicable(subject(Builtin(cell)))]
        assert (len(apply), len(claims()) - len(apply)) == (int(ran), int(skipped))


@pytest.mark.parametrize("report", ["calibration/calibration.txt", "decay/decay.txt", "faults/faults.txt"])
def test_figures_are_those_of_the_reports(report):
    lines = [line.strip() for line in (ROOT / "reports" / report).read_text(encoding="utf-8").splitlines()]
    quoted = [line.strip() for line in README.splitlines()]
    for line in lines:
        # Of the faults and of the calibration the README quotes the first table.
        if line.startswith(("property", "Spread over")):
            break
        if re.search(r"\d", line) and not line.startswith("written"):
            assert line in quoted
