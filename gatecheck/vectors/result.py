"""What answers to vectors are worth: quantity by quantity, case by case, and in all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.auditing.result import Verdict

SCHEMA = "gatecheck-vectors-check-1"

Outcome = Literal["passed", "failed", "inconclusive", "missing", "malformed", "damaged"]


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True, eq=False)
class Quantity:
    """One result of one case, by the convention's own name.

    Attributes
    ----------
    name
        ``y``, ``hT``, ``dx``, ``dweight_ih_l0``, …
    ulps
        The error of every entry, in units in the last place of the expected one in the dtype of the
        case: from the float64 number that is nearest to the exact one, where that is certified,
        else from the reference's.
    ratio
        The largest error over its budget among the entries that could be judged; None if there is
        none.
    """

    name: str
    ulps: Array
    ratio: float | None

    @property
    def outcome(self) -> Outcome:
        """``passed``, ``failed`` or ``inconclusive``."""
        return "inconclusive" if self.ratio is None else "passed" if self.ratio <= 1 else "failed"

    @property
    def median_ulps(self) -> float:
        """Of all entries."""
        return float(np.median(self.ulps)) if self.ulps.size else 0.0

    @property
    def worst_ulps(self) -> float:
        """Of all entries; infinity where a number is missing."""
        return float(self.ulps.max(initial=0.0))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        ulps = {"median_ulps": _finite(self.median_ulps), "worst_ulps": _finite(self.worst_ulps)}
        return {
            "name": self.name,
            "outcome": self.outcome,
            **ulps,
            "worst_ratio": _finite(self.ratio),
        }


@dataclass(frozen=True)
class CaseAnswer:
    """What came back for one case.

    Attributes
    ----------
    name, cell
        Of the case.
    outcome
        ``damaged`` if the case itself is not what was exported.
    case
        Its sizes, in words.
    reason
        What is wrong.
    quantities
        What was judged.
    """

    name: str
    cell: str
    outcome: Outcome
    case: str = ""
    reason: str = ""
    quantities: Sequence[Quantity] = ()

    @property
    def worst_ratio(self) -> float | None:
        """The largest error over its budget."""
        return max((q.ratio for q in self.quantities if q.ratio is not None), default=None)

    @property
    def with_gradients(self) -> bool:
        """Whether gradients were answered too."""
        return any(q.name == "dx" for q in self.quantities)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
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
    """The answers of a folder.

    Attributes
    ----------
    convention, dtype, seed
        Of the export.
    cases
        One answer a case, missing ones too.
    notes
        What else was seen that changes no verdict.
    uncertified
        Why ulps of some cases are counted from the reference's float64 results and not from
        certified ones; empty if none are.
    """

    convention: str
    dtype: str
    seed: int
    cases: Sequence[CaseAnswer]
    notes: Sequence[str]
    versions: Mapping[str, str] = field(default_factory=dict)
    uncertified: Sequence[str] = ()

    def count(self, *outcomes: Outcome) -> int:
        """How many cases had one of these outcomes."""
        return sum(c.outcome in outcomes for c in self.cases)

    @property
    def verdict(self) -> Verdict:
        """``fail`` if a case failed or was not answered as it should be; ``inconclusive`` if one
        could not be judged; else ``pass``.
        """
        if self.count("failed", "missing", "malformed", "damaged"):
            return "fail"
        return "inconclusive" if self.count("inconclusive") else "pass"

    @property
    def ok(self) -> bool:
        """Whether the verdict is ``pass``."""
        return self.verdict == "pass"

    def in_all(self, cell: str) -> list[Quantity]:
        """Each quantity over all cases of a cell."""
        by_name: dict[str, list[Quantity]] = {}
        for q in (q for c in self.cases if c.cell == cell for q in c.quantities):
            by_name.setdefault(q.name, []).append(q)
        return [
            Quantity(
                name,
                np.concatenate([q.ulps for q in all_of]),
                max((q.ratio for q in all_of if q.ratio is not None), default=None),
            )
            for name, all_of in by_name.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """As plain data; the schema is stable within its number."""
        cells = dict.fromkeys(c.cell for c in self.cases)
        outcomes: tuple[Outcome, ...] = (
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
            "quantities": {cell: [q.to_json() for q in self.in_all(cell)] for cell in cells},
            "cases": [c.to_json() for c in self.cases],
        }
