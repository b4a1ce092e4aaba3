"""Faults on trial: what is the same for many faults is computed once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from gatecheck.cases import Case
from gatecheck.cells import as_cell
from gatecheck.checking.budgets import remembered
from gatecheck.checking.evidence import Evidence, Violation
from gatecheck.checking.registry import Claim
from gatecheck.errors import TargetError
from gatecheck.faults.edited_cell import Edited
from gatecheck.faults.fault import Fault
from gatecheck.implementation import Results, Subject, subject

# ---- the results of a case


def _copied(results: Results) -> Results:
    return {k: v.copy() for k, v in results.items()}


@remembered
def _true_forward(case: Case) -> Results:
    return subject(Edited(case.cell)).forward(case)


@dataclass(frozen=True, eq=False)
class Planted(Subject):
    """A fault in the equations.

    Attributes
    ----------
    true_forward
        Whether its forward is that of the truth, which is computed once for all such faults.
    """

    true_forward: bool = False

    def forward(self, case: Case, arguments: Mapping[str, Any] | None = None) -> Results:
        """As of any subject."""
        return (
            _copied(_true_forward(case))
            if self.true_forward and arguments is None
            else super().forward(case, arguments)
        )


# ---- properties that ask for no gradient


class _GradientAskedFor(BaseException):
    """Not an Exception, which would count as a crash of the target."""


class _WithoutGradients(Edited):
    """The truth, as far as it can be told without its gradients."""

    def backward(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise _GradientAskedFor


@lru_cache(maxsize=16384)
def without_gradients(claim: Claim, case: Case) -> Evidence | None:
    """What a property says of the truth on a case, or None if it asks for a gradient there."""
    try:
        return claim(subject(_WithoutGradients(case.cell)), case)
    except (_GradientAskedFor, Violation, TargetError):
        return None


def on_wrong_gradients(claim: Claim) -> Claim:
    """The same property for a fault in backward's equations alone: where it asks for no gradient,
    what it says of the truth.

    There it would make the very same calls and see the same results, so this is once a process
    where it would be once a fault.
    """

    def check(implementation: Subject, case: Case) -> Evidence:
        known = without_gradients(claim, case)
        return claim(implementation, case) if known is None else known

    return replace(claim, check=check)


# ---- a fault, and what to try on it


def on_trial(fault: Fault) -> tuple[Subject, bool]:
    """A fault as the properties see it, and whether it changes nothing but gradients."""
    plain = subject(fault.plant(), name=fault.label)
    if fault.wrap is not None or fault.edit is None:
        return plain, False
    only_gradients = fault.side(as_cell(fault.cell)) == "backward"
    return Planted(
        **{f.name: getattr(plain, f.name) for f in fields(plain) if f.init},
        true_forward=only_gradients,
    ), only_gradients


def in_order(chosen: list[Claim]) -> list[Claim]:
    """Properties in an order in which most faults are killed soon.

    First the one that wants to see a first call, then those that compare with the equations, on all
    their cases, the few long ones too.
    """
    first, *rest = chosen
    return [first, *sorted(rest, key=lambda c: not c.reference)]
