"""A calibration of the rounding budget in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

NEAR = 5
"""A spread of more than so many true errors at the median is marked."""


def _tightness(rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
    """Spread / true error by regime and length, and where it is far."""
    if not rows:
        return
    lengths = list(dict.fromkeys(row["T"] for row in rows))
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="Spread over true error at the median: of blocks / of values"
    )
    for heading in ("target", "dtype", "regime"):
        table.add_column(heading, no_wrap=True)
    for T in lengths:
        table.add_column(f"T = {T}", justify="right", no_wrap=True)
    by_key: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        by_key.setdefault((row["target"], row["dtype"], row["regime"]), {})[row["T"]] = row
    for key, of in by_key.items():
        table.add_row(*key, *(_ratio(of[T]) if T in of else "" for T in lengths))
    yield table
    judged = [row for row in rows if row["values"]]
    far = [row for row in judged if row["ratio"] is None or row["ratio"] > NEAR]
    where = f"; the {len(far)} others are {', '.join(dict.fromkeys(row['regime'] for row in far))}" if far else ""
    yield Text(f"of {len(judged)} rows that could be judged {len(judged) - len(far)} are within {NEAR} by blocks{where}")
    unsure = len(rows) - len(judged)
    if unsure:
        yield Text(f"{unsure} could not be judged in any value (–); ∞: half of the errors or more are zero")


def _ratio(row: dict[str, Any]) -> Text:
    if not row["values"]:
        return Text("–")
    blocks, values = ("∞" if row[k] is None else f"{row[k]:.2g}" if row[k] < 99.5 else f"{row[k]:,.0f}" for k in ("ratio", "entries"))
    return Text(f"{blocks} / {values}", "" if row["ratio"] is not None and row["ratio"] <= NEAR else "yellow")


def calibration_table(report: dict[str, Any]) -> RenderableType:
    """What :func:`gatecheck.auditing.calibration.report` found."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="Errors of correct code, in spreads; the budget is 8")
    for heading in ("target", "dtype"):
        table.add_column(heading, no_wrap=True)
    for heading in ("values", "alarms", "largest", "median", "99.9 %", "unsure"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report["calibration"]:
        numbers = (f"{row['values']:,}", str(row["alarms"]), *(f"{row[k]:.3g}" for k in ("largest", "median", "p999")))
        table.add_row(row["target"], row["dtype"], *numbers, f"{row['inconclusive']:.1%}")
    seen = [row["relative_error_seen"] for row in report["sharpness"]]
    cut = report["truncation"]
    lines = (
        f"a relative error in any one of {len(seen)} equations is seen in float32 from {min(seen):.2g} to {max(seen):.2g}",
        f"a gradient cut at step {cut['cut_at']} of {cut['T']} is seen in {cut['caught']} of {cut['runs']} runs (float32)",
        f"seed {report['seed']}",
    )
    return Group(table, *_tightness(report["tightness"]), *(Text(line) for line in lines))
