"""What a name means: a property, a fault, or a convention."""

from __future__ import annotations

import difflib

from gatecheck.auditing.audit import claims
from gatecheck.checking.registry import Claim
from gatecheck.conventions import CONVENTIONS, Convention
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.fault import Fault

Meaning = Claim | Convention | tuple[Fault, ...]

NEAR = 3
"""How many near names are suggested."""


def meaning(name: str) -> Meaning:
    """What is called that: a property, a convention, or the faults of that name, one of each cell
    that has it.

    Parameters
    ----------
    name
        As the commands print it; of a fault ``lstm: dc not carried``, which is that of one cell, or
        the name alone.

    Raises
    ------
    UsageError
        If nothing is, with names that are near.
    """
    properties = {c.name: c for c in claims()}
    found: Meaning | None = (
        properties.get(name)
        or CONVENTIONS.get(name)
        or tuple(f for f in faults() if f.name == name)
    )
    if found:
        return found
    try:
        return (find(name),)
    except UsageError:
        known = dict.fromkeys(
            [*properties, *CONVENTIONS, *(f.label for f in faults()), *(f.name for f in faults())]
        )
    near = difflib.get_close_matches(name, known, n=NEAR)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    listed = "`gatecheck properties` and `gatecheck conventions` list theirs, and `gatecheck faults --json F` writes every fault"
    raise UsageError(f"there is no property, fault or convention {name!r}; {hint}{listed}")
