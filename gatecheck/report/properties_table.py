"""Terminal list of the properties, and explanations of single ones."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gatecheck.cases import REGIMES
from gatecheck.cases.strategies import CaseScope
from gatecheck.cells import TRAITS
from gatecheck.checking.registry import PLAIN_LAYER, Property
from gatecheck.implementation.protocol import ABILITIES
from gatecheck.mutation.kill_matrix import Detection

MAX_FAULTS = 60
"""Number of faults that an explanation names."""


def properties_list(properties: Sequence[Property]) -> RenderableType:
    """Return names, preconditions and summaries of properties.

    Preconditions that a single plain layer meets are omitted.
    """
    lines: list[RenderableType] = []
    for c in properties:
        needs = (
            f"  needs {', '.join(sorted(c.needs - PLAIN_LAYER))}" if c.needs - PLAIN_LAYER else ""
        )
        lines.append(
            Text.assemble(
                (c.name, "bold"),
                (needs, "dim"),
                ("" if c.needs >= PLAIN_LAYER else "  also of networks", "dim"),
            )
        )
        lines.append(Padding(Text(c.summary), (0, 0, 0, 4)))
    return Group(*lines)


def catches_list(catches: Sequence[Detection]) -> RenderableType:
    """Return the faults that a property catches, and its message for the first."""
    caught = [c for c in catches if c.message]
    if not catches:
        return Text(
            "\nno fault can be injected into a cell that it applies to, so none was tried here"
        )
    cell = catches[0].label.partition(": ")[0]
    lines: list[RenderableType] = [
        Text(f"\ncatches {len(caught)} of {len(catches)} faults of a {cell}:")
    ]
    names = [c.label.partition(": ")[2] for c in caught]
    remainder = (
        f", and {len(names) - MAX_FAULTS} more, which `gatecheck faults --json F` names"
        if len(names) > MAX_FAULTS
        else ""
    )
    lines += [Padding(Text(", ".join(names[:MAX_FAULTS]) + remainder), (0, 0, 0, 2))]
    if caught:
        lines += [
            Text(f"\nits message for {caught[0].label} ({caught[0].description})"),
            Padding(Text(caught[0].message), (0, 0, 0, 2)),
        ]
    return Group(*lines)


def _size_ranges(scope: CaseScope) -> list[tuple[int, int]]:
    if not scope.listed:
        return list(scope.sizes)
    return [(min(sizes), max(sizes)) for sizes in zip(*scope.listed, strict=True)]


def property_in_full(prop: Property) -> RenderableType:
    """Return the theorem, preconditions and cases of a property."""
    scope = prop.case_scope
    sizes = ", ".join(
        f"{k} {low}..{high}" if low < high else f"{k} = {low}"
        for k, (low, high) in zip("TBDH", _size_ranges(scope), strict=True)
    )
    how = ", at most a few of them big at a time" if scope.listed else " or a little more"
    lines = [Text(prop.name, "bold"), Text(""), Text(prop.theorem), Text("")]
    if prop.needs:
        lines += [
            Text(f"holds only if {(TRAITS | ABILITIES)[need]}") for need in sorted(prop.needs)
        ]
    lines.append(Text(f"tried on {' and '.join(prop.dtypes)}, with {sizes}{how}, and"))
    lines += [Text(f"  {name}: {REGIMES[name].description}") for name in scope.regimes]
    comparison = (
        "compares with another implementation"
        if prop.reference
        else "compares the implementation with itself; the reference only gives tolerances"
    )
    return Group(*lines, Text(comparison))
