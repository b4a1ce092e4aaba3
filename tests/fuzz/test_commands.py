"""Wrong values for every option of every command.

The command works, or one line names what is wrong, with exit status 2 or 3.
"""

import click
import pytest
from click.testing import CliRunner

from gatecheck.cli import main

LONG = "x" * 3000

WRONG_WORDS = [
    "",
    "x",
    "-1",
    "nan",
    "inf",
    "1" * 20,
    "é\x1b[31m",
    LONG,
    "folder",
    "no/such/x",
    "1,,2",
    "builtin:nope",
    "folder:X",
    "-x",
    "x" * 256,
]

CORRECT_CALLS = {
    "accuracy": ["builtin:x", "--cases", "1"],  # an unknown cell
    "audit": ["builtin:rnn", "--only", "outputs_are_causal", "--profile", "quick"],
    # An unknown peer, since a measurement takes long.
    "bench": ["--against", "x", "--quick"],
    "calibrate": ["builtin:x", "--cases", "1"],
    "checkers": ["--against", "x"],
    "conventions": ["builtin:rnn"],
    # An unknown initializer.
    "decay": ["--cell", "rnn", "--hidden", "3", "--steps", "9", "--init", "chrono:x"],
    "explain": ["pytorch"],
    "faults": ["--name", "x"],
    "properties": [],
    "prove": ["x"],  # an unknown cell
    "export": ["folder", "--cell", "rnn"],  # a folder that is in use
    "check": ["folder"],
}
"""Calls that end soon: they work, or something else in them is wrong."""


def commands(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(main))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()


def calls(path, command):
    """Yield calls with every parameter set to each of the words."""
    right = CORRECT_CALLS[path[-1]]
    for parameter in command.params:
        for word in WRONG_WORDS:
            if isinstance(parameter, click.Argument):
                yield word, [*path, word, *right[1:]]
            elif parameter.is_flag:
                yield word, [*path, f"{parameter.opts[0]}={word}", *right]
            elif parameter.opts[0] in right:
                at = right.index(parameter.opts[0])
                yield word, [*path, *right[:at], parameter.opts[0], word, *right[at + 2 :]]
            else:
                yield word, [*path, *right, parameter.opts[0], word]


def test_every_command_is_called():
    assert {path[-1] for path in COMMANDS} == set(CORRECT_CALLS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_usage_error_is_one_line(path):
    wrong = []
    for word, words in calls(path, COMMANDS[path]):
        done = CliRunner().invoke(main, words, prog_name="gatecheck")
        lines = done.stderr.splitlines()
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            wrong.append((words, repr(done.exception)))
        elif done.exit_code in (2, 3) and not (
            len(lines) == 1 and lines[0].startswith("gatecheck: ") and len(lines[0]) < 1100
        ):
            wrong.append((words, lines))
        elif "\x1b" in done.stderr or done.exit_code not in (0, 1, 2, 3):
            wrong.append((words, done.exit_code, done.stderr))
        elif word == "" and done.exit_code != 2:
            wrong.append((words, "an empty word serves"))
    assert wrong == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ["audit", "builtin:rnn", "--timeout", "nan"],
            "--timeout': 'nan' is not a number of seconds",
        ),
        (
            ["audit", "builtin:rnn", "--timeout", "1e300"],
            "--timeout': '1e300' is not a number of seconds",
        ),
        (["bench", "--limit", "inf"], "--limit': 'inf' is not a number of seconds"),
        (["audit", ""], "'[TARGET]': it is empty"),
        (["faults", "--name", ""], "'--name': it is empty"),
        (["faults", "--name", "lstm: dc not carried", "--cell", "x"], "there is no cell 'x'"),
        (["faults", "--first", "--seeds", "1" * 20], "'--seeds'"),
        (["faults", "--figure", "a.jpg"], "a.jpg should end in .png, .svg, .pdf"),
        (
            ["calibrate", "builtin:rnn", "--json", "no/a"],
            "no/a cannot be written: there is no folder no",
        ),
        (
            ["decay", "--steps", "1" * 20],
            "steps is 11111111111111111111, but should be at most 1e+09",
        ),
        (["decay", "--hidden", "100001"], "hidden is 100001, but should be at most 100000"),
        (["vectors", "check", LONG], "there is no folder xxx"),
        (["vectors", "nope"], "No such command 'nope'"),
        (["nope"], "No such command 'nope'"),
        (["--nope"], "No such option"),
    ],
)
def test_known_usage_errors(words, named):
    done = CliRunner().invoke(main, words, prog_name="gatecheck")
    assert done.exit_code == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
