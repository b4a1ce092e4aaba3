"""Project settings: defaults in pyproject.toml, and strict expected failures."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from gatecheck.cli import main
from gatecheck.cli.project import KEYS

MINE = """
from gatecheck.kernels import Builtin


class Right(Builtin):
    def __init__(self):
        super().__init__("gru")


class Refuses(Right):
    def forward(self, params, x, h0, c0=None, lengths=None):
        if not len(x):
            raise ValueError("no steps")
        return super().forward(params, x, h0, c0, lengths)


class Silent:
    def forward(self, params, x, h0, c0=None):
        return Right().forward(params, x, h0, c0)
"""
REASON = 'empty_sequence = "refuses T = 0: its manual"\n'
ONLY = ("--only", "empty_sequence", "--only", "outputs_are_causal")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Change to a subfolder of a project; return the project's folder."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path / "deep")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def gk(project):
    def run(*arguments, said=None, quick=True):
        if said is not None:
            (project / "pyproject.toml").write_text(said)
        done = CliRunner().invoke(main, ["audit", *arguments, *(ONLY if quick else ())])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output

    return run


# ---- expected failures


def test_a_documented_failure_is_none(gk, project):
    (project / "expected.toml").write_text(REASON)
    status, printed = gk("../mine.py:Refuses", "--profile", "quick", "--expect", "../expected.toml")
    assert status == 0
    assert "expected_failure empty_sequence: refuses T = 0: its manual" in printed
    assert "1 failed as documented" in printed
    assert gk("../mine.py:Refuses", "--profile", "quick")[0] == 1


def test_one_that_holds_is_a_finding(gk, project):
    (project / "expected.toml").write_text(REASON)
    status, printed = gk("../mine.py:Right", "--profile", "quick", "--expect", "../expected.toml")
    assert status == 1
    assert "it holds, but was expected to fail: refuses T = 0: its manual" in printed


def test_it_is_expected_in_a_replay_too(gk, project):
    assert gk("../mine.py:Refuses", "--profile", "quick")[0] == 1
    (case,) = (project / "deep" / "gatecheck-cases").iterdir()
    (project / "expected.toml").write_text(REASON)
    status, printed = gk(
        "../mine.py:Refuses", "--replay", str(case), "--expect", "../expected.toml", quick=False
    )
    assert (status, printed.partition("\n")[0]) == (0, f"empty_sequence expected_failure on {case}")


BAD_FILES = [
    (
        'empty_sequenze = "x"',
        "expected.toml: there is no property empty_sequenze; did you mean empty_sequence",
    ),
    (
        'empty_sequence = ""',
        "expected.toml: empty_sequence is expected to fail without a reason: give one",
    ),
    ('empty_sequence = "  "', "empty_sequence is expected to fail without a reason"),
    ("empty_sequence = true", "empty_sequence is expected to fail without a reason"),
    ('[empty_sequence]\nreason = "x"', "empty_sequence is expected to fail without a reason"),
    (
        'empty_sequence = "x"\nempty_sequence = "y"',
        "expected.toml is not TOML: Cannot overwrite a value",
    ),
    ("empty_sequence", "expected.toml is not TOML: "),
    ("empty_sequence = '\xe9'", "expected.toml is not TOML: "),
    (
        'clipped_memory_stays_within_its_clip = "x"',
        "but does not apply to ../mine.py:Right: it holds only if the cell state is clipped",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES, ids=[m[:60] for _, m in BAD_FILES])
def test_a_file_that_makes_no_sense(gk, project, text, message):
    (project / "expected.toml").write_bytes(text.encode("latin-1"))
    status, printed = gk("../mine.py:Right", "--expect", "../expected.toml")
    assert status == 2
    assert message in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_cannot_be_read(gk, name):
    status, printed = gk("../mine.py:Right", "--expect", name)
    assert (status, f"{name} cannot be read: " in printed) == (2, True)


def test_an_empty_file_expects_nothing(gk, project):
    (project / "expected.toml").write_text("# none yet\n")
    assert gk("../mine.py:Right", "--profile", "quick", "--expect", "../expected.toml")[0] == 0


# ---- defaults

SAID = """
[tool.gatecheck]
target = "mine.py:Silent"
cell = "gru"
profile = "quick"
seed = 3
timeout = 20
"""


def test_a_project_says_what_to_audit_and_how(gk):
    status, printed = gk(said=SAID)
    assert status == 0
    assert printed.splitlines()[-1].startswith("pass  ../mine.py:Silent as gru: 2 ran")
    assert printed.splitlines()[-1].endswith("; seed 3")


def test_what_is_given_wins(gk):
    status, printed = gk(
        "--seed", "4", "--profile", "quick", said=SAID.replace('"quick"', '"thorough"')
    )
    assert (status, printed.splitlines()[-1].endswith("; seed 4")) == (0, True)


def test_what_is_said_of_the_projects_target_says_nothing_of_another(gk):
    said = SAID + f"[tool.gatecheck.expected_failures]\n{REASON}"
    status, printed = gk("builtin:lstm", said=said)
    assert status == 0
    assert printed.splitlines()[-1].startswith("pass  builtin:lstm as lstm: 2 ran, 0 failed")
    assert printed.splitlines()[-1].endswith("; seed 3")
    assert gk(said=said)[0] == 1  # expected to fail, but it holds


def test_without_a_target_it_holds_for_every_one(gk):
    said = f'[tool.gatecheck]\nprofile = "quick"\n[tool.gatecheck.expected_failures]\n{REASON}'
    assert "1 failed as documented" in gk("../mine.py:Refuses", said=said)[1]
    assert "it holds, but was expected to fail" in gk("builtin:rnn", said=said)[1]


def test_the_file_is_found_from_the_folder_of_the_project(gk, project):
    (project / "expected.toml").write_text(REASON)
    assert (
        gk(
            "../mine.py:Refuses",
            said='[tool.gatecheck]\nprofile = "quick"\nexpect = "expected.toml"\n',
        )[0]
        == 0
    )


def test_the_nearest_table_counts(gk, project):
    (project / "deep" / "pyproject.toml").write_text('[project]\nname = "no table of ours"\n')
    assert gk(said=SAID)[1].splitlines()[-1].endswith("; seed 3")
    (project / "deep" / "pyproject.toml").write_text(
        '[tool.gatecheck]\nprofile = "quick"\nseed = 5\n'
    )
    assert gk("builtin:gru")[1].splitlines()[-1].endswith("; seed 5")


BAD_TABLES = [
    (
        "[tool.gatecheck]\ncells = 'gru'",
        f"[tool.gatecheck] has no cells; it may have {', '.join(KEYS)}",
    ),
    (
        "[tool.gatecheck]\njson = 'x'\nonly = []",
        "[tool.gatecheck] has no json and no only; it may have target, cell,",
    ),
    ("[tool.gatecheck]\nseed = 3.7", "[tool.gatecheck] seed is 3.7, but should be a whole number"),
    (
        "[tool.gatecheck]\nseed = true",
        "[tool.gatecheck] seed is True, but should be a whole number",
    ),
    ("[tool.gatecheck]\nseed = '3'", "[tool.gatecheck] seed is '3', but should be a whole number"),
    ("[tool.gatecheck]\ntimeout = '3'", "timeout is '3', but should be a number"),
    ("[tool.gatecheck]\ncell = 3", "cell is 3, but should be a string"),
    (
        "[tool.gatecheck]\nexpected_failures = 'x'",
        "expected_failures is 'x', but should be a table of reasons",
    ),
    (
        "[tool.gatecheck]\nexpect = 'x'\nexpected_failures = {}",
        "expect, a file, and expected_failures; it may have one of them",
    ),
    ("[tool]\ngatecheck = 3", "[tool.gatecheck] should be a table"),
    ("tool = 3\nprofile = 4", "[tool] should be a table"),
    ("[tool.gatecheck", "pyproject.toml is not TOML: "),
    (
        "[tool.gatecheck.expected_failures]\nempty = 'x'",
        "[tool.gatecheck] expected_failures: there is no property empty",
    ),
    ("[tool.gatecheck]\nseed = -1", "-1 is not in the range"),
    ("[tool.gatecheck]\nprofile = 'slow'", "'slow' is not one of 'quick', 'ci', 'thorough'"),
]


@pytest.mark.parametrize(("said", "message"), BAD_TABLES, ids=[m[:60] for _, m in BAD_TABLES])
def test_a_table_that_makes_no_sense(gk, said, message):
    status, printed = gk("../mine.py:Right", said=said)
    assert status == 2
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed


def test_the_help_says_so(gk):
    assert "[tool.gatecheck]" in gk("--help")[1]


def test_it_takes_a_target(gk, project):
    (project / "expected.toml").write_text(REASON)
    assert "--expect need a TARGET" in gk(*shlex.split("--expect ../expected.toml"))[1]
