"""Project settings: defaults in pyproject.toml, and strict expected failures."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from gatecheck.cli import main
from gatecheck.cli.project import SETTING_TYPES

TARGETS = """
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
    (tmp_path / "mine.py").write_text(TARGETS)
    monkeypatch.chdir(tmp_path / "deep")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def run_gatecheck(project):
    def run(*arguments, said=None, quick=True):
        if said is not None:
            (project / "pyproject.toml").write_text(said)
        done = CliRunner().invoke(main, ["audit", *arguments, *(ONLY if quick else ())])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output

    return run


# ---- expected failures


def test_a_documented_failure_is_not_a_finding(run_gatecheck, project):
    (project / "expected.toml").write_text(REASON)
    status, printed = run_gatecheck(
        "../mine.py:Refuses", "--profile", "quick", "--expect", "../expected.toml"
    )
    assert status == 0
    assert "expected_failure empty_sequence: refuses T = 0: its manual" in printed
    assert "1 failed as documented" in printed
    assert run_gatecheck("../mine.py:Refuses", "--profile", "quick")[0] == 1


def test_an_expected_failure_that_holds_is_a_finding(run_gatecheck, project):
    (project / "expected.toml").write_text(REASON)
    status, printed = run_gatecheck(
        "../mine.py:Right", "--profile", "quick", "--expect", "../expected.toml"
    )
    assert status == 1
    assert "it holds, but was expected to fail: refuses T = 0: its manual" in printed


def test_a_failure_is_expected_in_a_replay_too(run_gatecheck, project):
    assert run_gatecheck("../mine.py:Refuses", "--profile", "quick")[0] == 1
    (case,) = (project / "deep" / "gatecheck-cases").iterdir()
    (project / "expected.toml").write_text(REASON)
    status, printed = run_gatecheck(
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
    ("empty_sequence = '\xe9'", "expected.toml is not UTF-8 text: "),
    (
        'cell_state_stays_within_clip = "x"',
        "but does not apply to ../mine.py:Right: it holds only if the cell state is clipped",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES, ids=[m[:60] for _, m in BAD_FILES])
def test_an_invalid_file_is_one_line(run_gatecheck, project, text, message):
    (project / "expected.toml").write_bytes(text.encode("latin-1"))
    status, printed = run_gatecheck("../mine.py:Right", "--expect", "../expected.toml")
    assert status == 2
    assert message in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_cannot_be_read(run_gatecheck, name):
    status, printed = run_gatecheck("../mine.py:Right", "--expect", name)
    assert (status, f"{name} cannot be read: " in printed) == (2, True)


def test_an_empty_file_expects_nothing(run_gatecheck, project):
    (project / "expected.toml").write_text("# none yet\n")
    assert (
        run_gatecheck("../mine.py:Right", "--profile", "quick", "--expect", "../expected.toml")[0]
        == 0
    )


# ---- defaults

SETTINGS = """
[tool.gatecheck]
target = "mine.py:Silent"
cell = "gru"
profile = "quick"
seed = 3
timeout = 20
"""


def test_settings_choose_the_target_and_the_profile(run_gatecheck):
    status, printed = run_gatecheck(said=SETTINGS)
    assert status == 0
    assert printed.splitlines()[-1].startswith("pass  ../mine.py:Silent as gru: 2 ran")
    assert printed.splitlines()[-1].endswith("; seed 3")


def test_the_command_line_takes_precedence(run_gatecheck):
    status, printed = run_gatecheck(
        "--seed", "4", "--profile", "quick", said=SETTINGS.replace('"quick"', '"thorough"')
    )
    assert (status, printed.splitlines()[-1].endswith("; seed 4")) == (0, True)


def test_settings_of_the_target_do_not_apply_to_another(run_gatecheck):
    said = SETTINGS + f"[tool.gatecheck.expected_failures]\n{REASON}"
    status, printed = run_gatecheck("builtin:lstm", said=said)
    assert status == 0
    assert printed.splitlines()[-1].startswith("pass  builtin:lstm as lstm: 2 ran, 0 failed")
    assert printed.splitlines()[-1].endswith("; seed 3")
    assert run_gatecheck(said=said)[0] == 1  # expected to fail, but it holds


def test_settings_without_a_target_apply_to_all(run_gatecheck):
    said = f'[tool.gatecheck]\nprofile = "quick"\n[tool.gatecheck.expected_failures]\n{REASON}'
    assert "1 failed as documented" in run_gatecheck("../mine.py:Refuses", said=said)[1]
    assert "it holds, but was expected to fail" in run_gatecheck("builtin:rnn", said=said)[1]


def test_the_file_is_found_from_the_folder_of_the_project(run_gatecheck, project):
    (project / "expected.toml").write_text(REASON)
    assert (
        run_gatecheck(
            "../mine.py:Refuses",
            said='[tool.gatecheck]\nprofile = "quick"\nexpect = "expected.toml"\n',
        )[0]
        == 0
    )


def test_the_nearest_table_is_used(run_gatecheck, project):
    (project / "deep" / "pyproject.toml").write_text('[project]\nname = "no table of ours"\n')
    assert run_gatecheck(said=SETTINGS)[1].splitlines()[-1].endswith("; seed 3")
    (project / "deep" / "pyproject.toml").write_text(
        '[tool.gatecheck]\nprofile = "quick"\nseed = 5\n'
    )
    assert run_gatecheck("builtin:gru")[1].splitlines()[-1].endswith("; seed 5")


BAD_TABLES = [
    (
        "[tool.gatecheck]\ncells = 'gru'",
        f"[tool.gatecheck] has no cells; it may have {', '.join(SETTING_TYPES)}",
    ),
    (
        "[tool.gatecheck]\njson = 'x'\nonly = []",
        "[tool.gatecheck] has no json and no only; it may have target, cell,",
    ),
    ("[tool.gatecheck]\nseed = 3.7", "[tool.gatecheck] seed is 3.7, but should be a whole number"),
    (
        f"[tool.gatecheck]\nseed = 0x{'f' * 5000}",
        "pyproject.toml has tool.gatecheck.seed, a number that should be below 2**63",
    ),
    ("[tool.gatecheck]\ntimeout = 1e999", "timeout"),
    (
        f"[tool.gatecheck]\nprofile = 0x{'f' * 5000}",
        "pyproject.toml has tool.gatecheck.profile, a number that should be below 2**63",
    ),
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
def test_an_invalid_table_is_reported(run_gatecheck, said, message):
    status, printed = run_gatecheck("../mine.py:Right", said=said)
    assert status == 2
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed


def test_the_help_mentions_the_table(run_gatecheck):
    assert "[tool.gatecheck]" in run_gatecheck("--help")[1]


def test_expect_needs_a_target(run_gatecheck, project):
    (project / "expected.toml").write_text(REASON)
    assert "--expect need a TARGET" in run_gatecheck(*shlex.split("--expect ../expected.toml"))[1]
