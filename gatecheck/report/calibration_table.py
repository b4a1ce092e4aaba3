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

Row = dict[str, Any]


def _tightness(rows: list[Row], spellings: int) -> Iterator[RenderableType]:
    """Spread / true error by regime and length, and where it is far."""
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
    for key, of in by_key.items():
        table.add_row(*key, *(_ratio(of[T]) if T in of else "" for T in lengths))
    yield table
    yield Text(
        f"The true error is the root mean square over the target and {spellings} other correct spellings of its cell."
    )
    judged = [row for row in rows if row["values"]]
    far = [row for row in judged if not _near(row["ensemble"])]
    where = (
        f"; the {len(far)} others are {', '.join(dict.fromkeys(row['regime'] for row in far))}"
        if far
        else ""
    )
    yield Text(
        f"of {len(judged)} rows that could be judged {len(judged) - len(far)} are within {NEAR} by blocks and by values{where}"
    )
    yield Text(
        f"by the largest error of the ensemble in place of its rms {sum(_near(row['worst']) for row in judged)} are, "
        f"by the target's own error alone {sum(_near(row['alone']) for row in judged)}"
    )
    if judged:
        most = max(judged, key=lambda row: row["largest"])
        yield Text(
            f"the largest error is {most['largest']:.3g} spreads, of {most['largest_of']} ({_place(most)})"
        )
    unsure = [row for row in rows if not row["values"]]
    if unsure:
        yield Text(f"not a value could be judged in {'; '.join(map(_place, unsure))} (–)")
    if any(None in row["ensemble"].values() for row in judged):
        yield Text("∞: half of the errors or more are zero")


def _place(row: Row) -> str:
    return f"{row['target']} {row['dtype']} {row['regime']} T={row['T']}"


def _near(figure: dict[str, float | None]) -> bool:
    return all(ratio is not None and ratio <= NEAR for ratio in figure.values())


def _ratio(row: Row) -> Text:
    if not row["values"]:
        return Text("–")
    of = row["ensemble"]
    blocks, values = (
        "∞" if of[k] is None else f"{of[k]:.2g}" if of[k] < 99.5 else f"{of[k]:,.0f}"
        for k in ("blocks", "values")
    )
    return Text(f"{blocks} / {values}", "" if _near(of) else "yellow")


def calibration_table(report: dict[str, Any]) -> RenderableType:
    """What :func:`gatecheck.accuracy.calibration.report` found."""
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
    seen = [row["relative_error_seen"] for row in report["sharpness"]]
    cut = report["truncation"]
    lines = (
        f"a relative error in any one of {len(seen)} equations is seen in float32 from {min(seen):.2g} to {max(seen):.2g}",
        f"a gradient cut at step {cut['cut_at']} of {cut['T']} is seen in {cut['caught']} of {cut['runs']} runs (float32)",
        f"seed {report['seed']}",
    )
    return Group(
        table,
        *_tightness(report["tightness"], len(report["ensemble"])),
        *(Text(line) for line in lines),
    )
