"""Selection of properties, their expected failures, and the profiles."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from gatecheck._util.arguments import (
    describe_argument,
)
from gatecheck.auditing.applicability import why_not_applicable
from gatecheck.auditing.explore import (
    PROFILES,
)
from gatecheck.checking.registry import REGISTRY, Property
from gatecheck.errors import (
    UsageError,
)
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomSubject

AnySubject = TypeVar("AnySubject", Subject, CustomSubject, Subject | CustomSubject)

PROPERTY_MODULES = (
    "contract",
    "gates",
    "precision",
    "gradients",
    "reductions",
    "one_step",
    "state",
    "lengths",
    "layers",
    "symmetry",
)
"""Modules of `properties`, in the order of trials and reports.

The order does not depend on which module was imported first.
"""


def select_properties(only: Iterable[str] = ()) -> list[Property]:
    """Return the properties of these names, or all, in the order of reports.

    Raises
    ------
    UsageError
        If there is no property of a name.
    """
    for module in PROPERTY_MODULES:
        importlib.import_module(f"gatecheck.properties.{module}")
    if isinstance(only, str):
        raise UsageError(f"only is {only!r}, but should be a list of names: [{only!r}]")
    names = list(only)
    if not_names := [name for name in names if not isinstance(name, str)]:
        raise UsageError(
            f"only holds {describe_argument(not_names[0])}, but should be a list of names"
        )
    unknown = [name for name in names if name not in REGISTRY]
    if unknown:
        near = [n for name in unknown for n in difflib.get_close_matches(name, REGISTRY, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"there is no property {', '.join(unknown)}; {hint}`gatecheck properties` lists them "
            "all"
        )
    places = {module: place for place, module in enumerate(PROPERTY_MODULES)}
    chosen = [c for name, c in REGISTRY.items() if not names or name in names]
    return sorted(
        chosen, key=lambda c: places.get(c.check.__module__.rpartition(".")[2], len(places))
    )


def validate_reasons(expected_failures: Mapping[str, str]) -> dict[str, str]:
    """Return expected failures as a dict, once each names a property and a reason.

    Parameters
    ----------
    expected_failures
        Reasons by the name of a property.

    Raises
    ------
    UsageError
        Naming the property.
    """
    for name, reason in expected_failures.items():
        select_properties([name])
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                f"{name} is expected to fail without a reason: give one, with its source"
            )
    return dict(expected_failures)


def with_expected_failures(
    implementation: AnySubject, expected_failures: Mapping[str, str] | None
) -> AnySubject:
    """Return an implementation with expected failures added to those it declares.

    Raises
    ------
    UsageError
        See :func:`validate_reasons`; or if a property does not apply to the implementation.
    """
    added = validate_reasons(expected_failures or {})
    for chosen in select_properties(added) if added else ():
        if reason := why_not_applicable(chosen, implementation):
            raise UsageError(
                f"{chosen.name} is expected to fail, but does not apply to {implementation.name}: "
                f"it {reason}"
            )
    return replace(implementation, expected_failures={**implementation.expected_failures, **added})


def applicable_properties(implementation: Subject | CustomSubject) -> list[Property]:
    """Return the properties that apply to an implementation."""
    return [c for c in select_properties() if not why_not_applicable(c, implementation)]


def check_profile(profile: str) -> None:
    """Check that a profile exists.

    Raises
    ------
    UsageError
        If it does not.
    """
    if not isinstance(profile, str) or profile not in PROFILES:
        raise UsageError(
            f"there is no profile {describe_argument(profile)}; the profiles are "
            f"{', '.join(PROFILES)}"
        )
