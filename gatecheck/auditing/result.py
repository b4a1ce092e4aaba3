"""Results of an audit: outcomes by property, a verdict, saved counterexamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gatecheck._util.atomic_write import make_folder
from gatecheck.cases import Case
from gatecheck.diagnosis.result import Diagnosis
from gatecheck.proofs.proof import Proof

SCHEMA = "gatecheck-audit-2"

PropertyOutcome = Literal[
    "passed",
    "failed",
    "expected_failure",
    "inconclusive",
    "skipped",
    "crashed",
    "timed_out",
    "error",
]
FAILED_OUTCOMES: tuple[PropertyOutcome, ...] = ("failed", "crashed", "timed_out")
"""Outcomes of a property that does not hold."""

Verdict = Literal["pass", "fail", "inconclusive", "error"]


@dataclass(frozen=True)
class PropertyResult:
    """The result of one property on one implementation.

    Attributes
    ----------
    name
        Name of the property.
    outcome
        Its outcome; ``crashed`` is the target, ``error`` is gatecheck itself.
    examples
        Number of cases on which it was tried.
    worst_ratio
        Largest error over its budget; None where no error was measured.
    inconclusive
        Share of blocks that could not be judged.
    reason
        Why it was skipped, what is wrong, or why the failure is expected.
    counterexample
        Smallest case found on which it fails.
    saved_path
        File to which that case was written.
    """

    name: str
    outcome: PropertyOutcome
    examples: int = 0
    worst_ratio: float | None = None
    inconclusive: float = 0.0
    reason: str = ""
    counterexample: Case | None = None
    saved_path: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        case = (
            None
            if self.counterexample is None
            else {"case": str(self.counterexample), "file": self.saved_path}
        )
        ratio = (
            self.worst_ratio
            if self.worst_ratio is not None and math.isfinite(self.worst_ratio)
            else None
        )
        return {
            "name": self.name,
            "outcome": self.outcome,
            "examples": self.examples,
            "worst_ratio": ratio,
            "inconclusive": self.inconclusive,
            "reason": self.reason,
            "counterexample": case,
        }


@dataclass(frozen=True)
class AuditResult:
    """An audit of one implementation.

    Attributes
    ----------
    implementation
        Name of the implementation.
    cell, convention
        The cell and the convention it was audited as.
    profile, seed
        Values with which the audit can be repeated.
    limitations
        Sentences on what was not audited.
    properties
        One result per property.
    diagnosis
        Explanation of the findings; None if there are none, or if it was not requested.
    proofs
        Proof attempts for all inputs: of the equations of the cell, and of the activations that the
        implementation exposes.
    expected_by_target
        Names of the properties that the target itself expects to fail.
    interrupted
        True if it ended before every property was tried on every case.
    """

    implementation: str
    cell: str
    convention: str
    profile: str
    seed: int
    limitations: Sequence[str]
    properties: Sequence[PropertyResult]
    versions: dict[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    proofs: Sequence[Proof] = ()
    expected_by_target: Sequence[str] = ()
    interrupted: bool = False

    def count(self, *outcomes: PropertyOutcome) -> int:
        """Return the number of properties with one of these outcomes."""
        return sum(p.outcome in outcomes for p in self.properties)

    @property
    def n_tried(self) -> int:
        """Number of properties that were tried."""
        return len(self.properties) - self.count("skipped")

    @property
    def n_checks(self) -> int:
        """Number of times that a property was tried on a case."""
        return sum(p.examples for p in self.properties)

    @property
    def verdict(self) -> Verdict:
        """The verdict: ``pass``, ``fail``, ``inconclusive`` or ``error``.

        ``fail`` if a property failed or a proof was refuted; ``error`` if no property ran or
        gatecheck itself failed in one; ``inconclusive`` if one could not be judged, or
        if it was interrupted; else ``pass``.
        """
        if self.count(*FAILED_OUTCOMES) or any(p.outcome == "refuted" for p in self.proofs):
            return "fail"
        if self.count("error") or (self.n_tried == 0 and not self.interrupted):
            return "error"
        return "inconclusive" if self.interrupted or self.count("inconclusive") else "pass"

    @property
    def ok(self) -> bool:
        """True if the verdict is ``pass``."""
        return self.verdict == "pass"

    @property
    def findings(self) -> list[PropertyResult]:
        """Properties that do not hold, and those in which gatecheck itself failed."""
        return [p for p in self.properties if p.outcome in (*FAILED_OUTCOMES, "error")]

    def save_counterexamples(self, folder: str | Path) -> AuditResult:
        """Write each counterexample as ``.npz``; return the result with their paths.

        The folder is created if necessary.

        Raises
        ------
        OutputError
            If the folder or a file in it cannot be written.
        """
        properties = []
        for p in self.properties:
            if p.counterexample is not None and p.outcome != "expected_failure":
                make_folder(folder)
                parts = (
                    self.implementation,
                    *([self.cell] if self.cell not in self.implementation.lower() else []),
                    p.name,
                )
                path = Path(folder) / (
                    "".join(c if c.isalnum() or c in "-_" else "-" for c in "-".join(parts))
                    + ".npz"
                )
                p.counterexample.save(path, property=p.name, implementation=self.implementation)
                p = replace(p, saved_path=str(path))
            properties.append(p)
        return replace(self, properties=properties)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the schema is stable within its number."""
        return {
            "schema": SCHEMA,
            "implementation": self.implementation,
            "cell": self.cell,
            "convention": self.convention,
            "versions": self.versions,
            "profile": self.profile,
            "seed": self.seed,
            "limitations": list(self.limitations),
            "verdict": self.verdict,
            "interrupted": self.interrupted,
            "expected_by_target": list(self.expected_by_target),
            "counts": {"ran": self.n_tried, "checks": self.n_checks}
            | {
                o: self.count(o)
                for o in (
                    "failed",
                    "skipped",
                    "inconclusive",
                    "expected_failure",
                    "crashed",
                    "timed_out",
                    "error",
                )
            },
            "properties": [p.to_json() for p in self.properties],
            "proofs": [p.to_json() for p in self.proofs],
            "diagnosis": [e.to_json() for e in self.diagnosis.explanations]
            if self.diagnosis
            else [],
            "diagnosis_message": self.diagnosis.message if self.diagnosis else "",
        }
