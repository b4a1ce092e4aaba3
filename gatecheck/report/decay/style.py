"""Style and scales that the figures of a decay report share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.decay.result import DecayResult, NetworkRow, Numbers
from gatecheck.report.figures import COLORS, MARKERS

LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 1)))

MAX_PANELS = 12
"""Maximum number of networks in a figure with a panel for each."""


def rows_with(result: DecayResult, attribute: str) -> list[tuple[int, NetworkRow]]:
    """Return the rows with a non-empty attribute, each with its number.

    The number determines the style of a row in every figure.
    """
    return [(k, row) for k, row in enumerate(result.rows) if getattr(row, attribute)]


def row_style(k: int) -> dict[str, Any]:
    """Return color, line and marker of the k-th row.

    The line style shifts by one at each cycle of the colors, so that 49 rows are distinct.
    """
    n = len(COLORS)
    return {
        "color": COLORS[k % n],
        "linestyle": LINE_STYLES[(k + k // n) % n],
        "marker": MARKERS[k % n],
        "markersize": 5,
        "linewidth": 1.6,
    }


def add_legend(figure: Any, axes: Any, columns: int = 3) -> None:
    """Add the legend of `axes` below a figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=4
    )


def to_decades(log_size: Numbers | NDArray[Any]) -> NDArray[Any]:
    """Convert nats to powers of ten."""
    return np.asarray(log_size, dtype=float) / math.log(10)


def marker_places(n_visible: int, k: int) -> list[int]:
    """Return the places of five markers, shifted between rows.

    The shift keeps equal curves from hiding each other.
    """
    return (
        np.unique(((np.arange(5) + 0.4 + 0.6 * (k % 2)) / 5.2 * n_visible).astype(int)).tolist()
        if n_visible
        else []
    )
