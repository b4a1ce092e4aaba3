"""The accuracy of implementations in the terminal, from the data that its JSON file holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Data = Mapping[str, Any]

FIGURES = ("median", "p999", "worst")


def framework(target: str) -> str:
    """Whose a target is, from its label."""
    return target.partition(":")[0]


def kind(cell: str) -> str:
    """``rnn``, ``gru`` or ``lstm``, from the name of a cell."""
    return cell.partition("-")[0]


def number(value: float | None) -> str:
    """Two digits; five and more before the point as a power of ten."""
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
        *(f"{of}{name}" for of in ("", "norm ") for name in ("median", "99.9 %", "worst")),
        "lost",
    )
    table = _table(title, ("target", "dtype"), headings)
    for row in report["totals"]:
        total = row["total"]
        if row["work"] != work or total is None:
            continue
        figures = (number(total[of][name]) for of in ("ulps", "norm_ulps") for name in FIGURES)
        table.add_row(
            row["target"], row["dtype"], f"{total['values']:,}", *figures, str(total["lost"] or "")
        )
    return table


def by_point(report: Data, work: str, dtype: str) -> dict[tuple[str, str], dict[str, float]]:
    """The largest 99.9 % by norm of a framework's cells of one kind, at each point."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in report["totals"]:
        if (row["work"], row["dtype"]) != (work, dtype):
            continue
        of = found.setdefault((kind(row["cell"]), framework(row["target"])), {})
        for point, seen in row["by_point"].items():
            if seen is not None and seen["norm_ulps"]["p999"] is not None:
                of[point] = max(of.get(point, 0.0), seen["norm_ulps"]["p999"])
    return dict(sorted(found.items(), key=lambda item: item[0][0]))


def _points(report: Data, work: str, dtype: str) -> Table | None:
    found = by_point(report, work, dtype)
    points = [p for p in report["points"] if any(p["name"] in of for of in found.values())]
    if not points:
        return None
    headings = tuple(
        "\n".join(
            (f"T={p['T']}", f"H={p['H']}", "" if p["regime"] == "generic" else p["regime"])
        ).strip()
        for p in points
    )
    title = f"{work.capitalize()} in {dtype}, by length, size and regime: 99.9 % of errors by norm, the worst of a framework's cells"
    table = _table(title, ("cell", "framework"), headings)
    for (cell, whose), of in found.items():
        table.add_row(cell, whose, *(number(of.get(p["name"])) for p in points))
    return table


def _alike(report: Data) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of activations, those of one framework that agree in every figure together."""
    together: dict[str, tuple[dict[str, None], dict[str, Any]]] = {}
    for row in report["activations"]:
        figures = {k: v for k, v in row.items() if k != "target"}
        whose, _, name = row["target"].partition(":")
        names, _ = together.setdefault(f"{whose} {figures}", ({}, row))
        names[name.partition(" ")[0]] = None
    for names, row in together.values():
        yield f"{framework(row['target'])}: {' '.join(names)}", row


def _activations(report: Data) -> list[RenderableType]:
    title = "Sigmoid and tanh as the cells use them: median and 99.9 % of errors in ulps where they bend, 2^-16 ≤ |x| < 2^7, worst anywhere"
    headings = ("median", "99.9 %", "worst", "at x =", "outside", "subnormal flushed")
    table = _table(title, ("function", "dtype", "cells"), headings)
    refused = []
    for who, row in sorted(
        _alike(report), key=lambda item: (item[1]["function"], item[1]["dtype"])
    ):
        if "refused" in row:
            refused.append(
                Text(f"{who}, {row['function']} in {row['dtype']}: {row['refused']}", "yellow")
            )
            continue
        small = row["subnormal"]
        numbers = (
            number(row["ulps"]["median"]),
            number(row["ulps"]["p999"]),
            number(row["worst"]),
            f"{row['worst_at']:.5g}",
        )
        outside, flushed = (
            f"{n / of:.0%}" if n else ""
            for n, of in ((row["outside"], row["values"]), (small["flushed"], small["values"]))
        )
        table.add_row(row["function"], row["dtype"], who, *numbers, outside, flushed)
    return [table, *refused]


LEGEND = (
    "An ulp is the distance of floats of the dtype in the binade of the exact result, which is certified. Entry by entry an error is in "
    "ulps of the entry itself: where a sum cancels they are many, whoever computes. By norm it is in ulps of the largest entry of its "
    "block: a step of y and dx, a gate of dW, dU and db. lost: not finite. outside: the share of values of sigmoid outside [0, 1] and "
    "of tanh outside [-1, 1]. subnormal flushed: the share of subnormal results that are zero and should not be."
)


def accuracy_table(report: Data) -> RenderableType:
    """What :func:`gatecheck.accuracy.report.report` found."""
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
