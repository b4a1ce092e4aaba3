"""What a section beside the kernels measures: rows, each a time with what it is held against, and
whether it gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck._util.versions import versions
from gatecheck.bench.timing import ratios

Measured = Literal["seconds", "ratio", "rate", "number"]


@dataclass(frozen=True)
class Bar:
    """What a row should reach.

    Attributes
    ----------
    of
        Which of its figures.
    limit
        How large that should be at most, or at least.
    least
        Whether it is at least.
    why
        Where the limit comes from, if it was measured too.
    """

    of: Measured
    limit: float
    least: bool = False
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a section.

    Attributes
    ----------
    what
        What was timed.
    seconds
        The median of its times; None where it is not about time.
    ratio
        Over the time of what the section compares with.
    interval
        The 10 % and 90 % quantiles of that ratio over rounds; None after a single round.
    number
        How much was done, in the section's unit.
    bar
        What it should reach; None where it is there to be compared with.
    """

    what: str
    seconds: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    number: int | None = None
    bar: Bar | None = None

    @property
    def rate(self) -> float | None:
        """How much was done in a second."""
        return self.number / self.seconds if self.number is not None and self.seconds else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        value = getattr(self, self.bar.of)
        return bool(value >= self.bar.limit if self.bar.least else value <= self.bar.limit)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the JSON file."""
        return asdict(self) | {"rate": self.rate, "met": self.met}


def compared(
    seconds: Mapping[str, Sequence[float]],
    subject: str,
    *,
    number: int | None = None,
    bar: Bar | None = None,
) -> Iterator[Row]:
    """A row for each of a race but the subject, over whose time the ratios are."""
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
"""What a progress bar calls it, and what measures it."""


class Section(NamedTuple):
    """What is measured beside the kernels.

    Attributes
    ----------
    title
        What it is about.
    over
        What ratios are over.
    unit
        Of what the numbers are.
    steps
        What is measured in turn.
    missing
        By name of what should have been compared with, how to install it.
    notes
        What was not measured and why, and what else a reader must know, in sentences.
    packages
        Whose versions a result names.
    """

    title: str
    over: str
    unit: str
    steps: list[Step]
    missing: dict[str, str]
    notes: list[str]
    packages: tuple[str, ...] = ()


def answers(section: Section) -> Iterator[dict[str, Any]]:
    """What a section says as it is measured, each of a ``kind``: a ``start``, then for each step a
    ``begin`` and ``row``s.
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
