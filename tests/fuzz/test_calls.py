"""Anything in the place of an argument of a public function: it serves, or an error of ours names
the argument.
"""

import random
import re
import warnings

import pytest

import gatecheck
from gatecheck.errors import GatecheckError
from helpers.fuzzing.calls import CALLS, CASE, WRONG

SLOW = {"audit": 9, "infer": 5}
"""So many of the values for each argument of these, since those that serve are work."""

OTHERWISE = {
    "target": "so it is not an implementation|does not say which cell it is",
    "implementations": "so it is not an implementation",
    "only": "there is no property",
    "expected_failures": "there is no property|is expected to fail",
    "path": "there is no file|cannot be (written|read)|does not (hold|say)",
    "params": "the arrays are named",
    "cell": "of a (gru|lstm)|the arrays are named",
    "inputs": "x is|W is",
}
"""What names an argument by what it holds."""


@pytest.fixture(autouse=True)
def a_case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CASE.save("case.npz", property="outputs_are_causal", implementation="x")


def values(name, argument):
    # what a function of the caller's raises is the caller's
    theirs = {"fn", "vjp", "jvp", "progress"}
    found = [w for w in WRONG if argument not in theirs or not callable(w)]
    return random.Random(f"{name} {argument}").sample(found, SLOW.get(name, len(found)))


@pytest.mark.parametrize("name", CALLS)
def test_what_is_right_serves(name):
    function, right = CALLS[name]
    function(**right)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_wrong_is_named(name):
    function, right = CALLS[name]
    unnamed, refused = [], set()
    for argument in right:
        for value in values(name, argument):
            try:
                function(**right | {argument: value})
            except GatecheckError as error:
                said = str(error)
                refused.add(argument)
                if argument not in said and not re.search(OTHERWISE.get(argument, "$."), said):
                    unnamed.append((argument, type(value), said))
            # over which some of them write
            CASE.save("case.npz", property="outputs_are_causal", implementation="x")
    assert unnamed == []
    assert refused >= right.keys() - {"about"}


def test_every_public_function_is_called():
    # which nobody makes, and which take nothing
    unasked = {"AuditResult", "get_include", "__version__"}
    assert {name.partition(".")[0] for name in CALLS} == {*gatecheck.__all__} - unasked


@pytest.mark.parametrize("name", ["RNN", "Builtin.forward", "convert", "audit"])
def test_arguments_that_are_unknown_missing_or_twice(name):
    """Python's own errors name them."""
    function, right = CALLS[name]
    with pytest.raises(TypeError, match="unknown"):
        function(**right, unknown=1)
    with warnings.catch_warnings(), pytest.raises(TypeError, match=r"multiple values|positional"):
        function(*right.values(), 1, 2, 3, 4, 5, 6, 7, 8, 9)
