"""Properties as pytest tests, for the plugin's fixtures and the decorator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from gatecheck._util.arguments import LIST, MAPPING, SEED, optional, validate_args
from gatecheck.auditing.audit import audit, make_subject
from gatecheck.auditing.selection import applicable_properties, check_profile, validate_reasons
from gatecheck.checking.registry import Property
from gatecheck.errors import LAYOUT, UsageError, printable


def make_test(property_: Property, profile: str, seed: int) -> Callable[[Any], None]:
    """Return a property as a function of an implementation that fails the test.

    The failure message has the finding, its smallest case and the seed.
    """

    def prop(implementation: Any) -> None:
        (result,) = audit(
            implementation, only=[property_.name], profile=profile, seed=seed, diagnose=False
        ).properties
        if result.outcome == "expected_failure":
            pytest.xfail(printable(result.reason, LAYOUT))
        if result.outcome != "passed":
            case = f"\nsmallest case: {result.counterexample}" if result.counterexample else ""
            pytest.fail(
                f"{result.name} {result.outcome}: {property_.summary}\n"
                f"{printable(result.reason, LAYOUT)}{case}\nseed {seed}",
                pytrace=False,
            )

    return prop


@validate_args(implementations=LIST, expected_failures=optional(MAPPING), seed=SEED)
def parametrize_with_properties(
    implementations: Iterable[Any],
    *,
    expected_failures: Mapping[str, str] | None = None,
    profile: str = "quick",
    seed: int = 0,
) -> Any:
    """Parametrize a test with implementations and every property that applies to each.

    The test has the arguments `implementation` and `prop`, and calls ``prop(implementation)``.

    Parameters
    ----------
    implementations
        Implementations, or classes of them; see
        :class:`gatecheck.implementation.protocol.Implementation`.
    expected_failures
        Reasons why properties are expected to fail, by property name. Strict: a property that holds
        fails the test.
    profile, seed
        See :func:`gatecheck.audit`.

    Raises
    ------
    UsageError
        If an expected failure gives no reason, or names no property that applies to any of the
        implementations.

    Examples
    --------
    >>> import gatecheck as gk
    >>> @gk.parametrize_with_properties([gk.Builtin("gru")])
    ... def test_my_gru(implementation, prop):
    ...     prop(implementation)
    """
    check_profile(profile)
    expected = validate_reasons(expected_failures or {})
    pairs = [
        (s, c) for s in (make_subject(i) for i in implementations) for c in applicable_properties(s)
    ]
    for name in expected:
        if name not in {c.name for _, c in pairs}:
            raise UsageError(
                f"{name} is expected to fail, but does not apply to "
                f"{' or '.join(s.name for s, _ in pairs) or 'any implementation'}"
            )

    def marks(prop: Property) -> list[Any]:
        return (
            [pytest.mark.xfail(reason=printable(expected[prop.name], LAYOUT), strict=True)]
            if prop.name in expected
            else []
        )

    return pytest.mark.parametrize(
        ("implementation", "prop"),
        [
            pytest.param(s, make_test(c, profile, seed), id=f"{s.name}-{c.name}", marks=marks(c))
            for s, c in pairs
        ],
    )
