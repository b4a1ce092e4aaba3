"""The output of an audit: on a pipe, in a narrow terminal, in a limited encoding."""

import sys

import pytest

from helpers.commands import ONE_PROPERTY, shell


def test_the_verdict_is_one_line_however_narrow_the_output(run_gatecheck, monkeypatch):
    """Print the verdict unwrapped, for `grep ^pass` and `tail -1` on a pipe."""
    monkeypatch.setenv("COLUMNS", "50")
    _, printed = run_gatecheck(
        "audit", "correct.py:MyLSTM", "--profile", "quick", "--only", "outputs_are_causal"
    )
    last = "pass  correct.py:MyLSTM as lstm: 1 ran, 0 failed, 0 skipped, 0 inconclusive; seed 0"
    assert printed.splitlines()[-1] == last


def test_a_narrow_terminal_breaks_no_command(run_gatecheck, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    status, printed = run_gatecheck("audit", "broken.py:MyLSTM", *ONE_PROPERTY)
    assert status == 1
    (command,) = [line.split("replay: ")[1] for line in printed.splitlines() if "replay: " in line]
    assert command.endswith(".npz")
    assert "gradients_within_budget failed" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no head")
def test_a_closed_pipe_is_not_an_error(folder):
    status, out, errors = shell(
        f"gatecheck audit correct.py:MyLSTM {' '.join(ONE_PROPERTY)} | head -1"
    )
    assert status == 0
    assert len(out.splitlines()) <= 1
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_piped_output_has_no_escape_codes(folder):
    status, out, errors = shell(
        f"gatecheck audit broken.py:MyLSTM {' '.join(ONE_PROPERTY)}", NO_COLOR="1"
    )
    assert status == 1, errors
    assert "\x1b" not in out + errors


@pytest.mark.parametrize(
    ("target", "encoding"),
    [("broken.py:MyLSTM", "cp1252"), ("", "ascii")],
    ids=["finding", "matrix"],
)
def test_a_limited_encoding_still_shows_the_verdict(folder, target, encoding):
    """Replace characters that the encoding lacks, as in a file on Windows."""
    only_one = "from gatecheck.targets import loading"
    only_one += "; loading.installed_targets = lambda: [('broken.py:MyLSTM', None)]"
    only_one += "; from gatecheck.auditing import explore; explore.SHRINKING_S = 0"
    code = f"{only_one}; from gatecheck.cli import main; main()"
    status, out, errors = shell(
        f'"{sys.executable}" -c "{code}" audit {target} {" ".join(ONE_PROPERTY)}',
        PYTHONIOENCODING=encoding,
    )
    assert status == 1, errors
    assert "fail  broken.py:MyLSTM" in out
    assert "Traceback" not in errors
