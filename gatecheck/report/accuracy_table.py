"""Terminal tables of the accuracy of implementations, from JSON data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Data = Mapping[str, Any]

STATISTICS = ("median", "p999", "worst")


def framework_of_target(target: str) -> str:
    """Return the framework of a target, from its label."""
    return target.partition(":")[0]


def cell_kind(cell: str) -> str:
    """Return ``rnn``, ``gru`` or ``lstm``, from the name of a cell."""
    return cell.partition("-")[0]


def format_number(value: float | None) -> str:
    """Format with two digits; with an exponent from 100,000 on."""
    return (
        "–"
        if value is None
        else f"{value:.2g}"
        if value < 99.5
        else f"{value:,.0f}"
        if value < 99_999.5
        else f"{value:.1e}"
    )


def _table(title: str, names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left"
    )
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _totals(report: Data, work: str) -> Table:
    chaotic = ", ".join(p["name"] for p in report["points"] if not p["in_totals"])
    title = f"{work.capitalize()}: errors in ulps" + (f", without {chaotic}" if chaotic else "")
    headings = (
        "values",
        *(
            f"{measure}{name}"
            for measure in ("", "norm ")
            for name in ("median", "99.9 %", "worst")
        ),
        "lost",
    )
    table = _table(title, ("target", "dtype"), headings)
    for row in report["totals"]:
        total = row["total"]
        if row["work"] != work or total is None:
            continue
        figures = (
            format_number(total[measure][name])
            for measure in ("ulps", "norm_ulps")
            for name in STATISTICS
        )
        table.add_row(
            row["target"], row["dtype"], f"{total['values']:,}", *figures, str(total["lost"] or "")
        )
    return table


def p999_by_point(report: Data, work: str, dtype: str) -> dict[tuple[str, str], dict[str, float]]:
    """Return the largest 99.9 % quantile by norm at each point.

    Keys are the kind of cell and the framework; the maximum is over the framework's cells.
    """
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for row in report["totals"]:
        if (row["work"], row["dtype"]) != (work, dtype):
            continue
        by_name = errors.setdefault(
            (cell_kind(row["cell"]), framework_of_target(row["target"])), {}
        )
        for point, summary in row["by_point"].items():
            if summary is not None and summary["norm_ulps"]["p999"] is not None:
                by_name[point] = max(by_name.get(point, 0.0), summary["norm_ulps"]["p999"])
    return dict(sorted(errors.items(), key=lambda item: item[0][0]))


def _points(report: Data, work: str, dtype: str) -> Table | None:
    errors = p999_by_point(report, work, dtype)
    points = [
        p for p in report["points"] if any(p["name"] in by_name for by_name in errors.values())
    ]
    if not points:
        return None
    headings = tuple(
        "\n".join(
            (f"T={p['T']}", f"H={p['H']}", "" if p["regime"] == "generic" else p["regime"])
        ).strip()
        for p in points
    )
    title = (
        f"{work.capitalize()} in {dtype}, by length, size and regime: "
        "99.9 % of errors by norm, the worst of a framework's cells"
    )
    table = _table(title, ("cell", "framework"), headings)
    for (cell, framework_name), by_name in errors.items():
        table.add_row(
            cell, framework_name, *(format_number(by_name.get(p["name"])) for p in points)
        )
    return table


def _merge_equal_rows(report: Data) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield rows of activations, with a framework's equal rows merged."""
    merged: dict[str, tuple[dict[str, None], dict[str, Any]]] = {}
    for row in report["activations"]:
        figures = {k: v for k, v in row.items() if k != "target"}
        framework_name, _, name = row["target"].partition(":")
        names, _ = merged.setdefault(f"{framework_name} {figures}", ({}, row))
        names[name.partition(" ")[0]] = None
    for names, row in merged.values():
        yield f"{framework_of_target(row['target'])}: {' '.join(names)}", row


def _activations(report: Data) -> list[RenderableType]:
    title = (
        "Sigmoid and tanh as the cells use them: "
        "median and 99.9 % of errors in ulps over 2^-16 ≤ |x| < 2^7, worst anywhere"
    )
    headings = ("median", "99.9 %", "worst", "at x =", "outside", "subnormal flushed")
    table = _table(title, ("function", "dtype", "cells"), headings)
    refused = []
    for cells, row in sorted(
        _merge_equal_rows(report), key=lambda item: (item[1]["function"], item[1]["dtype"])
    ):
        if "refused" in row:
            refused.append(
                Text(f"{cells}, {row['function']} in {row['dtype']}: {row['refused']}", "yellow")
            )
            continue
        small = row["subnormal"]
        numbers = (
            format_number(row["ulps"]["median"]),
            format_number(row["ulps"]["p999"]),
            format_number(row["worst"]),
            f"{row['worst_at']:.5g}",
        )
        outside, flushed = (
            f"{n / total:.0%}" if n else ""
            for n, total in ((row["outside"], row["values"]), (small["flushed"], small["values"]))
        )
        table.add_row(row["function"], row["dtype"], cells, *numbers, outside, flushed)
    return [table, *refused]


LEGEND = (
    "An ulp is the spacing of floats of the dtype in the binade of the exact result, which is "
    "certified. Entry by entry, an error is in ulps of the entry itself, which are many for any "
    "implementation where a sum cancels. By norm, it is in ulps of the largest entry of its block: "
    "a step of y and dx, a gate of dW, dU and db. lost: not finite. outside: share of values of "
    "sigmoid outside [0, 1] and of tanh outside [-1, 1]. subnormal flushed: share of subnormal "
    "results that are zero and should not be."
)


def accuracy_table(report: Data) -> RenderableType:
    """Return the tables of an accuracy report.

    The data is that of :func:`gatecheck.accuracy.report.accuracy_report`.
    """
    parts: list[RenderableType] = [_totals(report, work) for work in ("forward", "gradients")]
    tables = (
        _points(report, work, dtype)
        for work in ("forward", "gradients")
        for dtype in ("float32", "float64")
    )
    parts += [table for table in tables if table is not None]
    parts += _activations(report)
    parts += [
        Text(f"{target} could not be measured: {reason}", "yellow")
        for target, reason in report["refused"].items()
    ]
    return Group(
        *parts,
        Text(LEGEND, "dim"),
        Text(f"seed {report['seed']}, {report['cases']} cases at each point"),
    )
