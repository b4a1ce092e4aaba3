"""One way to draw: without a display, without matplotlib's global state, whatever the user's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gatecheck.errors import MissingExtraError


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
