"""Location of errors that no hypothesis explains.

Sentences say in which pass, gate, parameter and step a target departs from the equations.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatecheck.cases import Case
from gatecheck.checking.evidence import Violation, check_agreement, summarize_labels
from gatecheck.diagnosis.hypotheses import Hypothesis
from gatecheck.diagnosis.probes import probes, run_probes
from gatecheck.diagnosis.search import Search, first_mismatch, try_or_none
from gatecheck.oracles.rounding import Budget
from gatecheck.reference import Results


def locate_departure(search: Search, output_explanations: Sequence[Hypothesis]) -> str:
    """Describe where a target that nothing explains departs from the equations.

    Parameters
    ----------
    search
        The search, with the target's results.
    output_explanations
        Hypotheses that explain its outputs, if there are any.
    """
    right = Hypothesis(search.reference)
    if not output_explanations:
        at = first_mismatch(search, right, False)
        return "" if at is None else _describe_forward(search, *search.observed[at])
    first = output_explanations[0]
    at = first_mismatch(search, first, True)
    if at is None:
        return ""
    case, results = search.observed[at]
    gradients = {k: v for k, v in results.items() if k.startswith("d")}
    wrong, fine = _wrong_and_right(search, gradients, first.budget(case))
    what = _hypothesis_name(first)
    sentence = (
        f"The outputs are those of {what}; wrong gradients: {summarize_labels(wrong)}; "
        f"right: {summarize_labels(fine) or 'none'}."
    )
    return f"{sentence} {_describe_backward(case, wrong, fine)}".strip()


def _hypothesis_name(h: Hypothesis) -> str:
    if not h.model.name and not h.faults:
        return "the right equations"
    return " and ".join(repr(name) for name in (h.model.name, *(f.name for f in h.faults)) if name)


def _wrong_and_right(
    search: Search, got: Results, budget: Budget
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = {k: v for k, v in got.items() if k in budget.exact}
    try:
        check_agreement(search.cell, known, {k: budget.exact[k] for k in known}, budget.tolerance)
    except Violation as violation:
        return violation.wrong, violation.right
    return (), tuple(known)


def _describe_forward(search: Search, case: Case, got: Results) -> str:
    """Describe which outputs depart, from which step on, and which zeros hide it."""
    right = Hypothesis(search.reference)
    outputs = {k: v for k, v in got.items() if not k.startswith("d")}
    wrong, fine = _wrong_and_right(search, outputs, right.budget(case, gradients=False))
    sentences = [
        f"The forward departs from the equations, in {summarize_labels(wrong)} "
        f"(right: {summarize_labels(fine) or 'nothing'})."
    ]
    steps = [label for label in fine if label.startswith("y[")]
    if steps:
        sentences.append(
            f"The first {'step is' if len(steps) == 1 else f'{len(steps)} steps are'} right: "
            "look at what one step hands to the next."
        )
    right_where = []
    for label, probe_outputs in run_probes(search, case).items():
        probe = probes(case)[label]
        budget = try_or_none(right.budget, probe, gradients=False)
        if budget is not None and not _wrong_and_right(search, probe_outputs, budget)[0]:
            right_where.append(label)
    if right_where and "" not in right_where:
        sentences.append(
            f"One step is right where {' or where '.join(right_where)}: "
            "the fault is in what that silences."
        )
    return " ".join(sentences)


def _describe_backward(case: Case, wrong: Sequence[str], right: Sequence[str]) -> str:
    last = f"dx[t={case.sizes.T - 1}]"
    names = {label.partition("[")[0] for label in wrong}
    if last in right and "dx" in names:
        return (
            "The last step's dx is right and earlier ones are not: "
            "look at what is carried from step to step."
        )
    if "dx" not in names and names:
        return (
            "dx is right at every step, and so is the carried gradient: "
            f"look at the sums that make {', '.join(sorted(names))}."
        )
    return "The last step's dx is wrong already: look at the gradients of the gates themselves."
