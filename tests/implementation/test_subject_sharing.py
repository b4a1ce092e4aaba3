"""Shared results: a target is called once for a case of many properties."""

import numpy as np
import pytest

from gatecheck.auditing.explore import check_subject
from gatecheck.cases import draw
from gatecheck.cells import GRU, Sizes
from gatecheck.checking.evidence import Evidence
from gatecheck.checking.registry import Property
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject

METHODS = ["forward", "backward"]


class CallCounter(EditedCell):
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
def counting_subject():
    return subject(CallCounter())


@pytest.mark.parametrize("method", METHODS)
def test_the_target_is_called_once(counting_subject, method):
    call, case = getattr(counting_subject, method), case_of()
    counting_subject.share(case)
    first = call(case)
    counting_subject.session.target.zero = True
    again = call(case)
    assert counting_subject.session.target.calls == [method]
    assert again.keys() == first.keys()
    assert all((again[k] == first[k]).all() and again[k].any() for k in first)


@pytest.mark.parametrize("method", METHODS)
def test_no_property_can_change_what_the_next_one_gets(counting_subject, method):
    call, case = getattr(counting_subject, method), case_of()
    counting_subject.share(case)
    first = call(case)
    with pytest.raises(ValueError, match="read-only"):
        next(iter(first.values()))[...] = 0
    name, _ = first.popitem()
    assert name in call(case)


@pytest.mark.parametrize("method", METHODS)
def test_another_layout_or_another_case_is_a_separate_call(counting_subject, method):
    call, case = getattr(counting_subject, method), case_of()
    counting_subject.share(case)
    call(case)
    call(case.replace())
    call(case, strided=True)
    assert counting_subject.session.target.calls == [method] * 3


def test_shared_results_belong_to_one_case(counting_subject):
    case, other = case_of(), case_of(seed=1)
    counting_subject.share(case)
    y = counting_subject.forward(case)["y"]
    counting_subject.share(other)
    assert (counting_subject.forward(other)["y"] != y).any()
    counting_subject.share(case)
    np.testing.assert_array_equal(counting_subject.forward(case)["y"], y)
    assert len(counting_subject.session.target.calls) == 3


def test_nothing_is_shared_by_default(counting_subject):
    case = case_of()
    counting_subject.forward(case)
    counting_subject.forward(case)
    assert len(counting_subject.session.target.calls) == 2


def test_properties_share_a_case_also_if_it_comes_from_another_process(counting_subject):
    def check(implementation, case):
        implementation.run(case)
        return Evidence(judged=1)

    prop = Property("runs", check, frozenset(), "any", ("float64",), "", False)
    for _ in range(3):
        check_subject(counting_subject, prop, case_of())
    assert counting_subject.session.target.calls == METHODS
