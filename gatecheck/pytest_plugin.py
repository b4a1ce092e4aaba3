"""The pytest plugin: ``--gatecheck-impl``, fixtures `implementation` and `prop`.

Nothing heavy is imported until they are used.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add gatecheck's options."""
    group = parser.getgroup("gatecheck")
    group.addoption(
        "--gatecheck-impl",
        action="append",
        default=[],
        metavar="TARGET",
        help="implementation to test, such as my_lstm.py:MyLSTM or torch.nn:GRU; "
        "may be repeated (default: the built-in cells)",
    )
    group.addoption(
        "--gatecheck-profile",
        default="quick",
        choices=["quick", "ci", "thorough"],
        help="number of cases on which each property is tried",
    )
    group.addoption(
        "--gatecheck-seed", type=int, default=0, metavar="N", help="seed for case generation"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Generate one test for each implementation and property that applies to it."""
    if not {"implementation", "prop"} <= set(metafunc.fixturenames):
        return
    # The decorator parametrizes its tests itself.
    if any("prop" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")):
        return
    from gatecheck._util.import_path import path_with
    from gatecheck.auditing.audit import make_subject
    from gatecheck.auditing.selection import applicable_properties
    from gatecheck.cells import CELLS
    from gatecheck.errors import GatecheckError
    from gatecheck.targets.loading import load

    # Bare pytest does not put the user's folder on the path.
    folder = str(metafunc.config.invocation_params.dir)
    if folder not in sys.path:
        sys.path[:] = path_with(folder)
    try:
        subjects = [
            make_subject(load(name))
            for name in metafunc.config.getoption("gatecheck_impl")
            or [f"builtin:{cell}" for cell in CELLS]
        ]
    except GatecheckError as error:
        raise pytest.UsageError(str(error)) from error
    pairs = [(s, c) for s in subjects for c in applicable_properties(s)]
    metafunc.parametrize(
        ("implementation", "prop"),
        pairs,
        ids=[f"{s.name}-{c.name}" for s, c in pairs],
        indirect=["prop"],
    )


@pytest.fixture
def prop(request: pytest.FixtureRequest) -> Any:
    """Return the property as a function that fails the test with a full report."""
    from gatecheck.auditing.pytest_params import make_test

    return make_test(
        request.param,
        request.config.getoption("gatecheck_profile"),
        request.config.getoption("gatecheck_seed"),
    )
