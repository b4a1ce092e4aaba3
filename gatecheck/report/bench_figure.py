"""A picture of a benchmark, from the data that its JSON file holds: every ratio, by peer and number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatecheck.errors import UsageError
from gatecheck.report.figures import COLOURS, MARKERS, STYLE, drawing, save_figure

Data = Mapping[str, Any]


def save_bench_figure(data: Data, path: Path) -> None:
    """Draw every ratio and write it, in the format that its ending names.

    Above the line at 1 the subject is faster. Columns are peers, rows numbers of threads; filled markers are float32, open ones float64;
    within a size forward stands left of gradients.

    Parameters
    ----------
    data
        What ``gatecheck bench --json`` writes.
    path
        Where to write: .png, .svg or .pdf.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    UsageError
        If there is nothing to draw.
    OutputError
        If the file cannot be written.
    """
    peers = list(dict.fromkeys(name for s in data["summary"].values() for name in s))
    rows = [threads for threads, s in data["summary"].items() if s]
    if not peers:
        raise UsageError("there is no ratio to draw")
    sizes = list(dict.fromkeys(tuple(p[k] for k in "TBDH") for p in data["points"]))
    cells = list(dict.fromkeys(p["cell"] for p in data["points"]))
    with drawing(1.5 + 2.9 * len(peers), 1.2 + 2.6 * len(rows), STYLE | {"font.size": 8, "figure.dpi": 150}) as figure:
        panels = figure.subplots(len(rows), len(peers), squeeze=False, sharex=True, sharey=True)
        for i, threads in enumerate(rows):
            for j, name in enumerate(peers):
                _panel(panels[i, j], data, int(threads), name, sizes, cells)
        for j, name in enumerate(peers):
            panels[0, j].set_title(f"{name} / {data['subject']}", loc="left")
            panels[-1, j].set_xticks(range(len(sizes)), [",".join(map(str, s)) for s in sizes], rotation=35, ha="right")
        for i, threads in enumerate(rows):
            panels[i, 0].set_ylabel(f"time ratio, {threads} thread{'s' if threads != '1' else ''}")
        handles = [
            figure.axes[0].plot([], [], MARKERS[k % len(MARKERS)], color=COLOURS[k % len(COLOURS)], label=c)[0] for k, c in enumerate(cells)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(cells), frameon=False)
        figure.suptitle("Time of each peer over that of the subject, by T,B,D,H; above 1 the subject is faster; open markers: float64")
        save_figure(figure, path)


def _panel(axes: Any, data: Data, threads: int, name: str, sizes: list[tuple[int, ...]], cells: list[str]) -> None:
    axes.set_yscale("log", base=2)
    axes.axhline(1, color="0.2", linewidth=0.8)
    if (bar := data["bars"].get(name)) is not None:
        axes.axhline(bar, color="0.5", linewidth=0.8, linestyle=":")
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    for p in data["points"]:
        if p["threads"] != threads or name not in p["ratio"]:
            continue
        k = cells.index(p["cell"])
        place = sizes.index(tuple(p[key] for key in "TBDH")) + (0.18 if p["work"] == "gradients" else -0.18)
        place += 0.07 * (k - (len(cells) - 1) / 2)
        colour = COLOURS[k % len(COLOURS)]
        axes.vlines(place, *p["interval"][name], color=colour, linewidth=0.7, alpha=0.6)
        face = colour if p["dtype"] == "float32" else "white"
        axes.plot(place, p["ratio"][name], MARKERS[k % len(MARKERS)], color=colour, markerfacecolor=face, markersize=4)
