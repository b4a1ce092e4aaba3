"""Exceptions on their way from the process of a target to the one that audits it."""

import pytest

from gatecheck import errors
from gatecheck.auditing.isolation.worker import to_failure
from gatecheck.checking.evidence import Violation

RAISED = [getattr(errors, name) for name in errors.__all__ if name != "GatecheckWarning"]


@pytest.mark.parametrize("kind", [*RAISED, Violation], ids=lambda kind: kind.__name__)
def test_each_error_of_ours_arrives_as_what_it_was(kind):
    arrived = to_failure(kind("what was wrong")).to_exception()
    assert type(arrived) is kind
    assert str(arrived) == "what was wrong"


def test_a_class_of_the_target_arrives_as_the_nearest_of_ours():
    class TheirsError(errors.ContractError):
        pass

    assert type(to_failure(TheirsError("odd")).to_exception()) is errors.ContractError


def test_a_class_that_only_claims_to_be_ours_does_not_pass():
    class FakeError(Exception):
        __module__ = "gatecheck.errors"

    sent = to_failure(FakeError("hello"))
    assert sent.error_type is RuntimeError
    assert "hello" in sent.bug_traceback
