"""Result of a diagnosis: explanations and further findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Explanation:
    """One hypothesis that reproduces everything that was observed.

    Attributes
    ----------
    kind
        ``convention`` if the target is right except for its declaration, else ``fault``.
    names
        The convention, or the faults.
    description
        The explanation, in sentences.
    residual
        The target's largest error over its budget under this explanation; None where whole calls
        were compared, see :data:`gatecheck.diagnosis.prefilter.SCREENING_RTOL`.
    where
        The results that are wrong.
    """

    kind: Literal["convention", "fault"]
    names: tuple[str, ...]
    description: str
    residual: float | None
    where: str

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain data."""
        return {
            "kind": self.kind,
            "name": " + ".join(self.names),
            "explains": self.description,
            "residual": self.residual,
            "where": self.where,
        }


@dataclass(frozen=True)
class Diagnosis:
    """Outcome of a search.

    Attributes
    ----------
    explanations
        The explanations with the fewest faults; several if they cannot be distinguished.
    message
        Further findings: that nothing fits and where the target departs, that the numbers are
        right, or that the search ran out of time.
    n_hypotheses
        Number of hypotheses that were run.
    seconds
        CPU time of the search.
    """

    explanations: tuple[Explanation, ...] = ()
    message: str = ""
    n_hypotheses: int = 0
    seconds: float = 0.0

    @property
    def sentences(self) -> list[str]:
        """Explanations and further findings, as sentences."""
        return [
            *(e.description for e in self.explanations),
            *([self.message] if self.message else []),
        ]
