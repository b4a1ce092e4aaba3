"""Lookup of a name: a property, a fault, or a convention."""

from __future__ import annotations

import difflib

from gatecheck.auditing.selection import select_properties
from gatecheck.checking.registry import Property
from gatecheck.conventions import CONVENTIONS, Convention
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.fault import Fault

Entry = Property | Convention | tuple[Fault, ...]

MAX_SUGGESTIONS = 3
"""Number of similar names that are suggested."""


def lookup(name: str) -> Entry:
    """Return the property, the convention or the faults of a name.

    A fault's name gives one fault for each cell that has it.

    Parameters
    ----------
    name
        The name as the commands print it; for a fault ``lstm: dc not carried``, which is that of
        one cell, or the name alone.

    Raises
    ------
    UsageError
        If the name is unknown, with similar names.
    """
    properties = {c.name: c for c in select_properties()}
    entry: Entry | None = (
        properties.get(name)
        or CONVENTIONS.get(name)
        or tuple(f for f in faults() if f.name == name)
    )
    if entry:
        return entry
    try:
        return (find(name),)
    except UsageError:
        known = dict.fromkeys(
            [*properties, *CONVENTIONS, *(f.label for f in faults()), *(f.name for f in faults())]
        )
    similar = difflib.get_close_matches(name, known, n=MAX_SUGGESTIONS)
    hint = f"did you mean {' or '.join(map(repr, similar))}? " if similar else ""
    lists = (
        "`gatecheck properties` and `gatecheck conventions` list theirs, and `gatecheck faults "
        "--json F` writes every fault"
    )
    raise UsageError(f"there is no property, fault or convention {name!r}; {hint}{lists}")
