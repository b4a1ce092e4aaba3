"""Hypothesis profiles, short audits, and the rule of CI that a skip is a failure."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from gatecheck.auditing import explore

# A user's project, which tests/repository/test_example_project.py runs as they would.
collect_ignore = ["example_project"]

# As many processes as cores compute on tiny arrays: their threads would wait for each other far
# longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis caches here what it reads of our sources, also for processes that tests start in other
# folders: each would take half a second for it.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parents[1] / ".hypothesis")
)

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
