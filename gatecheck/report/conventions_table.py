"""Terminal tables of the conventions: their arrays and the layout of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatecheck.cells import as_cell
from gatecheck.conventions import Convention
from gatecheck.conventions.layout import PARTS, LayoutArray, layout_arrays

_UNSUPPORTED_PARTS = {
    "rnn": ("c_n", "p", "R"),
    "gru": ("p", "R"),
    "gru-before": ("c_n", "p", "R"),
    "lstm": ("c_n",),
}


EXAMPLE_SIZES = (3, 5, 2)
"""D, H and P of the printed shapes, all different."""


def conventions_table(conventions: Sequence[Convention]) -> RenderableType:
    """Return the layouts of conventions, one row per cell, with their sources."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("convention", "cell", "order", "opposite polarity", "arrays", "notes"):
        rows.add_column(heading, overflow="fold")
    for convention in conventions:
        for k, (kind, layout) in enumerate(convention.layouts.items()):
            absent = _UNSUPPORTED_PARTS[kind]
            contents = {
                name: content
                for name, content in layout.arrays.items()
                if content.split()[0].strip("'") not in absent
            }
            arrays = ", ".join(f"{name} = [{content}]" for name, content in contents.items())
            first = (convention.name, convention_notes(convention)) if k == 0 else ("", "")
            rows.add_row(
                Text(first[0], "bold"), kind, layout.order, layout.negated, Text(arrays), first[1]
            )
    sources = [Text(f"{c.name}: {c.source}", "dim") for c in conventions if c.source]
    return Group(rows, *sources)


def convention_in_full(convention: Convention) -> RenderableType:
    """Return gate order, polarity and arrays of each cell of a convention.

    Every array comes with its shape; the last line gives the source.
    """
    D, H, P = EXAMPLE_SIZES
    lines = [
        Text(convention.name, "bold"),
        Text(convention_notes(convention) or "x TBD, states (B, H)"),
    ]
    used: set[str] = set()
    for kind, layout in convention.layouts.items():
        parts = "".join(layout.arrays.values())
        cell_options: dict[str, Any] = (
            {"peepholes": "p" in parts, "projection": P if "R" in parts else None}
            if kind == "lstm"
            else {}
        )
        cell = replace(as_cell(kind), **cell_options)
        order = f"the order {' '.join(layout.order)}" if len(layout.order) > 1 else "one block"
        lines.append(
            Text(
                f"\n{cell.kind}, reset {cell.reset} the product"
                if cell.reset
                else f"\n{cell.kind}",
                "bold",
            )
        )
        lines.append(
            Text(f"gates in {order}{''.join(f'; its {k} is our 1 - {k}' for k in layout.negated)}")
        )
        shapes = convention.shapes(cell, D, H)
        for array in layout_arrays(layout, cell, {"layer": 0, "reverse": "", "tag": ""}):
            used |= {part for part, _ in array.parts}
            lines.append(Text(f"  {array.name} {shapes[array.name]} = [{_array_content(array)}]"))
    projected = f" and a projection to P = {P}" if "R" in used else ""
    lines.append(
        Text(
            f"\nshapes for D = {D} inputs, H = {H} units{projected}; contents in MATLAB's notation:"
        )
    )
    lines += [Text(f"  {part}: {meaning}") for part, meaning in PARTS.items() if part in used]
    basis, _, source = convention.source.partition(": ")
    basis_text = {"run": "run against its framework", "read": "read, but never run"}.get(basis)
    source_line = (
        f"{basis_text}: {source}"
        if basis_text
        else f"compared with its framework by our tests: {convention.source}"
    )
    return Group(
        *lines,
        Text(
            f"\n{source_line}" if convention.name != "canonical" else "\nour own, gatecheck.cells"
        ),
    )


def _array_content(array: LayoutArray) -> str:
    """Return the content of an array in layout notation, with its gates."""
    gates = max((gates for _, gates in array.parts), key=len)
    parts = (" | " if array.side_by_side else "; ").join(
        part + "'" * array.transposed for part, _ in array.parts
    )
    return f"{parts} : {''.join(gates)}" if gates else parts


def convention_notes(convention: Convention) -> str:
    """Return the traits of a convention other than its arrays, in short."""
    traits = (
        ["rows"] * convention.rows
        + ["interleaved"] * convention.interleaved
        + ["directions stacked"] * convention.stacked
    )
    traits += [f"vectors as {convention.vectors}s"] if convention.vectors != "flat" else []
    traits += [f"x {convention.axes}"] if convention.axes != "TBD" else []
    traits += ["states in columns"] * convention.columns + [
        f"states {convention.state_axes}"
    ] * bool(convention.state_axes)
    traits += ["states (c, h)"] * (convention.states == "ch")
    return ", ".join(traits)
