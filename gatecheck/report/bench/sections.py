"""What a benchmark measured beside the kernels, in the terminal: a table a section, with every bar,
and in red those that are not met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Data = Mapping[str, Any]

MET = {True: Text("yes", "green"), False: Text("no", "bold red"), None: Text()}

COLUMNS = {"seconds": "seconds", "ratio": "times", "number": "{unit}", "rate": "a second"}
"""By figure of a row its heading. One that no row of a section has has no column."""

UNITS = {"seconds": " s", "ratio": "×", "number": "", "rate": "/s"}


def section_parts(section: Data) -> Iterator[RenderableType]:
    """One section of what ``gatecheck bench --json`` writes: its table, what falls short, and what
    has to be known of it.
    """
    rows, unit = section["rows"], section["unit"]
    shown = [figure for figure in COLUMNS if any(row[figure] is not None for row in rows)]
    table = Table(title=section["title"], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("what", min_width=20)
    for figure in shown:
        table.add_column(COLUMNS[figure].format(unit=unit), justify="right", no_wrap=True)
    table.add_column("bar", justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for row in rows:
        style = "bold red" if row["met"] is False else ""
        figures = [
            Text(
                "" if row[k] is None else _number(row[k]),
                style if row["bar"] and row["bar"]["of"] == k else "",
            )
            for k in shown
        ]
        table.add_row(Text(row["what"]), *figures, Text(_bar(row)), MET[row["met"]])
    yield table
    judged = [row for row in rows if row["bar"]]
    if short := [row for row in judged if not row["met"]]:
        yield Text(f"{len(short)} of {len(judged)} bars are not met:", "bold red")
        for row in short:
            yield Text(f"  {row['what']}: {shortfall(row)}")
    elif judged:
        yield Text(f"all {len(judged)} bars are met", "green")
    if "ratio" in shown:
        yield Text(f"times: over {section['over']}", "dim")
    for note in section["notes"]:
        yield Text(note, "dim")
    for name, how in section["missing"].items():
        yield Text(f"{name} was not compared with: it is not installed ({how})", "yellow")
    yield Text()


def reached(row: Data) -> float | None:
    """How far a row comes, of its bar: 1 just meets it, 0.5 is half of it. None without a bar, or
    where that is nothing at all.
    """
    bar = row["bar"]
    if bar is None or not bar["limit"]:
        return None
    share: float = row[bar["of"]] / bar["limit"]
    return share if bar["least"] else 1 / share


def shortfall(row: Data) -> str:
    """What a row with a bar has, and what it should have."""
    bar = row["bar"]
    found, limit = (_number(value) + UNITS[bar["of"]] for value in (row[bar["of"]], bar["limit"]))
    why = f", {bar['why']}" if bar["why"] else ""
    return f"{found}, but should be at {'least' if bar['least'] else 'most'} {limit}{why}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.3g}"


def _bar(row: Data) -> str:
    bar = row["bar"]
    return (
        f"{'≥' if bar['least'] else '≤'} {_number(bar['limit'])}{UNITS[bar['of']]}" if bar else ""
    )
