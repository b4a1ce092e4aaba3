"""The help of commands, and the version."""

import pytest

import gatecheck


@pytest.mark.parametrize("command", ["audit", "calibrate", "decay"])
def test_help_shows_examples(run_gatecheck, command):
    status, printed = run_gatecheck(command, "--help")
    assert status == 0
    assert "Example" in printed
    assert f"gatecheck {command} " in printed.partition("Example")[2]


def test_version(run_gatecheck):
    assert run_gatecheck("--version") == (0, f"gatecheck, version {gatecheck.__version__}\n")
