"""A statement, and whether it is proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["proved", "sampled", "not proved", "refuted"]


@dataclass(frozen=True)
class Proof:
    """A statement, for what it is claimed, and what came of it.

    Attributes
    ----------
    of
        What it is about: the equations of a cell, or the activations of an implementation.
    says
        The statement.
    box
        For all of what it is claimed.
    outcome
        ``proved``; ``sampled`` where it held of all that was tried, which is a part; ``not
        proved``; ``refuted`` by a point.
    detail
        What carries the proof, why there is none, or the point.
    """

    of: str
    says: str
    box: str
    outcome: Outcome
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """As plain data."""
        return {
            "of": self.of,
            "says": self.says,
            "box": self.box,
            "outcome": self.outcome,
            "detail": self.detail,
        }
