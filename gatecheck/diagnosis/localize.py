"""Location of errors that no hypothesis explains.

Sentences say in which pass, gate, parameter and step a target departs from the equations.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatecheck.cases import Case
from gatecheck.checking.evidence import Violation, agree, summarise
from gatecheck.diagnosis.forward_search import Search, attempted, first_wrong, on_probes, probes
from gatecheck.diagnosis.hypotheses import Hypothesis
from gatecheck.oracles.rounding import Budget
from gatecheck.reference import Results


def narrowed(search: Search, explained: Sequence[Hypothesis]) -> str:
    """Describe where a target that nothing explains departs from the equations.

    Parameters
    ----------
    search
        The search, with the target's results.
    explained
        Hypotheses that explain its outputs, if there are any.
    """
    right = Hypothesis(search.right)
    if not explained:
        at = first_wrong(search, right, False)
        return "" if at is None else _of_forward(search, *search.observed[at])
    first = explained[0]
    at = first_wrong(search, first, True)
    if at is None:
        return ""
    case, results = search.observed[at]
    gradients = {k: v for k, v in results.items() if k.startswith("d")}
    wrong, fine = _departures(search, gradients, first.budget(case))
    what = _called(first)
    sentence = (
        f"The outputs are those of {what}; wrong gradients: {summarise(wrong)}; "
        f"right: {summarise(fine) or 'none'}."
    )
    return f"{sentence} {_of_backward(case, wrong, fine)}".strip()


def _called(h: Hypothesis) -> str:
    if not h.base.name and not h.faults:
        return "the right equations"
    return " and ".join(repr(name) for name in (h.base.name, *(f.name for f in h.faults)) if name)


def _departures(
    search: Search, got: Results, budget: Budget
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = {k: v for k, v in got.items() if k in budget.exact}
    try:
        agree(search.cell, known, {k: budget.exact[k] for k in known}, budget.tolerance)
    except Violation as violation:
        return violation.wrong, violation.right
    return (), tuple(known)


def _of_forward(search: Search, case: Case, got: Results) -> str:
    """Describe which outputs depart, from which step on, and which zeros hide it."""
    right = Hypothesis(search.right)
    outputs = {k: v for k, v in got.items() if not k.startswith("d")}
    wrong, fine = _departures(search, outputs, right.budget(case, gradients=False))
    sentences = [
        f"The forward departs from the equations, in {summarise(wrong)} "
        f"(right: {summarise(fine) or 'nothing'})."
    ]
    steps = [label for label in fine if label.startswith("y[")]
    if steps:
        sentences.append(
            f"The first {'step is' if len(steps) == 1 else f'{len(steps)} steps are'} right: "
            "look at what one step hands to the next."
        )
    right_where = []
    for label, probe_outputs in on_probes(search, case).items():
        probe = probes(case)[label]
        budget = attempted(right.budget, probe, gradients=False)
        if budget is not None and not _departures(search, probe_outputs, budget)[0]:
            right_where.append(label)
    if right_where and "" not in right_where:
        sentences.append(
            f"One step is right where {' or where '.join(right_where)}: "
            "the fault is in what that silences."
        )
    return " ".join(sentences)


def _of_backward(case: Case, wrong: Sequence[str], fine: Sequence[str]) -> str:
    last = f"dx[t={case.sizes.T - 1}]"
    names = {label.partition("[")[0] for label in wrong}
    if last in fine and "dx" in names:
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
