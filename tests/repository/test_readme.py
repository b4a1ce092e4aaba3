"""The README is true: its code runs, its commands parse, its figures are those in reports/."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from gatecheck.auditing.audit import audit, claims
from gatecheck.cli import main
from gatecheck.targets.loading import load
from helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def blocks(kind):
    return [body for k, body in BLOCKS if k == kind]


def commands():
    lines = "\n".join(
        [
            *blocks("sh"),
            *re.findall(r"`(gatecheck [^`]+)`", README),
            *re.findall(r"replay: (.*)", README),
        ]
    )
    return [
        command
        for line in lines.splitlines()
        for command in re.findall(r"(?:^|&& )(gatecheck .*?)(?:\s+#|\s*>|$)", line)
    ]


def named(name):
    """The code that the README puts into a file of that name."""
    (found,) = [body for body in blocks("python") if body.startswith(f"# {name}")]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the README's files in it, where one is."""
    for name in ("my_lstm.py", "my_net.py", "answer.py"):
        (tmp_path / name).write_text(named(name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_lstm", None)


def test_the_implementation_in_the_readme_is_right(folder):
    result = audit(load("my_lstm.py:MyLSTM"), profile="quick")
    assert result.verdict == "pass", result.findings


def test_the_module_in_the_readme_is_right(folder):
    result = audit(
        load("my_net.py:Encoder", cell="lstm"),
        profile="quick",
        only=["forward_within_budget", "gradients_within_budget"],
    )
    assert result.verdict == "pass", result.findings
    assert "axes BTD" in result.narrowings[0]


def test_the_answers_to_vectors_in_the_readme_are_right(folder):
    def gk(*words):
        done = CliRunner().invoke(main, ["vectors", *words])
        assert done.exit_code == 0, done.output

    gk("export", "my-vectors", "--cell", "lstm", "--convention", "pytorch", "--cases", "2")
    subprocess.run(
        [sys.executable, "../answer.py"],
        cwd="my-vectors",
        env=os.environ | {"PYTHONPATH": str(folder)},
        check=True,
    )
    gk("check", "my-vectors")


def test_the_tests_in_the_readme_are_tests(folder):
    (code,) = [body for body in blocks("python") if "def test_" in body]
    made = {}
    exec(code, made)
    (mark,) = made["test_my_lstm"].pytestmark
    assert len(mark.args[1]) > 30


@pytest.mark.parametrize(
    "code",
    [body for body in blocks("python") if "my_" not in body.split("class")[0]],
    ids=lambda code: code[-40:],
)
def test_every_other_code_in_the_readme_runs(code):
    exec(code, {})


def test_the_workflow_in_the_readme_is_one():
    """Its steps are commands and actions, its files are those that the next step keeps, and
    gatecheck takes the options.
    """
    (text,) = blocks("yaml")
    steps = yaml.safe_load(text)["jobs"]["audit"]["steps"]
    assert all({"uses", "run"} & set(step) for step in steps)
    (line,) = [step["run"] for step in steps if step.get("run", "").startswith("gatecheck")]
    words = shlex.split(line)[2:]
    asked = (
        main.commands["audit"].make_context("audit", list(words), **main.context_settings).params
    )
    kept = steps[-1]["with"]["path"].split()
    assert [str(asked["junit"]), str(asked["json"]), asked["folder"]] == kept
    assert str(asked["markdown"]) == "$GITHUB_STEP_SUMMARY"


@pytest.mark.parametrize("command", commands())
def test_a_command_in_the_readme_is_one(command):
    _, name, *arguments = shlex.split(command)
    known = main.commands[name]
    if "--help" not in arguments:
        known.make_context(name, [a for a in arguments if a != "…"], **main.context_settings)


def test_the_number_of_claims_is_right():
    assert f"in {len(claims())} claims" in README


REPORTS = {
    "calibration/calibration.txt": "alarms",
    "decay/decay.txt": "theory",
    "faults/faults.txt": "killed",
}


@pytest.mark.parametrize("report", REPORTS)
def test_figures_are_those_of_the_reports(report):
    (quoted,) = [body for body in blocks("text") if REPORTS[report] in body and "──" in body]
    lines = {
        line.strip()
        for line in (ROOT / "reports" / report).read_text(encoding="utf-8").splitlines()
    }
    strange = [line for line in quoted.splitlines() if line.strip() not in lines]
    assert not strange


def test_the_steps_of_truncation_are_those_of_the_study():
    (quoted,) = re.findall(r"^> (.*)$", README, re.MULTILINE)
    study = (ROOT / "reports/gradient_decay/decay.md").read_text(encoding="utf-8")
    assert quoted in study.partition("**lstm uniform**")[2].partition("**")[0]


def test_what_is_linked_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 5
    assert not [link for link in links if not (ROOT / link).exists()]
