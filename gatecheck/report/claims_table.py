"""Terminal list of the properties, and explanations of single ones."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gatecheck.cases import REGIMES
from gatecheck.cells import TRAITS
from gatecheck.checking.registry import PLAIN, Claim
from gatecheck.implementation.protocol import ABILITIES
from gatecheck.mutation.kill_matrix import Catch

SHOWN = 60
"""Number of faults that an explanation names."""


def claims_list(chosen: Sequence[Claim]) -> RenderableType:
    """Return names, preconditions and summaries of properties.

    Preconditions that a single plain layer meets are omitted.
    """
    lines: list[RenderableType] = []
    for c in chosen:
        needs = f"  needs {', '.join(sorted(c.needs - PLAIN))}" if c.needs - PLAIN else ""
        lines.append(
            Text.assemble(
                (c.name, "bold"),
                (needs, "dim"),
                ("" if c.needs >= PLAIN else "  also of networks", "dim"),
            )
        )
        lines.append(Padding(Text(c.summary), (0, 0, 0, 4)))
    return Group(*lines)


def catches_list(catches: Sequence[Catch]) -> RenderableType:
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
        f", and {len(names) - SHOWN} more, which `gatecheck faults --json F` names"
        if len(names) > SHOWN
        else ""
    )
    lines += [Padding(Text(", ".join(names[:SHOWN]) + remainder), (0, 0, 0, 2))]
    if caught:
        lines += [
            Text(f"\nits message for {caught[0].label} ({caught[0].says})"),
            Padding(Text(caught[0].message), (0, 0, 0, 2)),
        ]
    return Group(*lines)


def explanation(claim: Claim) -> RenderableType:
    """Return the theorem, preconditions and cases of a property."""
    scope = claim.cases
    sizes = ", ".join(
        f"{k} {low}..{high}" if low < high else f"{k} = {low}"
        for k, (low, high) in zip("TBDH", scope.sizes, strict=True)
    )
    lines = [Text(claim.name, "bold"), Text(""), Text(claim.theorem), Text("")]
    if claim.needs:
        lines += [
            Text(f"holds only if {(TRAITS | ABILITIES)[need]}") for need in sorted(claim.needs)
        ]
    lines.append(Text(f"tried on {' and '.join(claim.dtypes)}, with {sizes} or a little more, and"))
    lines += [Text(f"  {name}: {REGIMES[name].meaning}") for name in scope.regimes]
    comparison = (
        "compares with another implementation"
        if claim.reference
        else "compares the implementation with itself; the reference only gives tolerances"
    )
    return Group(*lines, Text(comparison))
