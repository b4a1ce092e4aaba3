"""Wrong values for an argument of a public function.

The call works, or an error of ours names the argument.
"""

import random
import re
import warnings

import pytest

import gatecheck
from gatecheck.errors import GatecheckError
from helpers.fuzzing.calls import CALLS, CASE, WRONG_VALUES

SLOW_SAMPLES = {"audit": 9, "infer": 5}
"""Number of values for each argument of slow functions.

A call that works takes long.
"""

INDIRECT_MESSAGES = {
    "target": "so it is not an implementation|does not say which cell it is",
    "implementations": "so it is not an implementation",
    "only": "there is no property",
    "expected_failures": "there is no property|is expected to fail",
    "path": "there is no file|cannot be (written|read)|does not (hold|say)",
    "params": "the arrays are named",
    "cell": "of a (gru|lstm)|the arrays are named",
    "inputs": "x is|W is",
}
"""Messages that name an argument by what it holds."""


@pytest.fixture(autouse=True)
def a_case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CASE.save("case.npz", property="outputs_are_causal", implementation="x")


def values(name, argument):
    # An exception that the caller's function raises passes through.
    callbacks = {"fn", "vjp", "jvp", "progress"}
    candidates = [w for w in WRONG_VALUES if argument not in callbacks or not callable(w)]
    return random.Random(f"{name} {argument}").sample(
        candidates, SLOW_SAMPLES.get(name, len(candidates))
    )


@pytest.mark.parametrize("name", CALLS)
def test_correct_call_works(name):
    function, right = CALLS[name]
    function(**right)


@pytest.mark.parametrize("name", CALLS)
def test_wrong_argument_is_named(name):
    function, right = CALLS[name]
    unnamed, refused = [], set()
    for argument in right:
        for value in values(name, argument):
            try:
                function(**right | {argument: value})
            except GatecheckError as error:
                message = str(error)
                refused.add(argument)
                if argument not in message and not re.search(
                    INDIRECT_MESSAGES.get(argument, "$."), message
                ):
                    unnamed.append((argument, type(value), message))
            # Some of the calls overwrite the file.
            CASE.save("case.npz", property="outputs_are_causal", implementation="x")
    assert unnamed == []
    assert refused >= right.keys() - {"about"}


def test_every_public_function_is_called():
    # Users do not call these, or they take no arguments.
    uncalled = {"AuditResult", "get_include", "__version__"}
    assert {name.partition(".")[0] for name in CALLS} == {*gatecheck.__all__} - uncalled


@pytest.mark.parametrize("name", ["RNN", "Builtin.forward", "convert", "audit"])
def test_arguments_that_are_unknown_missing_or_twice(name):
    """Python's own errors name them."""
    function, right = CALLS[name]
    with pytest.raises(TypeError, match="unknown"):
        function(**right, unknown=1)
    with warnings.catch_warnings(), pytest.raises(TypeError, match=r"multiple values|positional"):
        function(*right.values(), 1, 2, 3, 4, 5, 6, 7, 8, 9)
