"""Registry of properties.

A property is a plain function of an implementation and a case; its docstring states the theorem.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES, CaseScope, listed_sizes
from gatecheck.cells import TRAITS
from gatecheck.checking.evidence import Evidence
from gatecheck.errors import WITHOUT_DOCSTRINGS, UsageError
from gatecheck.implementation import Subject
from gatecheck.implementation.protocol import ABILITIES

Check = Callable[[Subject, Case], Evidence]

PLAIN_LAYER = frozenset({"plain_layer", "no_projection"})
"""Traits that a property needs if it names blocks of weights or units."""


@dataclass(frozen=True, eq=False)
class Property:
    """One property of an implementation, quantified over cases.

    Attributes
    ----------
    name
        Name of the property in commands.
    check
        Function that returns evidence that the property holds for one implementation and case, or
        raises a Violation.
    needs
        Traits of the cell and abilities of the implementation without which it does not apply.
    scope
        Name of the scope of its cases.
    dtypes
        Dtypes that it can be judged in.
    varies
        Sizes among T, B, D, H that it changes: it does not apply to an implementation that fixes
        one of these.
    reference
        Whether it compares with values that another implementation computed, the reference's
        equations above all; a tolerance from there does not count.
    """

    name: str
    check: Check
    needs: frozenset[str]
    scope: str
    dtypes: tuple[str, ...]
    varies: str
    reference: bool

    @property
    def theorem(self) -> str:
        """Statement of the property, from its docstring."""
        return inspect.getdoc(self.check) or ""

    @property
    def summary(self) -> str:
        """First line of the theorem."""
        return self.theorem.partition("\n")[0]

    @property
    def case_scope(self) -> CaseScope:
        """Scope of its cases."""
        return SCOPES[self.scope]

    def __call__(self, implementation: Subject, case: Case) -> Evidence:
        return self.check(implementation, case)

    def why_not_applicable(self, implementation: Subject) -> str | None:
        """Return why the property does not apply to an implementation, or None."""
        for need in sorted(self.needs - implementation.traits):
            if need in ABILITIES:
                return f"holds only if {ABILITIES[need]}"
            return f"holds only if {TRAITS[need]}"
        for size in sorted(set(self.varies) & set(implementation.sizes)):
            only = implementation.sizes[size]
            return f"needs another {size} than {only}, the only one that the implementation takes"
        scope = self.case_scope
        if scope.listed and not listed_sizes(scope, implementation.sizes, 1):
            return "needs sizes other than the only ones that the implementation takes"
        if not set(self.dtypes) & set(implementation.dtypes):
            return f"is judged in {' and '.join(self.dtypes)} only"
        return None


def _source_location(check: Check) -> tuple[str | None, int]:
    return inspect.getsourcefile(check), inspect.getsourcelines(check)[1]


REGISTRY: dict[str, Property] = {}


def property_check(
    *,
    needs: Collection[str] = (),
    cases: str = "present",
    dtypes: tuple[str, ...] = ("float32", "float64"),
    varies: str = "",
    reference: bool = False,
    anywhere: bool = False,
) -> Callable[[Check], Property]:
    """Register a function as a property.

    Parameters
    ----------
    needs
        Traits and abilities that it needs; see :class:`Property`.
    cases
        A name in :data:`gatecheck.cases.strategies.SCOPES`.
    dtypes
        Dtypes that it can be judged in.
    varies
        Sizes that it changes, such as ``"TB"``.
    reference
        Whether it compares with another implementation.
    anywhere
        Whether it also holds for projections and for stacked and bidirectional layers; else it
        needs :data:`PLAIN_LAYER`.

    Raises
    ------
    UsageError
        If a trait or a scope does not exist, the docstring is missing, or the name is taken by
        another function.
    """
    unknown = set(needs) - {*TRAITS, *ABILITIES}
    if unknown or cases not in SCOPES:
        raise UsageError(f"a property needs unknown traits {sorted(unknown)} or cases {cases!r}")

    def register(check: Check) -> Property:
        name = check.__name__
        if not check.__doc__:
            if sys.flags.optimize > 1:
                raise UsageError(WITHOUT_DOCSTRINGS)
            raise UsageError(f"the property {name} states no theorem in its docstring")
        entry = Property(
            name,
            check,
            frozenset(needs) | (frozenset() if anywhere else PLAIN_LAYER),
            cases,
            dtypes,
            varies,
            reference,
        )
        existing = REGISTRY.get(name)
        # A module of properties may be imported twice, by the package's name and by pytest's path:
        # the same lines of the same file.
        if existing and _source_location(existing.check) != _source_location(check):
            raise UsageError(f"there are two properties named {name}")
        REGISTRY[name] = entry
        return entry

    return register
