"""Where nothing explains a target: which pass, gate, parameter and step it departs from the
equations in, in sentences.
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
    """What is known of a target that nothing explains.

    Parameters
    ----------
    search
        With the target's results.
    explained
        What explains its outputs, if anything does.
    """
    right = Hypothesis(search.right)
    if not explained:
        at = first_wrong(search, right, False)
        return "" if at is None else _of_forward(search, *search.observed[at])
    first = explained[0]
    at = first_wrong(search, first, True)
    if at is None:
        return ""
    case, got = search.observed[at]
    gradients = {k: v for k, v in got.items() if k.startswith("d")}
    wrong, fine = _departures(search, gradients, first.budget(case))
    what = _called(first)
    said = f"The outputs are those of {what}; of the gradients wrong: {summarise(wrong)}; right: {summarise(fine) or 'none'}."
    return f"{said} {_of_backward(case, wrong, fine)}".strip()


def _called(h: Hypothesis) -> str:
    if not h.base.name and not h.faults:
        return "the right equations"
    return " and ".join(repr(name) for name in (h.base.name, *(f.name for f in h.faults)) if name)


def _departures(
    search: Search, got: Results, budget: Budget
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kept = {k: v for k, v in got.items() if k in budget.exact}
    try:
        agree(search.cell, kept, {k: budget.exact[k] for k in kept}, budget.tolerance)
    except Violation as violation:
        return violation.wrong, violation.right
    return (), tuple(kept)


def _of_forward(search: Search, case: Case, got: Results) -> str:
    """Which outputs depart, from which step on, and what has to be zero for them to be right."""
    right = Hypothesis(search.right)
    outputs = {k: v for k, v in got.items() if not k.startswith("d")}
    wrong, fine = _departures(search, outputs, right.budget(case, gradients=False))
    said = [
        f"The forward departs from the equations, in {summarise(wrong)} (right: {summarise(fine) or 'nothing'})."
    ]
    steps = [label for label in fine if label.startswith("y[")]
    if steps:
        said.append(
            f"The first {'step is' if len(steps) == 1 else f'{len(steps)} steps are'} right: look at what one step hands to the next."
        )
    holds = []
    for label, out in on_probes(search, case).items():
        probe = probes(case)[label]
        budget = attempted(lambda probe=probe: right.budget(probe, gradients=False))  # type: ignore[misc]
        if budget is not None and not _departures(search, out, budget)[0]:
            holds.append(label)
    if holds and "" not in holds:
        said.append(
            f"One step is right where {' or where '.join(holds)}: the fault is in what that silences."
        )
    return " ".join(said)


def _of_backward(case: Case, wrong: Sequence[str], fine: Sequence[str]) -> str:
    last = f"dx[t={case.sizes.T - 1}]"
    names = {label.partition("[")[0] for label in wrong}
    if last in fine and "dx" in names:
        return "The last step's dx is right and earlier ones are not: look at what is carried from step to step."
    if "dx" not in names and names:
        return f"dx is right at every step, so the carried gradient is: look at the sums that make {', '.join(sorted(names))}."
    return "Already the last step's dx is wrong: look at the gradients of the gates themselves."
