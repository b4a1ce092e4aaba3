"""Figures drawn without a display, matplotlib's global state or user settings."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatecheck._util.atomic_write import write_bytes
from gatecheck.errors import MissingExtraError

RC_STYLE = {
    "font.size": 9,
    "svg.hashsalt": "gatecheck",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

# Okabe & Ito 2008, without the yellow: distinct with any color vision; line styles and markers
# make them distinct without color.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

FIGURE_EXTENSIONS = (".png", ".svg", ".pdf")
"""Allowed extensions of figure files."""

# No dates or versions: equal numbers give equal files.
_METADATA = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None},
}


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure in the format of its extension.

    The extension is one of :data:`FIGURE_EXTENSIONS`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    extension = path.suffix.lower()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=extension[1:], metadata=_METADATA[extension])
    write_bytes(path, buffer.getvalue())


@contextmanager
def figure_context(width: float, height: float, style: Mapping[str, Any]) -> Iterator[Any]:
    """Provide an empty matplotlib figure of a size in inches.

    It must be drawn and saved within the context.

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
