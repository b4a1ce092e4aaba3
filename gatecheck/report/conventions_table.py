"""The conventions in the terminal: which arrays each has, and what lies where in them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatecheck.conventions import Convention

_LACKS = {"rnn": ("c_n", "p", "R"), "gru": ("p", "R"), "gru-before": ("c_n", "p", "R"), "lstm": ("c_n",)}


def table(conventions: Sequence[Convention]) -> RenderableType:
    """Each convention's layouts, a row a cell, and below them where it was read."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("convention", "cell", "order", "opposite polarity", "arrays", "besides"):
        rows.add_column(heading, overflow="fold")
    for convention in conventions:
        for k, (kind, layout) in enumerate(convention.layouts.items()):
            lacks = _LACKS[kind]
            here = {name: content for name, content in layout.arrays.items() if content.split()[0].strip("'") not in lacks}
            arrays = ", ".join(f"{name} = [{content}]" for name, content in here.items())
            first = (convention.name, besides(convention)) if k == 0 else ("", "")
            rows.add_row(Text(first[0], "bold"), kind, layout.order, layout.negated, Text(arrays), first[1])
    sources = [Text(f"{c.name}: {c.source}", "dim") for c in conventions if c.source]
    return Group(rows, *sources)


def besides(convention: Convention) -> str:
    """What a convention says beside its arrays, in a few words."""
    said = ["rows"] * convention.rows + ["interleaved"] * convention.interleaved + ["directions stacked"] * convention.stacked
    said += [f"vectors as {convention.vectors}s"] if convention.vectors != "flat" else []
    said += [f"x {convention.axes}"] if convention.axes != "TBD" else []
    said += ["states in columns"] * convention.columns + [f"states {convention.state_axes}"] * bool(convention.state_axes)
    said += ["states (c, h)"] * (convention.states == "ch")
    return ", ".join(said)
