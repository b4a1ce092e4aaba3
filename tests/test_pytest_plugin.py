"""The pytest plugin, tried in separate pytest runs."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from numba.core.registry import cpu_target

from gatecheck.auditing import selection
from gatecheck.cells import CELLS
from gatecheck.checking.registry import REGISTRY

pytest_plugins = ["pytester"]

IMPLEMENTATIONS = """
from gatecheck.cells import RNN
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread
class Right(EditedCell):
    def __init__(self):
        super().__init__(RNN())
class Wrong(EditedCell):
    def __init__(self):
        super().__init__(RNN(), misread("dh", dh_next=0))
class Documented(Wrong):
    expected_failures = {"gradients_within_budget": "documented: one step only"}
class Forward(Right):
    backward = None
"""


@pytest.fixture(scope="module", autouse=True)
def refresh_numba():
    """Refresh Numba's registries before the module's tests.

    A run inside this process removes the modules that it imported first, and without parts of
    itself Numba compiles no more.
    """
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that runs pytest in a folder with `mine.py` and a test.

    The test uses our fixtures. The run is in this process, where everything is compiled.
    """
    selection.select_properties()
    pytester.makepyfile(
        mine=IMPLEMENTATIONS, test_mine="def test_mine(implementation, prop): prop(implementation)"
    )
    monkeypatch.setenv("PYTHONPATH", os.fspath(pytester.path))
    return lambda *arguments: pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_a_right_implementation_passes_what_applies(run):
    result = run("--gatecheck-impl", "mine.py:Right", "-k", "within_budget or causal")
    result.assert_outcomes(
        passed=7,
        deselected=len(REGISTRY) - 7 - count_inapplicable("rnn", "complex", "tangent", "bitwise"),
    )


def count_inapplicable(cell, *lacking):
    """Count the properties that need something the cell does not have."""
    return sum(
        not (c.needs - {"backward", "lengths"} <= CELLS[cell].traits - set(lacking))
        for c in REGISTRY.values()
    )


def test_a_wrong_implementation_fails_with_a_full_report(run):
    result = run(
        "--gatecheck-impl",
        "mine.py:Wrong",
        "-k",
        "forward_within or mine.py:Wrong-gradients_within",
    )
    result.assert_outcomes(
        failed=1,
        passed=1,
        deselected=len(REGISTRY) - 2 - count_inapplicable("rnn", "complex", "tangent", "bitwise"),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "gradients_within_budget failed: Every gradient is that of the cell's equations*",
            "*but should be*times its budget)",
            "wrong: *",
            "seen in * cases*",
            "smallest case: rnn float32 *",
            "seed 0",
            "FAILED test_mine.py::test_mine[[]mine.py:Wrong-gradients_within_budget[]]*",
        ]
    )
    assert "runner.py" not in result.stdout.str()


def test_a_documented_failure_is_an_xfail_with_its_reason(run):
    result = run(
        "--gatecheck-impl",
        "mine.py:Documented",
        "-k",
        "gradients_within_budget and not long",
        "-rx",
    )
    assert result.parseoutcomes()["xfailed"] == 1
    result.stdout.fnmatch_lines(["XFAIL *documented: one step only"])


def test_gradient_properties_are_not_collected_without_a_backward(run):
    result = run("--gatecheck-impl", "mine.py:Forward", "--collect-only", "-q")
    assert "forward_within_budget" in result.stdout.str()
    assert "gradients" not in result.stdout.str()


def test_several_implementations_and_a_selection(run):
    result = run(
        "--gatecheck-impl",
        "mine.py:Right",
        "--gatecheck-impl",
        "builtin:gru",
        "-k",
        "builtin:gru-forward_within or Right-outputs_are_causal",
        "-v",
    )
    result.stdout.fnmatch_lines_random(
        [
            "*builtin:gru-forward_within_budget[]] PASSED*",
            "*mine.py:Right-outputs_are_causal[]] PASSED*",
        ]
    )
    assert result.parseoutcomes()["passed"] == 2


def test_our_own_cells_by_default(run):
    printed = run("--collect-only", "-q").stdout.str()
    assert all(f"[builtin:{cell}-forward_within_budget]" in printed for cell in CELLS)
    assert "builtin:rnn-gates_in_unit_interval" not in printed


def test_the_properties_of_the_package(run):
    result = run(
        "--pyargs",
        "gatecheck.properties",
        "--gatecheck-impl",
        "mine.py:Right",
        "-k",
        "outputs_are_causal",
        "-v",
    )
    result.stdout.fnmatch_lines(["*test_property[[]mine.py:Right-outputs_are_causal[]] PASSED*"])


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--gatecheck-impl", "mine.py"], "should be written builtin:CELL"),
        (["--gatecheck-impl", "none.py:Mine"], "there is no file none.py"),
        (["--gatecheck-impl", "mine.py:Yours"], "there is no Yours there"),
        (["--gatecheck-profile", "slow"], "slow"),
        (["--gatecheck-seed", "x"], "x"),
    ],
)
def test_a_wrong_option_is_a_usage_error(run, arguments, fragment):
    result = run(*arguments)
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    printed = result.stdout.str() + result.stderr.str()
    assert fragment in printed
    assert "Traceback" not in printed
    assert "INTERNALERROR" not in printed


def test_tests_of_others_are_left_alone(pytester):
    pytester.makepyfile(
        "import pytest\n@pytest.fixture\ndef implementation(): return 3\n"
        "def test_it(implementation): assert implementation == 3"
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


HEAVY = ("numpy", "scipy", "numba", "hypothesis", "torch", "jax", "keras", "rich", "click")


@pytest.mark.parametrize(
    ("module", "light"), [("gatecheck.pytest_plugin", True), ("gatecheck.auditing.audit", False)]
)
def test_the_plugin_is_light(module, light):
    """Every pytest run of an environment imports it.

    The other module shows that heavy imports would be detected.
    """
    code = (
        f"import sys, json, {module}; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert [m for m in HEAVY if find_spec(m) is None] == []
    assert (json.loads(done.stdout) == []) == light


DECORATED = """
import gatecheck as gk
from mine import Right, Wrong
@gk.parametrize_with_properties([{implementation}], expected_failures={expected})
def test_decorated(implementation, prop):
    prop(implementation)
"""


@pytest.fixture
def run_decorated(run, pytester):
    """Return a function that runs tests of the decorator, with expected failures."""

    def decorated(implementation, expected, *arguments):
        pytester.makepyfile(
            test_decorated=DECORATED.format(implementation=implementation, expected=expected)
        )
        return run("test_decorated.py", *arguments)

    return decorated


def test_the_decorator_makes_a_test_of_every_property_that_applies(run_decorated):
    result = run_decorated("Right, Wrong()", {}, "-k", "gradients_within or zero_cot")
    result.assert_outcomes(
        passed=3,
        failed=1,
        deselected=2 * (len(REGISTRY) - count_inapplicable("rnn", "complex", "tangent", "bitwise"))
        - 4,
    )
    result.stdout.fnmatch_lines(
        [
            "gradients_within_budget failed: Every gradient is that of the cell's equations*",
            "smallest case: rnn float32 *",
        ]
    )


def test_an_expected_failure_is_an_xfail(run_decorated):
    result = run_decorated(
        "Wrong()",
        {"gradients_within_budget": "documented: one step only"},
        "-k",
        "gradients_within",
        "-rx",
    )
    result.assert_outcomes(
        xfailed=1,
        deselected=len(REGISTRY) - count_inapplicable("rnn", "complex", "tangent", "bitwise") - 1,
    )
    result.stdout.fnmatch_lines(["*documented: one step only*"])


def test_an_expected_failure_that_holds_fails(run_decorated):
    result = run_decorated(
        "Right()",
        {"gradients_within_budget": "documented: one step only"},
        "-k",
        "gradients_within",
    )
    result.assert_outcomes(
        failed=1,
        deselected=len(REGISTRY) - count_inapplicable("rnn", "complex", "tangent", "bitwise") - 1,
    )
    result.stdout.fnmatch_lines(["*XPASS(strict)*documented: one step only*"])


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            {"gradients_within_budget": " "},
            "gradients_within_budget is expected to fail without a reason",
        ),
        ({"gradients_within": "no"}, "there is no property gradients_within; did you mean"),
        (
            {"update_gate_of_zeros_copies": "no"},
            "update_gate_of_zeros_copies is expected to fail, but does not apply to edited rnn",
        ),
    ],
)
def test_a_stale_or_bare_expectation_is_an_error(run_decorated, expected, message):
    result = run_decorated("Right()", expected)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{message}*"])
