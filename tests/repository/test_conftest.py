"""Rule that a skip fails continuous integration, tried on small test files."""

import os
import shutil
import subprocess
import sys

import pytest

from helpers.paths import TESTS

SKIPS = {
    "a test": "import pytest\ndef test_a(): pytest.skip('no such framework')\ndef test_b(): pass",
    "a mark": (
        "import pytest\n@pytest.mark.skipif(True, reason='here')\n"
        "def test_a(): pass\ndef test_b(): pass"
    ),
    "a fixture": (
        "import pytest\n@pytest.fixture\ndef f(): pytest.skip('none')\n"
        "def test_a(f): pass\ndef test_b(): pass"
    ),
    "a module": "import pytest\npytest.importorskip('no_such_framework')\ndef test_a(): pass",
}
NO_SKIPS = (
    "import pytest\ndef test_a(): pass\n"
    "@pytest.mark.xfail(reason='documented')\ndef test_b(): assert False"
)


@pytest.fixture
def run(tmp_path):
    """Return a function that runs pytest on test files and one that passes.

    It uses our conftest.py, and returns the exit status and the output.
    """

    def run(*sources, options=(), ci):
        shutil.copy(TESTS / "conftest.py", tmp_path)
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        for k, source in enumerate(sources):
            (tmp_path / f"test_it{k}.py").write_text(source)
        (tmp_path / "test_other.py").write_text("def test_passes(): pass")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
            cwd=tmp_path,
            env=os.environ | {"GATECHECK_CI": ci},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["here", "on a worker"])
def test_a_skip_fails_continuous_integration(run, options):
    status, printed = run(*SKIPS.values(), options=options, ci="1")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert f"GATECHECK_CI=1 and {len(SKIPS)} skipped: a failure" in printed


def test_one_skip_is_enough(run):
    assert run(SKIPS["a test"], ci="1")[0] == pytest.ExitCode.TESTS_FAILED


def test_a_skip_is_allowed_elsewhere(run):
    assert run(SKIPS["a test"], ci="")[0] == pytest.ExitCode.OK


def test_an_expected_failure_is_no_skip(run):
    assert run(NO_SKIPS, ci="1")[0] == pytest.ExitCode.OK


NEEDY = """
def test_a(find_program): find_program("git")
def test_b(find_program): find_program("a C compiler")
def test_c(find_program): find_program("git")
"""


@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["here", "on a worker"])
@pytest.mark.parametrize("ci", ["", "1"])
def test_a_missing_program_is_skipped_and_said(run, ci, options, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, printed = run(NEEDY, options=options, ci=ci)
    assert status == (pytest.ExitCode.TESTS_FAILED if ci else pytest.ExitCode.OK)
    assert "not tested: 2 tests need git; install git, as by apt-get install git" in printed
    assert "not tested: 1 test needs a C compiler; install gcc" in printed
    assert "browser" not in printed


def test_a_program_that_is_there_is_found(run):
    code = "def test_a(find_program): assert 'git' in find_program('git')"
    status, printed = run(code, ci="")
    if shutil.which("git") is None:
        pytest.skip("this machine lacks git")
    assert status == pytest.ExitCode.OK
    assert "not tested" not in printed


def test_what_a_marker_leaves_out_is_not_imported(run, tmp_path):
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz" / "test_slow.py").write_text("raise RuntimeError('imported')")
    status, printed = run("def test_a(): pass", options=["-m", "not fuzz"], ci="")
    assert status == pytest.ExitCode.OK, printed
    assert run("def test_a(): pass", ci="")[0] == pytest.ExitCode.INTERRUPTED
