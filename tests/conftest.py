"""Hypothesis profiles, short audits, markers, and missing programs."""

import gc
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from gatecheck.auditing import explore

TESTS = Path(__file__).parent

# A user's project, which tests/repository/test_example_project.py runs as they would.
collect_ignore = ["example_project"]

# As many processes as cores compute on tiny arrays: their threads would wait for each other far
# longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis caches here what it reads of our sources, also for processes that tests start in other
# folders: each would take half a second for it.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(TESTS.parent / ".hypothesis"))

# No deadlines: the first example of a test may compile a kernel.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True, scope="session")
def no_shrinking():
    """Do not shrink counterexamples, unless a test sets a time for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explore, "SHRINKING_S", 0)
        yield


@pytest.fixture
def few_figures(monkeypatch):
    """Limit a study to two pictures, each of which takes longer than the study."""
    from gatecheck.report.decay import figures

    monkeypatch.setattr(
        figures,
        "REPORT_FIGURES",
        [f for f in figures.REPORT_FIGURES if f.name in ("decay", "paths")],
    )


def pytest_collection_finish():
    """Exclude imported objects from garbage collection.

    Each collection would take a third of a second.
    """
    gc.freeze()


# ---- markers

MARKED = {
    "frameworks": (
        "targets/adapters",
        "weights",
        "conventions",
        "auditing/test_audit_installed.py",
    ),
    "fuzz": ("fuzz", "hostile"),
    "slow": (
        "accuracy",
        "auditing",
        "bench",
        "cli",
        "decay",
        "diagnosis",
        "faults",
        "hostile",
        "implementation/test_custom.py",
        "inference",
        "mutation",
        "properties",
        "report",
        "repository",
        "vectors",
    ),
}
"""Paths of the tests that have a marker, by marker."""


def pytest_configure(config):
    """Register the markers."""
    texts = {
        "frameworks": "tests that import PyTorch, JAX, Keras or ONNX Runtime",
        "fuzz": "tests that call or read a thousand wrong things",
        "slow": "tests of commands, studies and whole audits",
    }
    for name, text in texts.items():
        config.addinivalue_line("markers", f"{name}: {text}")


def pytest_ignore_collect(collection_path, config):
    """Do not import what ``-m "not MARKER"`` leaves out: frameworks take long."""
    expression = config.option.markexpr or ""
    left_out = [p for name, ps in MARKED.items() if f"not {name}" in expression for p in ps]
    return True if any(collection_path.is_relative_to(TESTS / path) for path in left_out) else None


def pytest_collection_modifyitems(items):
    """Mark tests by their paths."""
    for item in items:
        for name, paths in MARKED.items():
            if any(item.path.is_relative_to(TESTS / path) for path in paths):
                item.add_marker(name)


# ---- programs that a machine may lack

PROGRAMS = {
    "a browser": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "a C compiler": (("cc", "gcc", "clang"), "gcc"),
    "git": (("git",), "git"),
}
"""Names of each program, and the package that installs it."""

MISSING = "this machine lacks "


@pytest.fixture(scope="session")
def find_program():
    """Return a function that finds one of :data:`PROGRAMS`, or skips the test."""

    def find(kind):
        path = next(filter(None, map(shutil.which, PROGRAMS[kind][0])), None)
        if path is None:
            pytest.skip(f"{MISSING}{kind}")
        return path

    return find


def pytest_terminal_summary(terminalreporter):
    """Say what was not tested for want of a program, and what to install."""
    skipped = terminalreporter.stats.get("skipped", [])
    counts = Counter(
        kind
        for report in skipped
        for kind in PROGRAMS
        # a tuple, or from a worker of xdist a list
        if str(report.longrepr[-1]).endswith(MISSING + kind)
    )
    for kind, count in counts.items():
        package = PROGRAMS[kind][1]
        terminalreporter.write_line(
            f"not tested: {count} {'test needs' if count == 1 else 'tests need'} {kind}; install "
            f"{package}, as by apt-get install {package}",
            yellow=True,
        )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """Fail a run with skipped tests if GATECHECK_CI=1.

    Continuous integration tests all that it installs.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # The workers of xdist have no reporter; the process that collects their results has.
    if os.environ.get("GATECHECK_CI") != "1" or reporter is None:
        return
    if skipped := len(reporter.stats.get("skipped", [])):
        reporter.write_sep("=", f"GATECHECK_CI=1 and {skipped} skipped: a failure", red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
