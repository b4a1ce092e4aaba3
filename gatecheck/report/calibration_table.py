"""Terminal tables of a calibration of the rounding budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

MAX_NEAR_RATIO = 5
"""Ratio of spread to true error, at the median, above which a row is marked."""

Row = dict[str, Any]


def _tightness_parts(rows: list[Row], n_formulations: int) -> Iterator[RenderableType]:
    """Yield the ratio of spread to true error by regime and length."""
    if not rows:
        return
    lengths = list(dict.fromkeys(row["T"] for row in rows))
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title="Spread over true error at the median: of blocks / of values",
    )
    for heading in ("target", "dtype", "regime"):
        table.add_column(heading, no_wrap=True)
    for T in lengths:
        table.add_column(f"T = {T}", justify="right", no_wrap=True)
    by_key: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        by_key.setdefault((row["target"], row["dtype"], row["regime"]), {})[row["T"]] = row
    for key, by_length in by_key.items():
        table.add_row(*key, *(_ratio_cell(by_length[T]) if T in by_length else "" for T in lengths))
    yield table
    yield Text(
        "The true error is the root mean square over the target "
        f"and {n_formulations} other correct formulations of its cell."
    )
    judged = [row for row in rows if row["values"]]
    distant = [row for row in judged if not _is_near(row["ensemble"])]
    regimes = ", ".join(dict.fromkeys(row["regime"] for row in distant))
    exceptions = f"; the {len(distant)} others are {regimes}" if distant else ""
    yield Text(
        f"of {len(judged)} rows that could be judged {len(judged) - len(distant)} "
        f"are within {MAX_NEAR_RATIO} by blocks and by values{exceptions}"
    )
    yield Text(
        "by the largest error of the ensemble in place of its rms "
        f"{sum(_is_near(row['worst']) for row in judged)} are, "
        f"by the target's own error alone {sum(_is_near(row['alone']) for row in judged)}"
    )
    if judged:
        largest = max(judged, key=lambda row: row["largest"])
        yield Text(
            f"the largest error is {largest['largest']:.3g} spreads, "
            f"of {largest['largest_of']} ({_row_name(largest)})"
        )
    unsure = [row for row in rows if not row["values"]]
    if unsure:
        yield Text(f"no value could be judged in {'; '.join(map(_row_name, unsure))} (–)")
    if any(None in row["ensemble"].values() for row in judged):
        yield Text("∞: at least half of the errors are zero")


def _row_name(row: Row) -> str:
    return f"{row['target']} {row['dtype']} {row['regime']} T={row['T']}"


def _is_near(ratios: dict[str, float | None]) -> bool:
    return all(ratio is not None and ratio <= MAX_NEAR_RATIO for ratio in ratios.values())


def _ratio_cell(row: Row) -> Text:
    if not row["values"]:
        return Text("–")
    ensemble = row["ensemble"]
    blocks, values = (
        "∞"
        if ensemble[k] is None
        else f"{ensemble[k]:.2g}"
        if ensemble[k] < 99.5
        else f"{ensemble[k]:,.0f}"
        for k in ("blocks", "values")
    )
    return Text(f"{blocks} / {values}", "" if _is_near(ensemble) else "yellow")


def calibration_table(report: dict[str, Any]) -> RenderableType:
    """Return the tables of a calibration report.

    The data is that of :func:`gatecheck.accuracy.calibration.calibration_report`.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title="Errors of correct code, in spreads; the budget is 8",
    )
    for heading in ("target", "dtype"):
        table.add_column(heading, no_wrap=True)
    for heading in ("values", "alarms", "largest", "median", "99.9 %", "unsure"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report["calibration"]:
        numbers = (
            f"{row['values']:,}",
            str(row["alarms"]),
            *(f"{row[k]:.3g}" for k in ("largest", "median", "p999")),
        )
        table.add_row(row["target"], row["dtype"], *numbers, f"{row['inconclusive']:.1%}")
    detected = [row["relative_error_seen"] for row in report["sharpness"]]
    truncation = report["truncation"]
    lines = (
        f"a relative error in any one of {len(detected)} equations is seen in float32 "
        f"from {min(detected):.2g} to {max(detected):.2g}",
        f"a gradient cut at step {truncation['cut_at']} of {truncation['T']} is seen "
        f"in {truncation['caught']} of {truncation['runs']} runs (float32)",
        f"seed {report['seed']}",
    )
    return Group(
        table,
        *_tightness_parts(report["tightness"], len(report["ensemble"])),
        *(Text(line) for line in lines),
    )
