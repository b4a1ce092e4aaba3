"""One way to draw: without a display, without matplotlib's global state, whatever the user's
settings.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatecheck._util.atomic_write import write_bytes
from gatecheck.errors import MissingExtraError

STYLE = {
    "font.size": 9,
    "svg.hashsalt": "gatecheck",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

# Okabe & Ito 2008, without the yellow: told apart with any colour vision; line styles and markers
# tell them apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

FIGURES = (".png", ".svg", ".pdf")
"""How the name of a picture may end."""

# No dates or versions: equal numbers give equal files.
_METADATA = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None},
}


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure of matplotlib in the format that the ending of the name says, one of
    :data:`FIGURES`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    kind = path.suffix.lower()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind[1:], metadata=_METADATA[kind])
    write_bytes(path, drawn.getvalue())


@contextmanager
def drawing(width: float, height: float, style: Mapping[str, Any]) -> Iterator[Any]:
    """An empty matplotlib figure of this size in inches, to be drawn and saved within the context.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'figures need matplotlib: pip install "gatecheck[report]"'
        ) from error
    with matplotlib.style.context(["default", dict(style)]):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
