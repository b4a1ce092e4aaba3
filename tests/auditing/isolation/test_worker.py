"""Failures on their way from the process of a target to the one that audits it."""

import pytest

from gatecheck import errors
from gatecheck.auditing.isolation.worker import _loading_failure
from gatecheck.implementation.session import ERRORS, to_failure

TARGET_ERRORS = [kind for kind in ERRORS.values() if issubclass(kind, errors.TargetError)]


@pytest.mark.parametrize("kind", ERRORS.values(), ids=lambda kind: kind.__name__)
def test_each_error_of_ours_arrives_as_what_it_was(kind):
    arrived = _loading_failure(kind("what was wrong")).to_exception()
    assert type(arrived) is kind
    assert str(arrived) == "what was wrong"


@pytest.mark.parametrize("kind", TARGET_ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_of_an_adapter_stays_what_it_was(kind):
    assert type(to_failure("forward", kind("odd")).to_exception()) is kind


def test_a_class_of_the_target_arrives_as_the_nearest_of_ours():
    class TheirsError(errors.ContractError):
        pass

    assert to_failure("forward", TheirsError("odd")).kind == "ContractError"


def test_a_class_that_only_claims_to_be_ours_is_an_exception_of_the_target():
    class ContractError(Exception):
        __module__ = "gatecheck.errors"

    failure = to_failure("forward", ContractError("hello"))
    assert failure.kind == "TargetCrashError"
    assert "forward raised ContractError: hello" in failure.message


def test_an_exception_whose_text_raises_has_a_name():
    class Evil(Exception):
        def __str__(self):
            raise RuntimeError

    assert "forward raised Evil: a Evil without a text" in to_failure("forward", Evil()).message
