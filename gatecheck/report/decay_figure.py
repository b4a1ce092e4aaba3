"""The lag plot of a decay result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck.decay.result import DecayResult, Row
from gatecheck.report.figures import drawing

# Okabe & Ito 2008, without the yellow: told apart with any colour vision; line styles and markers tell them apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FLOAT32_ZERO = -150 * math.log10(2)  # log10 of half the smallest float32
STYLE = {"font.size": 9, "svg.hashsalt": "gatecheck", "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150}


def save_decay_figure(result: DecayResult, folder: Path, stem: str = "decay") -> list[Path]:
    """Draw the lag plot and write it as PNG and SVG.

    The left panel shows the first three decades of decay, where learning happens; the right one the way down to where float32 is zero.
    Lines are medians over seeds, bands the 10 % to 90 % quantiles, thin lines of the same colour theory. The files depend on nothing but
    the result and the version of matplotlib.

    Parameters
    ----------
    result
        What to draw.
    folder
        Where to write; it is made if it does not exist.
    stem
        File name without its ending.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    with drawing(10, 5.2, STYLE) as figure:
        near, far = figure.subplots(1, 2)
        _panel(near, result, floor=-4)
        _panel(far, result, floor=-48)
        _annotate(near, far, result)
        handles, labels = near.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, handlelength=4)
        figure.suptitle("How far back a gradient reaches, by cell and initialisation", fontsize=11)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def _panel(axes: Any, result: DecayResult, floor: float) -> None:
    axes.set_xscale("log")
    for k, row in enumerate(result.rows):
        _row(axes, row, k, floor)
    axes.set_xlim(1, result.steps)
    axes.set_ylim(floor, max(0.3, *(_decades(row.curve.high).max() + 0.1 for row in result.rows)))
    axes.set_xlabel("lag (steps)")
    axes.grid(alpha=0.25, linewidth=0.6)


def _row(axes: Any, row: Row, k: int, floor: float) -> None:
    colour = COLOURS[k % len(COLOURS)]
    lags, median = np.array(row.curve.lags), _decades(row.curve.median)
    low, high = _decades(row.curve.low), _decades(row.curve.high)
    if row.curve.theory is not None:
        axes.plot(lags, _decades(row.curve.theory), color=colour, linewidth=0.7, zorder=1)
    axes.fill_between(lags, np.maximum(low, floor - 1), np.maximum(high, floor - 1), color=colour, alpha=0.18, linewidth=0)
    seen = np.flatnonzero(median > floor)
    # The style moves on by one at each turn of the colours, so that 49 rows are told apart.
    style, marker = STYLES[(k + k // len(COLOURS)) % len(STYLES)], MARKERS[k % len(MARKERS)]
    # Five markers spread over what the panel shows, shifted from row to row so that equal curves do not hide each other.
    places = np.unique(((np.arange(5) + 0.4 + 0.6 * (k % 2)) / 5.2 * seen.size).astype(int)).tolist() if seen.size else []
    name = f"{row.cell.upper()} {row.initialiser}"
    axes.plot(lags, median, label=name, color=colour, linestyle=style, marker=marker, markersize=5, linewidth=1.6, markevery=places)


def _annotate(near: Any, far: Any, result: DecayResult) -> None:
    for level, name in ((1 / 2, "1/2"), (1 / math.e, "1/e"), (1e-3, "1/1000")):
        near.axhline(math.log10(level), color="0.4", linewidth=0.7, linestyle=(0, (1, 2)))
        near.annotate(name, (1.01, math.log10(level)), xycoords=("axes fraction", "data"), va="center", fontsize=8, color="0.3")
    far.axhline(FLOAT32_ZERO, color="0.2", linewidth=1)
    far.annotate("below this line a float32 gradient is zero", (1.15, FLOAT32_ZERO + 0.6), fontsize=8, color="0.2")
    near.set_ylabel(r"$\log_{10}\ G$: gradient norm relative to lag 1 (decades)")
    near.set_title("The first decades; thin lines are theory", fontsize=9, loc="left")
    far.set_title("Down to the end of float32", fontsize=9, loc="left")
    note = f"H = {result.hidden}, D = {result.inputs}, inputs N(0, 1)\n{result.seeds} seeds: median, 10–90 % band"
    far.annotate(note, (0.02, 0.22), xycoords="axes fraction", fontsize=8, color="0.3")


def _decades(log_size: tuple[float, ...]) -> Any:
    return np.array(log_size) / math.log(10)
