"""Subjects with one fault, for the kill matrix.

Results that many faults have in common are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from gatecheck.cases import Case
from gatecheck.cells import as_cell
from gatecheck.checking.budgets import cached_by_case
from gatecheck.checking.evidence import Evidence, Violation
from gatecheck.checking.registry import Property
from gatecheck.errors import TargetError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.fault import Fault
from gatecheck.implementation import Results, Subject, subject

# ---- the results of a case


def _copy_results(results: Results) -> Results:
    return {k: v.copy() for k, v in results.items()}


@cached_by_case
def _correct_forward(case: Case) -> Results:
    return subject(EditedCell(case.cell)).forward(case)


@dataclass(frozen=True, eq=False)
class FaultySubject(Subject):
    """Subject with a fault in its equations.

    Attributes
    ----------
    correct_forward
        True if its forward is the correct one, which is computed once for all such faults.
    """

    correct_forward: bool = False

    def _run(self, case: Case, methods: Sequence[str]) -> Results:
        if not self.correct_forward or "forward" not in methods:
            return super()._run(case, methods)
        others = [method for method in methods if method != "forward"]
        return _copy_results(_correct_forward(case)) | (
            super()._run(case, others) if others else {}
        )


# ---- properties that need no gradient


class _GradientNeeded(BaseException):
    """Signal that a property needs a gradient.

    It is not an Exception, which would count as a crash of the target.
    """


class _WithoutGradients(EditedCell):
    """The correct cell, without gradients."""

    def backward(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise _GradientNeeded


@lru_cache(maxsize=16384)
def evidence_without_gradients(prop: Property, case: Case) -> Evidence | None:
    """Return a property's evidence for the correct cell, if it needs no gradient.

    None if the property needs a gradient on this case, or does not hold.
    """
    try:
        return prop(subject(_WithoutGradients(case.cell)), case)
    except (_GradientNeeded, Violation, TargetError):
        return None


def reuse_forward_evidence(prop: Property) -> Property:
    """Return the same property for faults in the backward's equations alone.

    Where it needs no gradient, its evidence is that for the correct cell: it would make the very
    same calls and see the same results. So it is computed once a process instead of once a fault.
    """

    def check(implementation: Subject, case: Case) -> Evidence:
        known = evidence_without_gradients(prop, case)
        return prop(implementation, case) if known is None else known

    return replace(prop, check=check)


# ---- a fault, and the properties to try on it


def subject_for(fault: Fault) -> tuple[Subject, bool]:
    """Return the subject with a fault, and whether only its gradients are wrong."""
    plain = subject(fault.inject(), name=fault.label)
    if fault.wrap is not None or fault.edit is None:
        return plain, False
    only_gradients = fault.side(as_cell(fault.cell)) == "backward"
    return FaultySubject(
        **{f.name: getattr(plain, f.name) for f in fields(plain) if f.init},
        correct_forward=only_gradients,
    ), only_gradients


def order_properties(properties: list[Property]) -> list[Property]:
    """Sort properties so that most faults are killed soon.

    The one that needs to see a first call comes first, then those that compare with the equations,
    on all their cases, the few long ones too.
    """
    first, *rest = properties
    return [first, *sorted(rest, key=lambda c: not c.reference)]
