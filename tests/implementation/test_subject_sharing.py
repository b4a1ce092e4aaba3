"""Shared results: a target is called once for a case of many properties."""

import numpy as np
import pytest

from gatecheck.auditing.explore import tried
from gatecheck.cases import draw
from gatecheck.cells import GRU, Sizes
from gatecheck.checking.evidence import Evidence
from gatecheck.checking.registry import Claim
from gatecheck.faults.edited_cell import Edited
from gatecheck.implementation import subject

METHODS = ["forward", "backward"]


class Counted(Edited):
    """A cell that counts its calls, and returns zeros if `zero` is set."""

    zero = False

    def __init__(self):
        super().__init__(GRU())
        self.calls = []

    def forward(self, *arguments):
        self.calls.append("forward")
        return tuple(v * (not self.zero) for v in super().forward(*arguments))

    def backward(self, *arguments):
        self.calls.append("backward")
        return {k: v * (not self.zero) for k, v in super().backward(*arguments).items()}


def case_of(seed=0):
    return draw(GRU(), Sizes(3, 2, 4, 5), seed=seed, dtype="float64")


@pytest.fixture
def mine():
    return subject(Counted())


@pytest.mark.parametrize("method", METHODS)
def test_the_target_is_asked_once(mine, method):
    call, case = getattr(mine, method), case_of()
    mine.share(case)
    first = call(case)
    mine.target.zero = True
    again = call(case)
    assert mine.target.calls == [method]
    assert again.keys() == first.keys()
    assert all((again[k] == first[k]).all() and again[k].any() for k in first)


@pytest.mark.parametrize("method", METHODS)
def test_no_property_can_change_what_the_next_one_gets(mine, method):
    call, case = getattr(mine, method), case_of()
    mine.share(case)
    first = call(case)
    with pytest.raises(ValueError, match="read-only"):
        next(iter(first.values()))[...] = 0
    name, _ = first.popitem()
    assert name in call(case)


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_its_own_are_a_call_of_its_own_and_so_is_another_case(mine, method):
    call, case = getattr(mine, method), case_of()
    mine.share(case)
    call(case)
    call(case, mine.arguments(case))
    call(case.having(x=case["x"]))
    assert mine.target.calls == [method] * 3


def test_what_is_shared_is_of_one_case(mine):
    case, other = case_of(), case_of(seed=1)
    mine.share(case)
    y = mine.forward(case)["y"]
    mine.share(other)
    assert (mine.forward(other)["y"] != y).any()
    mine.share(case)
    np.testing.assert_array_equal(mine.forward(case)["y"], y)
    assert len(mine.target.calls) == 3


def test_nothing_is_shared_unasked(mine):
    case = case_of()
    mine.forward(case)
    mine.forward(case)
    assert len(mine.target.calls) == 2


def test_properties_share_a_case_also_if_it_comes_from_another_process(mine):
    def check(implementation, case):
        implementation.run(case)
        return Evidence(judged=1)

    claim = Claim("runs", check, frozenset(), "any", ("float64",), "", False)
    for _ in range(3):
        tried(mine, claim, case_of())
    assert mine.target.calls == METHODS
