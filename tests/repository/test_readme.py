"""The README and the pages of docs/: code runs, commands parse, figures are true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from gatecheck.auditing.audit import audit
from gatecheck.auditing.selection import select_properties
from gatecheck.cli import main
from gatecheck.targets.loading import load
from helpers.paths import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README = PAGES["README.md"]
BLOCKS = [
    (kind, body)
    for text in PAGES.values()
    for kind, body in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
]


def blocks(kind):
    return [body for k, body in BLOCKS if k == kind]


def commands():
    text = "\n".join(PAGES.values())
    quoted = [" ".join(found.split()) for found in re.findall(r"`(gatecheck [^`]+)`", text)]
    lines = "\n".join([*blocks("sh"), *quoted, *re.findall(r"replay: (.*)", text)])
    found = [
        command
        for line in lines.splitlines()
        for command in re.findall(r"(?:^|&& )(gatecheck .*?)(?:\s+#|\s*>|$)", line)
    ]
    return list(dict.fromkeys(found))


def code_of(name):
    """Return the code that the pages put into a file of that name."""
    (found,) = [body for body in blocks("python") if body.startswith(f"# {name}")]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to a folder that holds the files of the pages."""
    for name in ("my_lstm.py", "my_net.py", "answer.py"):
        (tmp_path / name).write_text(code_of(name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_lstm", None)


def test_the_implementation_is_right(folder):
    result = audit(load("my_lstm.py:MyLSTM"), profile="quick")
    assert result.verdict == "pass", result.findings


def test_the_module_is_right(folder):
    result = audit(
        load("my_net.py:Encoder", cell="lstm"),
        profile="quick",
        only=["forward_within_budget", "gradients_within_budget"],
    )
    assert result.verdict == "pass", result.findings
    assert "axes BTD" in result.limitations[0]


def test_the_answers_to_vectors_are_right(folder):
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


def test_the_tests_are_tests(folder):
    (code,) = [body for body in blocks("python") if "def test_" in body]
    made = {}
    exec(code, made)
    (mark,) = made["test_my_lstm"].pytestmark
    assert len(mark.args[1]) > 30


@pytest.mark.parametrize(
    "code",
    [body for body in blocks("python") if "import" in body and "my_" not in body.split("class")[0]],
    ids=lambda code: code[-40:],
)
def test_all_other_code_runs(code):
    exec(code, {})


def test_the_workflow_is_valid():
    """Each step is a command or an action, and the files kept are written."""
    (text,) = blocks("yaml")
    steps = yaml.safe_load(text)["jobs"]["audit"]["steps"]
    assert all({"uses", "run"} & set(step) for step in steps)
    (line,) = [step["run"] for step in steps if step.get("run", "").startswith("gatecheck")]
    words = shlex.split(line)[2:]
    asked = (
        main.commands["audit"].make_context("audit", list(words), **main.context_settings).params
    )
    kept = steps[-1]["with"]["path"].split()
    assert [str(asked["junit"]), str(asked["json"]), asked["cases_dir"]] == kept
    assert str(asked["markdown"]) == "$GITHUB_STEP_SUMMARY"


@pytest.mark.parametrize("command", commands())
def test_every_command_parses(command):
    _, name, *arguments = shlex.split(command)
    known = main.commands[name]
    if "--help" not in arguments:
        known.make_context(
            name, [a for a in arguments if a not in ("…", "...")], **main.context_settings
        )


def test_the_number_of_properties_is_right():
    assert f"in {len(select_properties())} properties" in README


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130
    assert len(README.split()) <= 800


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
    links = [
        (ROOT / path).parent / link
        for path, text in PAGES.items()
        for link in re.findall(r"\]\(([^)#:]+)\)", text)
    ]
    assert len(links) > 20
    assert not [link for link in links if not link.exists()]
