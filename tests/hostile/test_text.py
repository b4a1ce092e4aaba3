"""Text of targets and files: what shows it is not commanded by it."""

import ast
import json
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

import gatecheck
from gatecheck import errors
from gatecheck._util.atomic_write import write_text
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.checking.evidence import Violation
from gatecheck.cli.base import as_json, say
from gatecheck.diagnosis.result import Diagnosis
from gatecheck.errors import LAYOUT, GatecheckWarning, TargetError, printable, printable_data
from gatecheck.report.audit_page import audit_html, audit_markdown, junit_xml
from gatecheck.report.audit_table import audit_report, outcome_matrix, verdict_line
from gatecheck.report.terminal import Console
from helpers.imports import sources

ACTS = {
    "colour": "\x1b[31m",
    "link": "\x1b]8;;http://e.example\x07",
    "clipboard": "\x1b]52;c;cm0=\x1b\\",
    "clear by C1": "\x9b2J",
    "title by C1": "\x9d0;x\x9c",
    "backspaces": "a\b\b\rb",
    "bidi": "\u202eabc\u2066",
    "separator": "a\u2028b\u2029c\x85d",
    "zero": "a\0b",
    "hidden": "a\u200bb\ufeff",
    "surrogate": "\udcff\udc9b",
    "unassigned": "\ufffe\U000e0041",
}

MARKUP = "[bold]b[/bold][link=http://e.example]l[/link][/] :smile:"

EVERYTHING = "".join(ACTS.values()) + MARKUP


def acting(text, keep=LAYOUT):
    """Return the characters of a text that may act on what shows it."""
    return {c for c in text if unicodedata.category(c)[0] in "CZ" and c not in {" ", *keep}}


# ---- the filter


@pytest.mark.parametrize("kind", ACTS)
def test_nothing_acts(kind):
    assert acting(ACTS[kind])
    assert acting(printable(ACTS[kind]), "") == set()
    assert acting(printable(f"a\n\tb{ACTS[kind]}", LAYOUT)) == set()


@pytest.mark.parametrize("text", ["", "x = 1", "Größe ± 3 µ", "名前\u3000甲", "5\u00a0%", "😀 [x]"])
def test_other_text_stays(text):
    assert printable(text) == text
    assert printable(f"{text}\n\t{text}", LAYOUT) == f"{text}\n\t{text}"
    assert printable(f"{text}\r\n{text}", LAYOUT) == f"{text}\n{text}"


def test_lines_are_kept_only_where_they_are_meant():
    assert printable("a\nb\tc") == "a�b�c"


def test_keys_and_texts_of_data():
    data = {EVERYTHING: [EVERYTHING, {"a": (EVERYTHING, 1.5, None, True)}]}
    shown = json.dumps(printable_data(data), ensure_ascii=False)
    assert acting(shown) == set()
    assert json.loads(shown)[printable(EVERYTHING, LAYOUT)][1]["a"][1:] == [1.5, None, True]


# ---- exceptions and warnings, which anyone may print


@pytest.mark.parametrize(
    "error",
    [*(getattr(errors, n) for n in errors.__all__), Violation],
    ids=lambda kind: kind.__name__,
)
def test_an_error_says_nothing_that_acts(error):
    message = str(error(f"first\n{EVERYTHING}"))
    assert acting(message) == set()
    assert message.startswith("first\n")
    assert message.endswith(MARKUP)


def test_a_warning_says_nothing_that_acts():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(EVERYTHING, GatecheckWarning, stacklevel=1)
    assert acting(str(caught[0].message)) == set()


class Names:
    """An implementation whose own texts act, as do the names of its arrays."""

    cell = "rnn"
    notes = (EVERYTHING,)

    def forward(self, params, x, h0):
        return {EVERYTHING: np.zeros(1)}


class Raises(Names):
    def forward(self, params, x, h0):
        raise ValueError(EVERYTHING)


@pytest.mark.parametrize("implementation", [Names, Raises])
def test_a_result_of_the_library(implementation):
    try:
        result = gatecheck.audit(implementation(), profile="quick", only=["outputs_are_causal"])
    except TargetError as error:
        said = [str(error)]
    else:
        said = [p.reason for p in result.properties]
        assert said
    assert [acting(text) for text in said] == [set()] * len(said)


# ---- every sink of a report


@pytest.fixture(scope="module")
def result():
    """Return an audit, each text of which acts."""
    finding = PropertyResult("x_y", "failed", 3, 2.0, reason=f"one\n{EVERYTHING}")
    return AuditResult(
        implementation=f"{EVERYTHING}\npass  mine as rnn",
        cell="rnn",
        convention=EVERYTHING,
        profile="quick",
        seed=0,
        limitations=[EVERYTHING],
        properties=[
            finding,
            replace(finding, name="z", outcome="expected_failure", reason=EVERYTHING),
            replace(finding, name="a", outcome="skipped", reason=EVERYTHING),
        ],
        versions={EVERYTHING: EVERYTHING},
        diagnosis=Diagnosis(message=EVERYTHING),
    )


def printed(renderable, capsys):
    Console().print(renderable, soft_wrap=True)
    return capsys.readouterr().out


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize(
    "report",
    [verdict_line, lambda r: audit_report(r, EVERYTHING), lambda r: outcome_matrix([r])],
    ids=["verdict", "report", "matrix"],
)
def test_the_terminal(result, capsys, monkeypatch, report, color):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("FORCE_COLOR" if color else "NO_COLOR", "1")
    shown = printed(report(result), capsys)
    assert ("\x1b[" in shown) == color
    # Rich's own codes are the only ones, and none of them is a link.
    assert acting(re.sub(r"\x1b\[[\d;]*m", "", shown)) == set()
    assert MARKUP in shown


def test_messages(capsys):
    say(f"one\ntwo {EVERYTHING}")
    said = capsys.readouterr().err
    assert said.startswith("gatecheck: one two ")
    assert acting(said) == set()
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", ACTS)
def test_any_text_file(kind, tmp_path):
    write_text(tmp_path / "x", f"a\n\tb{ACTS[kind]}")
    assert acting((tmp_path / "x").read_bytes().decode()) == set()


def test_a_name_of_two_lines_gives_one_verdict(result, capsys):
    assert len(printed(verdict_line(result), capsys).splitlines()) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda r: as_json(r.to_json()),
        lambda r: audit_html(r, EVERYTHING),
        audit_markdown,
        lambda r: junit_xml([r]),
    ],
    ids=["json", "html", "markdown", "junit"],
)
def test_files(result, write, tmp_path):
    text = write(result)
    write_text(tmp_path / "x", text)
    assert acting((tmp_path / "x").read_bytes().decode()) == set()
    assert text.count("example") > 3
    if text.startswith("{"):
        for key, value in json.loads(text).items():
            assert acting(f"{key}{value}") == set()
    if text.startswith("<?xml"):
        said = "".join(
            part
            for element in ElementTree.fromstring(text).iter()
            for part in (*element.attrib.values(), element.text or "")
        )
        assert MARKUP in said
        assert acting(said) == set()


# ---- commands and pytest

TARGET = """
import sys
import numpy as np

ACTS = %r

class Target:
    cell = "rnn"
    expected_failures = {"outputs_are_causal": ACTS}

    def forward(self, params, x, h0):
        if "_pytest.main" not in sys.modules:  # which would show it
            print(ACTS, file=sys.stderr)
        raise ValueError(ACTS)
""" % (EVERYTHING.replace(ACTS["surrogate"], ""),)  # noqa: UP031  # pytest escapes all beside one

COMMANDS = {
    "audit": "audit target.py:Target --profile quick --only forward_within_budget "
    "--only outputs_are_causal --json a.json --html a.html --junit a.xml --markdown a.md",
    "array names": "decay --weights names.npz",
    "toml": "decay study.toml",
    "expected": "audit target.py:Target --expect expect.toml",
    "file name": f"audit {ACTS['clear by C1']}{ACTS['colour']}.py:Target",
    "object": f"audit target.py:{ACTS['bidi']}",
    "option": f"audit target.py:Target --{ACTS['link']}",
    "property": f"explain {ACTS['separator']}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "target.py").write_text(TARGET)
    hostile = "".join(ACTS[k] for k in ("colour", "link", "clear by C1", "bidi"))
    np.savez(folder / "names.npz", **{hostile: np.zeros((3, 5))})
    (folder / "study.toml").write_text(f"{json.dumps(hostile)} = {json.dumps(hostile)}\n")
    (folder / "expect.toml").write_text(f"{json.dumps(hostile)} = {json.dumps(hostile)}\n")
    (folder / "test_target.py").write_text(
        "def test_it(implementation, prop):\n    prop(implementation)\n"
    )
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command(folder, name):
    done = subprocess.run(
        [sys.executable, "-m", "gatecheck", *COMMANDS[name].split(" ")],
        cwd=folder,
        capture_output=True,
        env=os.environ | {"COLUMNS": "300", "PYTHONIOENCODING": "utf-8"},
    )
    out, said = done.stdout.decode(), done.stderr.decode()
    assert (acting(out), acting(said)) == (set(), set())
    assert "Traceback" not in said
    assert (MARKUP in out) if name == "audit" else len(said.splitlines()) == 1
    for file in folder.glob("a.*"):
        assert acting(file.read_bytes().decode()) == set(), file


def test_pytest(folder):
    only = "outputs_are_causal or forward_within_budget"
    words = ["-rA", "-q", "--color=no", "-k", only, "--gatecheck-impl", "target.py:Target"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        capture_output=True,
        env=os.environ | {"COLUMNS": "300", "PYTHONIOENCODING": "utf-8"},
    )
    out = done.stdout.decode()
    assert "forward_within_budget crashed" in out
    assert acting(out) == set()
    assert MARKUP in out


# ---- no other way out


def ways_out(path, text):
    """Yield what prints or writes text past the filter."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
            yield from (f"{path}: rich's {a.name}" for a in node.names if a.name == "Console")
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name == "print" or name in {"click.echo", "click.secho", "sys.stdout.write"}:
            yield f"{path}: {ast.unparse(node)}"
        if name.endswith(".write_text"):
            yield f"{path}: {ast.unparse(node)}"


FILTERED = {
    "gatecheck/cli/base.py: click.echo(f'gatecheck: {shorten(message)}', err=True)",
    "gatecheck/cli/decay.py: click.echo(commented_spec(), nl=False)",
}


def test_there_is_no_other_way_out():
    found = {w for path, text in sources("gatecheck").items() for w in ways_out(path, text)}
    assert {w.replace('"', "'") for w in found} == FILTERED


@pytest.mark.parametrize(
    "line",
    ["from rich.console import Console", "print(1)", "click.echo(x)", "Path(p).write_text(x)"],
)
def test_another_way_out_would_be_found(line):
    assert list(ways_out("x.py", line))
