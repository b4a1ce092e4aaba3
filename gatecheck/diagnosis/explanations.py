"""Explanations: hypotheses that reproduce every number, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.checking.evidence import Violation, check_agreement, summarize_labels
from gatecheck.diagnosis.conventions.models import reference_model
from gatecheck.diagnosis.hypotheses import Hypothesis, is_mutant
from gatecheck.diagnosis.result import Explanation
from gatecheck.diagnosis.search import Search
from gatecheck.reference import Results

AMBIGUOUS = "These cannot be told apart here: each reproduces every number."

MAX_EXPLANATIONS = 4
"""Largest number of equally good explanations that are reported."""


def make_explanations(
    search: Search, hypotheses: Sequence[Hypothesis], declaration: str = ""
) -> tuple[Explanation, ...]:
    """Return the explanations with the fewest faults.

    `declaration` names the declaration under which the target was called, if not its own.
    """
    best = [h for h in hypotheses if h.size == hypotheses[0].size]
    named = [h for h in best if not any(map(is_mutant, h.faults))]
    by_names: dict[tuple[str, ...], Explanation] = {}
    for h in named or best:
        explanation = _make_explanation(search, h, declaration)
        by_names.setdefault(explanation.names, explanation)
    return tuple(by_names.values())[:MAX_EXPLANATIONS]


def _make_explanation(search: Search, h: Hypothesis, declaration: str) -> Explanation:
    residual = search.residual(h) or 0.0
    names = tuple(filter(None, [declaration, h.model.name, *(f.name for f in h.faults)]))
    cell = " ".join(filter(None, [str(search.cell), declaration]))
    compared = (
        "outputs and gradients"
        if any(k.startswith("d") for k in search.observed[0][1])
        else "outputs"
    )
    ratio = f"({residual:.1g} of budget)"
    if h.model.name and not h.faults:
        message = (
            f"Your {compared} equal those of the {cell} in another convention {ratio}: "
            f"{h.model.description}."
        )
    else:
        wrong = " and ".join(repr(f.name) for f in h.faults)
        message = f"Your {compared} equal those of the {cell} with {wrong} {ratio}: "
        message += " ".join(f.description for f in h.faults)
        message += (
            f" All of this in another convention: {h.model.description}." if h.model.name else ""
        )
    if h.forward and compared != "outputs":
        sentences = {
            "exact": "The gradients are the exact ones of that forward.",
            "textbook": "The backward is the textbook's, on what that forward computed.",
        }
        message += " " + (
            sentences[h.gradients]
            if not h.backward
            else "The rest of the backward is the textbook's."
        )
    message += f" It needs another declaration: {declaration}." if declaration else ""
    return Explanation(
        "fault" if h.faults else "convention",
        names,
        message,
        residual,
        summarize_departures(search.cell, search.observed),
    )


def summarize_departures(cell: Cell, observed: Iterable[tuple[Case, Results]]) -> str:
    """Return a summary of the wrong results on the first case that has any."""
    for case, results in observed:
        right = Hypothesis(reference_model(cell)).budget(
            case, gradients=any(k.startswith("d") for k in results)
        )
        try:
            check_agreement(cell, results, {k: right.exact[k] for k in results}, right.tolerance)
        except Violation as violation:
            return summarize_labels(violation.wrong)
    return ""
