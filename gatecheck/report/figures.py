"""One way to draw: without a display, without matplotlib's global state, whatever the user's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatecheck.errors import MissingExtraError, UsageError

STYLE = {"font.size": 9, "svg.hashsalt": "gatecheck", "svg.fonttype": "path", "axes.spines.top": False, "axes.spines.right": False}

# Okabe & Ito 2008, without the yellow: told apart with any colour vision; line styles and markers tell them apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# What would make two files of one picture differ.
_METADATA = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None, "Producer": None}}
FORMATS = tuple(_METADATA)


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
        raise MissingExtraError('figures need matplotlib: pip install "gatecheck[report]"') from error
    with matplotlib.style.context(["default", dict(style)]):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format that the ending of its path names, one of :data:`FORMATS`, and nothing of when or by what.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    try:
        figure.savefig(path, metadata=_METADATA[path.suffix.lower()])
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
