"""What a gradient check found, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["pass", "fail", "inconclusive"]
SHOWN = 5


class Failure(NamedTuple):
    """One wrong derivative: where, what was found, what it should be, and by how much that may be
    off.
    """

    where: str
    found: float
    expected: float
    error: float
    oracle: str

    def __str__(self) -> str:
        return f"{self.where} is {self.found:.10g}, but should be {self.expected:.10g} ± {self.error:.1g} ({self.oracle})"


@dataclass(frozen=True)
class Outcome:
    """What one oracle says.

    Attributes
    ----------
    verdict
        As the whole result's; ``"not applicable"`` where the oracle has nothing to say about this
        function.
    reason
        Why, in one sentence.
    worst
        The largest error / bound over what was compared; above 1 is a failure. NaN where that is
        not how it judges.
    inconclusive
        The share of what was compared that could not be decided.
    compared, failed
        How many derivatives were compared, and how many of them are wrong.
    """

    verdict: Verdict | Literal["not applicable"]
    reason: str
    worst: float = float("nan")
    inconclusive: float = 0.0
    compared: int = 0
    failed: int = 0


@dataclass(frozen=True)
class GradcheckResult:
    """The verdict of :func:`gatecheck.gradcheck`.

    Attributes
    ----------
    verdict
        ``"fail"`` if any oracle found something wrong; ``"pass"`` if none did and most derivatives,
        some for every pair of an output and an input, could be decided; else ``"inconclusive"``.
    oracles
        What each oracle says, by name.
    failures
        The worst wrong derivatives, at most 100, worst first.
    notes
        What else was seen: a function that writes to its inputs, that is not deterministic, that
        returns the wrong shapes.
    seed
        The seed that repeats this result.

    Notes
    -----
    ``bool(result)`` is ``result.ok``, so that ``assert gradcheck(...)``, the habit from elsewhere, means what it says: an object that is
    always true would let every wrong gradient pass, and inconclusive is not a pass.
    """

    verdict: Verdict
    oracles: dict[str, Outcome]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    seed: int

    @property
    def ok(self) -> bool:
        """Whether the verdict is ``"pass"``."""
        return self.verdict == "pass"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"gradcheck: {self.verdict} (seed {self.seed})"]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  {failure}" for failure in self.failures[:SHOWN]]
        if len(self.failures) > SHOWN:
            total = max(
                [len(self.failures), *(outcome.failed for outcome in self.oracles.values())]
            )
            lines.append(f"  … {total} wrong derivatives in all")
        width = max(map(len, self.oracles), default=0)
        lines += [
            f"  {name:{width}}  {outcome.verdict}: {outcome.reason}"
            for name, outcome in self.oracles.items()
        ]
        return "\n".join(lines)
