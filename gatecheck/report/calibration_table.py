"""A calibration of the rounding budget in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


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
    return Group(table, *(Text(line) for line in lines))
