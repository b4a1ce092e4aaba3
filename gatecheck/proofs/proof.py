"""Outcome of an attempt to prove a statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProofOutcome = Literal["proved", "sampled", "not proved", "refuted"]


@dataclass(frozen=True)
class Proof:
    """Statement, its domain, and the outcome of its proof.

    Attributes
    ----------
    topic
        The subject: the equations of a cell, or the activations of an implementation.
    statement
        The statement.
    box
        The inputs for which it is stated.
    outcome
        ``proved``; ``sampled`` if it holds for all inputs tried, which are only a part; ``not
        proved``; ``refuted`` by a point.
    detail
        The method of proof, the reason why it failed, or the point.
    """

    topic: str
    statement: str
    box: str
    outcome: ProofOutcome
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain data."""
        return {
            "topic": self.topic,
            "statement": self.statement,
            "box": self.box,
            "outcome": self.outcome,
            "detail": self.detail,
        }
