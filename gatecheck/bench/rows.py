"""Rows of the sections other than the kernels.

Each row is a time, what it is compared with, and whether it reaches its aim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck._util.versions import versions
from gatecheck.bench.timing import ratios

FigureName = Literal["seconds", "ratio", "rate", "number"]


@dataclass(frozen=True)
class Bar:
    """The aim of a row.

    Attributes
    ----------
    of
        Name of the figure of the row.
    limit
        Largest value that the figure should have, or smallest.
    least
        Whether the limit is the smallest value.
    why
        Origin of the limit, if it was measured too.
    """

    of: FigureName
    limit: float
    least: bool = False
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a section.

    Attributes
    ----------
    what
        Name of what was timed.
    seconds
        The median of its times; None where it is not about time.
    ratio
        Ratio of the time to that of what the section compares with.
    interval
        The 10 % and 90 % quantiles of that ratio over rounds; None after a single round.
    number
        Amount of work done, in the section's unit.
    bar
        The aim; None for a row that others are compared with.
    """

    what: str
    seconds: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    number: int | None = None
    bar: Bar | None = None

    @property
    def rate(self) -> float | None:
        """Work done per second."""
        return self.number / self.seconds if self.number is not None and self.seconds else None

    @property
    def is_met(self) -> bool | None:
        """True if the bar is reached; None without one."""
        if self.bar is None:
            return None
        value = getattr(self, self.bar.of)
        return bool(value >= self.bar.limit if self.bar.least else value <= self.bar.limit)

    def to_json(self) -> dict[str, Any]:
        """Return the row as in the JSON file."""
        return asdict(self) | {"rate": self.rate, "met": self.is_met}


def race_rows(
    seconds: Mapping[str, Sequence[float]],
    subject: str,
    *,
    number: int | None = None,
    bar: Bar | None = None,
) -> Iterator[Row]:
    """Yield a row for each contestant of a race except the subject.

    The ratios are to the subject's time.
    """
    for name, (median, low, high) in ratios(seconds, subject).items():
        rounds = len(seconds[name])
        yield Row(
            name,
            float(np.median(seconds[name])),
            median,
            (low, high) if rounds > 1 else None,
            number,
            bar,
        )


Step = tuple[str, Callable[[], Iterator[Row]]]
"""Label of a step in the progress bar, and the function that measures it."""


class Section(NamedTuple):
    """A section other than the kernels.

    Attributes
    ----------
    title
        Subject of the section.
    over
        Denominator of the ratios.
    unit
        Unit of the numbers.
    steps
        Steps to measure in turn.
    missing
        How to install what should have been compared with, by name.
    notes
        What was not measured and why, and what else a reader must know, in sentences.
    packages
        Packages whose versions a result names.
    """

    title: str
    over: str
    unit: str
    steps: list[Step]
    missing: dict[str, str]
    notes: list[str]
    packages: tuple[str, ...] = ()


def answers(section: Section) -> Iterator[dict[str, Any]]:
    """Yield the answers of a section as it is measured, each with a ``kind``.

    They are a ``start``, then for each step a ``begin`` and ``row``s.
    """
    yield {
        "kind": "start",
        "section": {
            "title": section.title,
            "over": section.over,
            "unit": section.unit,
            "missing": section.missing,
            "notes": section.notes,
        },
        "versions": versions(*section.packages),
    }
    for k, (label, step) in enumerate(section.steps):
        yield {"kind": "begin", "done": k, "total": len(section.steps), "point": label}
        for row in step():
            yield {"kind": "row", "row": row.to_json()}
