"""The terminal: reports in it show what targets and files say, and do not do it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from gatecheck.errors import LAYOUT, printable


class Console(rich.console.Console):
    """Console in which text has no markup, emoji names or control characters.

    Parameters
    ----------
    stderr
        Print on standard error.
    file, width
        Print into a file of this width instead.
    """

    def __init__(
        self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
    ) -> None:
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of something that can be printed, all of them printable."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, LAYOUT), style, control)
