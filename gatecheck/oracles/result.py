"""Results of a gradient check and their text form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["pass", "fail", "inconclusive"]
MAX_SHOWN = 5


class WrongDerivative(NamedTuple):
    """One wrong derivative: place, value, expected value and its error bound."""

    where: str
    value: float
    expected: float
    error: float
    oracle: str

    def __str__(self) -> str:
        return (
            f"{self.where} is {self.value:.10g}, "
            f"but should be {self.expected:.10g} ± {self.error:.1g} ({self.oracle})"
        )


@dataclass(frozen=True)
class OracleResult:
    """Result of one oracle.

    Attributes
    ----------
    verdict
        As for the whole result, or ``"not applicable"`` if the oracle does not apply to this
        function.
    reason
        The reason, in one sentence.
    worst_ratio
        The largest error / bound of all comparisons; above 1 is a failure. NaN if the oracle judges
        otherwise.
    inconclusive_share
        The share of comparisons that could not be decided.
    n_compared, n_failed
        The number of derivatives compared, and of those that are wrong.
    """

    verdict: Verdict | Literal["not applicable"]
    reason: str
    worst_ratio: float = float("nan")
    inconclusive_share: float = 0.0
    n_compared: int = 0
    n_failed: int = 0


@dataclass(frozen=True)
class GradcheckResult:
    """Result of :func:`gatecheck.gradcheck`.

    Attributes
    ----------
    verdict
        ``"fail"`` if any oracle found something wrong; ``"pass"`` if none did and most derivatives,
        some for every pair of an output and an input, could be decided; else ``"inconclusive"``.
    oracles
        The result of each oracle, by name.
    failures
        The worst wrong derivatives, at most 100, worst first.
    notes
        Other observations: a function that writes to its inputs, is not deterministic, or returns
        wrong shapes.
    seed
        The seed that repeats this result.

    Notes
    -----
    ``bool(result)`` is ``result.ok``, so that the common ``assert gradcheck(...)`` works: an object
    that is always true would let every wrong gradient pass, and inconclusive is not a pass.
    """

    verdict: Verdict
    oracles: dict[str, OracleResult]
    failures: tuple[WrongDerivative, ...]
    notes: tuple[str, ...]
    seed: int

    @property
    def ok(self) -> bool:
        """True if the verdict is ``"pass"``."""
        return self.verdict == "pass"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"gradcheck: {self.verdict} (seed {self.seed})"]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  {failure}" for failure in self.failures[:MAX_SHOWN]]
        if len(self.failures) > MAX_SHOWN:
            total = max(
                [len(self.failures), *(outcome.n_failed for outcome in self.oracles.values())]
            )
            lines.append(f"  … {total} wrong derivatives in all")
        width = max(map(len, self.oracles), default=0)
        lines += [
            f"  {name:{width}}  {outcome.verdict}: {outcome.reason}"
            for name, outcome in self.oracles.items()
        ]
        return "\n".join(lines)
