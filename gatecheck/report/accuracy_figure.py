"""Accuracy figure: errors against length, by cell and framework, from JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatecheck.errors import UsageError
from gatecheck.report.accuracy_table import p999_by_point
from gatecheck.report.figures import COLORS, MARKERS, RC_STYLE, figure_context, save_figure

Data = Mapping[str, Any]


def lengths_by_point(report: Data) -> dict[str, int]:
    """Return T by name of the points that differ only in length.

    They are the largest group of points of one size in the generic regime.
    """
    groups: dict[tuple[int, ...], dict[str, int]] = {}
    for p in report["points"]:
        if p["regime"] == "generic":
            groups.setdefault(tuple(p[k] for k in "BDH"), {})[p["name"]] = p["T"]
    return max(groups.values(), key=len, default={})


def save_accuracy_figure(report: Data, path: Path) -> None:
    """Plot the 99.9 % quantile of errors by norm against T, and save the figure.

    Columns are kinds of cells, rows forward and gradients in float32 and float64, lines
    frameworks: the worst of a framework's cells.

    Parameters
    ----------
    report
        Output of ``gatecheck accuracy --json``.
    path
        File to write: .png, .svg or .pdf.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    UsageError
        If there is nothing to draw, or the file cannot be written.
    """
    rows = [
        (w, d, p999_by_point(report, w, d))
        for w in ("forward", "gradients")
        for d in ("float32", "float64")
    ]
    cells = list(dict.fromkeys(cell for _, _, errors in rows for cell, _ in errors))
    names = list(dict.fromkeys(name for _, _, errors in rows for _, name in errors))
    length_by_point = lengths_by_point(report)
    if not cells or not length_by_point:
        raise UsageError("there is no error to draw")
    with figure_context(
        1.2 + 3 * len(cells), 1 + 2 * len(rows), RC_STYLE | {"font.size": 8, "figure.dpi": 150}
    ) as figure:
        panels = figure.subplots(len(rows), len(cells), squeeze=False, sharex=True, sharey=True)
        for i, (work, dtype, errors) in enumerate(rows):
            for j, cell in enumerate(cells):
                axes = panels[i, j]
                axes.set(xscale="log", yscale="log")
                axes.grid(alpha=0.25, linewidth=0.6)
                for k, name in enumerate(names):
                    by_length = {
                        T: errors[cell, name][p]
                        for p, T in length_by_point.items()
                        if p in errors.get((cell, name), {})
                    }
                    style = {
                        "color": COLORS[k % len(COLORS)],
                        "linestyle": ("-", "--")[k // len(COLORS) % 2],
                    }
                    axes.plot(
                        list(by_length),
                        list(by_length.values()),
                        MARKERS[k % len(MARKERS)],
                        **style,
                        markersize=3.5,
                        linewidth=1,
                        label=name,
                    )
            panels[i, 0].set_ylabel(f"ulps, {work}\n{dtype}")
        for j, cell in enumerate(cells):
            panels[0, j].set_title(cell, loc="left")
            panels[-1, j].set_xlabel("steps T")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        figure.suptitle(
            "99.9 % of errors, in ulps of the largest entry of the block, against certified values"
        )
        save_figure(figure, path)
