"""The outcome of a property, from the tally of its cases."""

from __future__ import annotations

from typing import Any

from gatecheck.auditing.explore import (
    Tally,
)
from gatecheck.auditing.result import PropertyOutcome, PropertyResult
from gatecheck.checking.registry import Property
from gatecheck.errors import (
    BugError,
    TargetCrashError,
    TargetError,
    TargetTimeoutError,
)
from gatecheck.implementation.base import BaseSubject


def _format_reason(tally: Tally) -> str:
    frequency = f"seen in {tally.failures} of {tally.examples} cases" if tally.failures else ""
    return "\n".join(
        filter(
            None,
            [str(tally.failure), "; ".join(filter(None, [frequency, tally.widest_failure[1]]))],
        )
    )


def _failure_outcome(failure: Exception) -> PropertyOutcome:
    if isinstance(failure, BugError):
        return "error"
    if isinstance(failure, TargetTimeoutError):
        return "timed_out"
    crashed = isinstance(failure, TargetCrashError) or (
        isinstance(failure, TargetError) and failure.__cause__ is not None
    )
    return "crashed" if crashed else "failed"


def untried_result(prop: Property, reason: str) -> PropertyResult:
    """Return the result of a property that was not tried."""
    return PropertyResult(prop.name, "skipped", reason=reason)


def property_result(
    implementation: BaseSubject, tally: Tally, interrupted: bool = False
) -> PropertyResult:
    """Return the result of a property from the tally of its cases.

    If the audit was interrupted, a property that has held so far is not known to hold.
    """
    prop, evidence = tally.prop, tally.evidence
    if interrupted and tally.failure is None:
        reason = (
            f"held on {tally.examples} cases until the audit was interrupted"
            if tally.examples
            else "was not tried before the audit was interrupted"
        )
        outcome: PropertyOutcome = "inconclusive" if tally.examples else "skipped"
        return PropertyResult(prop.name, outcome, tally.examples, reason=reason)
    blocks = evidence.judged + evidence.inconclusive
    expected = implementation.expected_failures.get(prop.name)
    common: dict[str, Any] = {
        "examples": tally.examples,
        "worst_ratio": evidence.ratio if evidence.judged else None,
        "inconclusive": evidence.inconclusive / blocks if blocks else 0.0,
    }
    if tally.failure is not None:
        common |= {
            "counterexample": tally.case,
            "worst_ratio": getattr(tally.failure, "ratio", None),
        }
        if expected and not isinstance(tally.failure, BugError):
            return PropertyResult(prop.name, "expected_failure", reason=expected, **common)
        return PropertyResult(
            prop.name, _failure_outcome(tally.failure), reason=_format_reason(tally), **common
        )
    if expected:
        return PropertyResult(
            prop.name, "failed", reason=f"it holds, but was expected to fail: {expected}", **common
        )
    undecided = [dtype for dtype, judged in sorted(tally.judged_by_dtype.items()) if judged == 0]
    if undecided or not tally.judged_by_dtype:
        reason = (
            f"no case could be judged in {' and '.join(undecided) or 'any dtype'}: rounding may "
            "be as large as the values"
        )
        return PropertyResult(prop.name, "inconclusive", reason=reason, **common)
    return PropertyResult(prop.name, "passed", **common)
