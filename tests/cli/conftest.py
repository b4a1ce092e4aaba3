"""A folder of files to audit, and a function that runs a command there."""

import pytest
from click.testing import CliRunner

from gatecheck.cli import main
from helpers.commands import TARGETS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to a folder with a file for each of TARGETS."""
    for name, source in TARGETS.items():
        (tmp_path / name).write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def run_gatecheck(folder):
    """Return a function that runs a command in this process.

    It returns the exit status and the output of both streams.
    """

    def gk(*arguments):
        done = CliRunner().invoke(main, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output

    return gk
