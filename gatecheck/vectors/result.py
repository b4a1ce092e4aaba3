"""Results of a check of vectors: by quantity, by case, and in all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.auditing.result import Verdict

SCHEMA = "gatecheck-vectors-check-1"

AnswerOutcome = Literal["passed", "failed", "inconclusive", "missing", "malformed", "damaged"]


def _finite_or_none(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True, eq=False)
class Quantity:
    """One result of one case, by the convention's name.

    Attributes
    ----------
    name
        ``y``, ``hT``, ``dx``, ``dweight_ih_l0``, …
    ulps
        The error of every entry, in units in the last place of the expected one in the dtype of the
        case: from the float64 number that is nearest to the exact one, where that is certified,
        else from the reference's.
    ratio
        The largest error over its budget among the entries that could be judged; None if there are
        no such entries.
    """

    name: str
    ulps: Array
    ratio: float | None

    @property
    def outcome(self) -> AnswerOutcome:
        """``passed``, ``failed`` or ``inconclusive``."""
        return "inconclusive" if self.ratio is None else "passed" if self.ratio <= 1 else "failed"

    @property
    def median_ulps(self) -> float:
        """Median of the errors of all entries."""
        return float(np.median(self.ulps)) if self.ulps.size else 0.0

    @property
    def worst_ulps(self) -> float:
        """Largest error of all entries; infinity where a number is missing."""
        return float(self.ulps.max(initial=0.0))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        ulps = {
            "median_ulps": _finite_or_none(self.median_ulps),
            "worst_ulps": _finite_or_none(self.worst_ulps),
        }
        return {
            "name": self.name,
            "outcome": self.outcome,
            **ulps,
            "worst_ratio": _finite_or_none(self.ratio),
        }


@dataclass(frozen=True)
class CaseAnswer:
    """The answer to one case, judged.

    Attributes
    ----------
    name, cell
        Names of the case and of its cell.
    outcome
        ``damaged`` if the case itself is not what was exported.
    case
        Its sizes, in words.
    reason
        What is wrong.
    quantities
        The quantities that were judged.
    """

    name: str
    cell: str
    outcome: AnswerOutcome
    case: str = ""
    reason: str = ""
    quantities: Sequence[Quantity] = ()

    @property
    def worst_ratio(self) -> float | None:
        """The largest error over its budget."""
        return max((q.ratio for q in self.quantities if q.ratio is not None), default=None)

    @property
    def has_gradients(self) -> bool:
        """True if gradients were answered too."""
        return any(q.name == "dx" for q in self.quantities)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "cell": self.cell,
            "case": self.case,
            "outcome": self.outcome,
            "reason": self.reason,
            "quantities": [q.to_json() for q in self.quantities],
        }


@dataclass(frozen=True)
class VectorsResult:
    """The answers of a folder, judged.

    Attributes
    ----------
    convention, dtype, seed
        Those of the export.
    cases
        One answer a case, missing ones too.
    notes
        Other observations, which change no verdict.
    uncertified
        Why ulps of some cases are counted from the reference's float64 results and not from
        certified ones; empty if all are certified.
    """

    convention: str
    dtype: str
    seed: int
    cases: Sequence[CaseAnswer]
    notes: Sequence[str]
    versions: Mapping[str, str] = field(default_factory=dict)
    uncertified: Sequence[str] = ()

    def count(self, *outcomes: AnswerOutcome) -> int:
        """Return the number of cases with one of these outcomes."""
        return sum(c.outcome in outcomes for c in self.cases)

    @property
    def verdict(self) -> Verdict:
        """The verdict: ``fail``, ``inconclusive`` or ``pass``.

        ``fail`` if a case failed or was not answered as it should be; ``inconclusive`` if one could
        not be judged.
        """
        if self.count("failed", "missing", "malformed", "damaged"):
            return "fail"
        return "inconclusive" if self.count("inconclusive") else "pass"

    @property
    def ok(self) -> bool:
        """True if the verdict is ``pass``."""
        return self.verdict == "pass"

    def totals(self, cell: str) -> list[Quantity]:
        """Return each quantity over all cases of a cell."""
        by_name: dict[str, list[Quantity]] = {}
        for q in (q for c in self.cases if c.cell == cell for q in c.quantities):
            by_name.setdefault(q.name, []).append(q)
        return [
            Quantity(
                name,
                np.concatenate([q.ulps for q in group]),
                max((q.ratio for q in group if q.ratio is not None), default=None),
            )
            for name, group in by_name.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the schema is stable within its number."""
        cells = dict.fromkeys(c.cell for c in self.cases)
        outcomes: tuple[AnswerOutcome, ...] = (
            "passed",
            "failed",
            "inconclusive",
            "missing",
            "malformed",
            "damaged",
        )
        return {
            "schema": SCHEMA,
            "versions": dict(self.versions),
            "convention": self.convention,
            "dtype": self.dtype,
            "seed": self.seed,
            "certified": not self.uncertified,
            "uncertified": list(self.uncertified),
            "verdict": self.verdict,
            "counts": {o: self.count(o) for o in outcomes},
            "notes": list(self.notes),
            "quantities": {cell: [q.to_json() for q in self.totals(cell)] for cell in cells},
            "cases": [c.to_json() for c in self.cases],
        }
