"""Benchmark figure: every ratio by peer and number of threads, and every bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatecheck.errors import UsageError
from gatecheck.report.bench.sections import share_reached
from gatecheck.report.figures import COLORS, MARKERS, RC_STYLE, figure_context, save_figure

Data = Mapping[str, Any]

MISSED_COLOR = COLORS[1]
MET_COLOR = COLORS[2]


def save_bench_figure(data: Data, path: Path) -> None:
    """Plot the ratios of the kernels and the bars of the other sections, and save it.

    Above the line at 1 the subject is faster than the peer. Columns are peers, rows numbers of
    threads; filled markers are float32, open ones float64; within a size forward is left of
    gradients. Below, each bar of the other sections is drawn with how far it is reached.

    Parameters
    ----------
    data
        Output of ``gatecheck bench --json``.
    path
        File to write: .png, .svg or .pdf.

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
    threads = [count for count, s in data["summary"].items() if s]
    bars = [
        (row["what"], row["met"], share)
        for s in data["sections"].values()
        for row in s["rows"]
        if (share := share_reached(row)) is not None
    ]
    kernels = (1.5 + 2.9 * len(peers), 1.2 + 2.6 * len(threads)) if peers else (0.0, 0.0)
    others = (10.0, 1.0 + 0.22 * len(bars)) if bars else (0.0, 0.0)
    if not peers and not bars:
        raise UsageError("there is no ratio to draw")
    heights = [height for _, height in (kernels, others) if height]
    with figure_context(
        max(kernels[0], others[0]), sum(heights), RC_STYLE | {"font.size": 8, "figure.dpi": 150}
    ) as figure:
        parts = list(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        if peers:
            _draw_kernels(parts[0], data, peers, threads)
        if bars:
            _draw_bars(parts[-1].subplots(), bars)
        save_figure(figure, path)


def _draw_kernels(figure: Any, data: Data, peers: list[str], rows: list[str]) -> None:
    sizes = list(dict.fromkeys(tuple(p[k] for k in "TBDH") for p in data["points"]))
    cells = list(dict.fromkeys(p["cell"] for p in data["points"]))
    panels = figure.subplots(len(rows), len(peers), squeeze=False, sharex=True, sharey=True)
    for i, threads in enumerate(rows):
        for j, name in enumerate(peers):
            _draw_panel(panels[i, j], data, int(threads), name, sizes, cells)
    for j, name in enumerate(peers):
        panels[0, j].set_title(f"{name} / {data['subject']}", loc="left")
        panels[-1, j].set_xticks(
            range(len(sizes)), [",".join(map(str, s)) for s in sizes], rotation=35, ha="right"
        )
    for i, threads in enumerate(rows):
        panels[i, 0].set_ylabel(f"time ratio, {threads} thread{'s' if threads != '1' else ''}")
    handles = [
        figure.axes[0].plot(
            [], [], MARKERS[k % len(MARKERS)], color=COLORS[k % len(COLORS)], label=c
        )[0]
        for k, c in enumerate(cells)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(cells), frameon=False)
    figure.suptitle(
        "Time of each peer over that of the subject, by T,B,D,H; "
        "above 1 the subject is faster; open markers: float64"
    )


def _draw_bars(axes: Any, bars: list[tuple[str, bool, float]]) -> None:
    axes.set_xscale("log")
    axes.axvline(1, color="0.2", linewidth=0.8)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    for place, (_, met, share) in enumerate(bars):
        axes.hlines(
            place, *sorted((1, share)), color=MET_COLOR if met else MISSED_COLOR, linewidth=1
        )
        axes.plot(
            share,
            place,
            MARKERS[0] if met else MARKERS[-1],
            color=MET_COLOR if met else MISSED_COLOR,
            markersize=5,
        )
    axes.set_yticks(range(len(bars)), [what for what, _, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel("share of each bar that is reached; met at 1 or above")


def _draw_panel(
    axes: Any, data: Data, threads: int, name: str, sizes: list[tuple[int, ...]], cells: list[str]
) -> None:
    axes.set_yscale("log", base=2)
    axes.axhline(1, color="0.2", linewidth=0.8)
    if (bar := data["bars"].get(name)) is not None:
        axes.axhline(bar, color="0.5", linewidth=0.8, linestyle=":")
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    for p in data["points"]:
        if p["threads"] != threads or name not in p["ratio"]:
            continue
        k = cells.index(p["cell"])
        place = sizes.index(tuple(p[key] for key in "TBDH")) + (
            0.18 if p["work"] == "gradients" else -0.18
        )
        place += 0.07 * (k - (len(cells) - 1) / 2)
        color = COLORS[k % len(COLORS)]
        axes.vlines(place, *p["interval"][name], color=color, linewidth=0.7, alpha=0.6)
        face = color if p["dtype"] == "float32" else "white"
        axes.plot(
            place,
            p["ratio"][name],
            MARKERS[k % len(MARKERS)],
            color=color,
            markerfacecolor=face,
            markersize=4,
        )
