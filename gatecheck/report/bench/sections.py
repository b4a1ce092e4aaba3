"""Terminal tables of the benchmark sections other than kernels, with their bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Data = Mapping[str, Any]

MET_LABELS = {True: Text("yes", "green"), False: Text("no", "bold red"), None: Text()}

FIGURE_HEADINGS = {"seconds": "seconds", "ratio": "times", "number": "{unit}", "rate": "a second"}
"""Headings by figure of a row; figures missing in all rows get no column."""

FIGURE_UNITS = {"seconds": " s", "ratio": "×", "number": "", "rate": "/s"}


def section_tables(section: Data) -> Iterator[RenderableType]:
    """Yield the table, missed bars and notes of one section of a benchmark."""
    rows, unit = section["rows"], section["unit"]
    figure_names = [
        figure for figure in FIGURE_HEADINGS if any(row[figure] is not None for row in rows)
    ]
    table = Table(title=section["title"], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("what", min_width=20)
    for figure in figure_names:
        table.add_column(FIGURE_HEADINGS[figure].format(unit=unit), justify="right", no_wrap=True)
    table.add_column("bar", justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for row in rows:
        style = "bold red" if row["met"] is False else ""
        figures = [
            Text(
                "" if row[k] is None else _format_number(row[k]),
                style if row["bar"] and row["bar"]["of"] == k else "",
            )
            for k in figure_names
        ]
        table.add_row(Text(row["what"]), *figures, Text(_format_bar(row)), MET_LABELS[row["met"]])
    yield table
    with_bar = [row for row in rows if row["bar"]]
    if missed := [row for row in with_bar if not row["met"]]:
        yield Text(f"{len(missed)} of {len(with_bar)} bars are not met:", "bold red")
        for row in missed:
            yield Text(f"  {row['what']}: {bar_message(row)}")
    elif with_bar:
        yield Text(f"all {len(with_bar)} bars are met", "green")
    if "ratio" in figure_names:
        yield Text(f"times: over {section['over']}", "dim")
    for note in section["notes"]:
        yield Text(note, "dim")
    for name, install_hint in section["missing"].items():
        yield Text(f"{name} was not compared: it is not installed ({install_hint})", "yellow")
    yield Text()


def share_reached(row: Data) -> float | None:
    """Return the share of its bar that a row reaches; 1 just meets it.

    None if there is no bar, or the bar is zero.
    """
    bar = row["bar"]
    if bar is None or not bar["limit"]:
        return None
    share: float = row[bar["of"]] / bar["limit"]
    return share if bar["least"] else 1 / share


def bar_message(row: Data) -> str:
    """Return a message of what a row with a bar has and should have."""
    bar = row["bar"]
    actual, limit = (
        _format_number(value) + FIGURE_UNITS[bar["of"]] for value in (row[bar["of"]], bar["limit"])
    )
    reason = f", {bar['why']}" if bar["why"] else ""
    return f"{actual}, but should be at {'least' if bar['least'] else 'most'} {limit}{reason}"


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.3g}"


def _format_bar(row: Data) -> str:
    bar = row["bar"]
    return (
        f"{'≥' if bar['least'] else '≤'} {_format_number(bar['limit'])}{FIGURE_UNITS[bar['of']]}"
        if bar
        else ""
    )
