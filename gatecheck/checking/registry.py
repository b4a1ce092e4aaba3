"""The registry of claims. A property is ``claim(implementation, case)``: a plain function whose
docstring states the theorem.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES, Scope
from gatecheck.cells import TRAITS
from gatecheck.checking.evidence import Evidence
from gatecheck.errors import UsageError
from gatecheck.implementation import Subject
from gatecheck.implementation.protocol import ABILITIES

Check = Callable[[Subject, Case], Evidence]

PLAIN = frozenset({"one_layer", "square"})
"""What a claim that names blocks of weights or units asks for."""


@dataclass(frozen=True, eq=False)
class Claim:
    """One claim about an implementation, quantified over cases.

    Attributes
    ----------
    name
        As commands know it.
    check
        Returns evidence that the claim holds for one implementation and case, or raises a
        Violation.
    needs
        Traits of the cell and abilities of the implementation without which it says nothing.
    scope
        The cases it is quantified over.
    dtypes
        The dtypes it can be judged in.
    varies
        Those of T, B, D, H that it changes: an implementation that insists on one of these cannot
        be held to it.
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
        """What it claims, from its docstring."""
        return inspect.getdoc(self.check) or ""

    @property
    def summary(self) -> str:
        """The first line of the theorem."""
        return self.theorem.partition("\n")[0]

    @property
    def cases(self) -> Scope:
        """The cases it is quantified over."""
        return SCOPES[self.scope]

    def __call__(self, implementation: Subject, case: Case) -> Evidence:
        return self.check(implementation, case)

    def inapplicable(self, implementation: Subject) -> str | None:
        """Why the claim says nothing about an implementation, or None where it does."""
        for need in sorted(self.needs - implementation.traits):
            if need in ABILITIES:
                return f"holds only if {ABILITIES[need]}"
            return f"holds only if {TRAITS[need]}"
        for size in sorted(set(self.varies) & set(implementation.sizes)):
            return f"needs another {size} than {implementation.sizes[size]}, on which the implementation insists"
        if not set(self.dtypes) & set(implementation.dtypes):
            return f"is judged in {' and '.join(self.dtypes)} only"
        return None


def _place(check: Check) -> tuple[str | None, int]:
    return inspect.getsourcefile(check), inspect.getsourcelines(check)[1]


REGISTRY: dict[str, Claim] = {}


def claim(
    *,
    needs: Collection[str] = (),
    cases: str = "present",
    dtypes: tuple[str, ...] = ("float32", "float64"),
    varies: str = "",
    reference: bool = False,
    anywhere: bool = False,
) -> Callable[[Check], Claim]:
    """Register a function as a property.

    Parameters
    ----------
    needs
        Traits and abilities; see :class:`Claim`.
    cases
        A name in :data:`gatecheck.cases.strategies.SCOPES`.
    dtypes
        Where it can be judged.
    varies
        Sizes that it changes, such as ``"TB"``.
    reference
        Whether it compares with another implementation.
    anywhere
        Whether it holds of projections and of stacked and bidirectional layers too; else it asks
        for :data:`PLAIN`.

    Raises
    ------
    UsageError
        If a trait or a scope does not exist, the docstring is missing, or the name is taken by
        another function.
    """
    unknown = set(needs) - {*TRAITS, *ABILITIES}
    if unknown or cases not in SCOPES:
        raise UsageError(f"a claim asks for unknown traits {sorted(unknown)} or cases {cases!r}")

    def register(check: Check) -> Claim:
        name = check.__name__
        if not check.__doc__:
            raise UsageError(f"the claim {name} states no theorem in its docstring")
        made = Claim(
            name,
            check,
            frozenset(needs) | (frozenset() if anywhere else PLAIN),
            cases,
            dtypes,
            varies,
            reference,
        )
        taken = REGISTRY.get(name)
        # A module of properties can be imported twice, under the package's name and by pytest's
        # path: the same lines of the same file.
        if taken and _place(taken.check) != _place(check):
            raise UsageError(f"there are two claims named {name}")
        REGISTRY[name] = made
        return made

    return register
