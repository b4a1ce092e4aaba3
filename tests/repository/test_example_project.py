"""The example project of a user of the pytest plugin, run as a user would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from helpers.paths import TESTS

PROJECT = TESTS / "example_project"


@pytest.fixture
def run(tmp_path):
    """Return a function that runs pytest in a copy of the project.

    It returns the exit status, the output, and the number of tests by outcome.
    """
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True)

    def pytest_of_theirs(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )
        counts = {
            word: int(n)
            for n, word in re.findall(
                r"(\d+) (passed|failed|xfailed|error|deselected)", done.stdout.splitlines()[-1]
            )
        }
        return done.returncode, done.stdout + done.stderr, counts

    return pytest_of_theirs


def test_every_claim_is_a_test_and_a_documented_failure_is_expected(run, tmp_path):
    status, printed, counts = run("-q", "-n", "2", "--junit-xml", "junit.xml")
    assert status == 0, printed
    assert counts["passed"] > 25
    assert counts["xfailed"] == 1
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert int(suite.get("tests")) == counts["passed"] + counts["xfailed"]


def test_one_claim_can_be_chosen(run):
    status, printed, counts = run("-q", "-k", "update_gate_of_zeros_copies")
    assert (status, counts["passed"]) == (0, 1), printed


def test_the_properties_of_the_package_on_an_implementation_of_theirs(run):
    chosen = ["-k", "forward_within_budget or update_gate"]
    status, printed, counts = run(
        "-q", "--pyargs", "gatecheck.properties", "--gatecheck-impl", "my_gru:MyGRU", *chosen
    )
    assert status == 0, printed
    assert counts["passed"] >= 3
    status, printed, _ = run(
        "-q",
        "--pyargs",
        "gatecheck.properties",
        "--gatecheck-impl",
        "my_gru:Wrong",
        "-k",
        "forward_within_budget",
    )
    assert status == 1
    assert "forward_within_budget failed" in printed
