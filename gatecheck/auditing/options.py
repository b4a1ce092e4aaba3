"""Options of an audit, from a call, a command line or a table of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gatecheck._util.typing import Progress


@dataclass(frozen=True)
class AuditOptions:
    """Extent and thoroughness of an audit.

    Attributes
    ----------
    profile
        Number of cases: ``"quick"``, ``"ci"`` or ``"thorough"``.
    only
        Names of properties, to run these alone.
    seed
        Seed of the cases.
    expected_failures
        Reasons why properties are expected to fail, by property name.
    diagnose
        Search for what explains the findings.
    progress
        Called with the number of checks done, their total, and the name of the current property.
    """

    profile: str = "ci"
    only: tuple[str, ...] = ()
    seed: int = 0
    expected_failures: Mapping[str, str] | None = None
    diagnose: bool = True
    progress: Progress | None = None


class TargetOptions(NamedTuple):
    """Declarations of a target that a command gives in place of its own.

    Attributes
    ----------
    cell, convention, device
        See :func:`gatecheck.targets.loading.load_implementation`.
    """

    cell: str | None = None
    convention: str | None = None
    device: str | None = None


AS_DECLARED = TargetOptions()
"""Options that leave all to the target."""
