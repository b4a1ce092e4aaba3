"""Diagnosis: the convention, or the faults, that reproduce a target's results.

The target runs once on a few discriminating cases (distinct sizes, nothing zero, one of them slow
and one extreme). An explanation counts only if it reproduces every number on every case within its
rounding budget. If there is none, the diagnosis says where the target departs from the equations.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from gatecheck.cases import Case, draw
from gatecheck.cells import Sizes
from gatecheck.conventions import CONVENTIONS
from gatecheck.diagnosis.backward_search import explain_backward
from gatecheck.diagnosis.call_sequences import matching_wrapper_faults
from gatecheck.diagnosis.conventions.models import reference_model
from gatecheck.diagnosis.explanations import (
    AMBIGUOUS,
    MAX_EXPLANATIONS,
    make_explanations,
    summarize_departures,
)
from gatecheck.diagnosis.forward_search import explain_forward
from gatecheck.diagnosis.hypotheses import Hypothesis
from gatecheck.diagnosis.localize import locate_departure
from gatecheck.diagnosis.low_precision import describe_coarseness
from gatecheck.diagnosis.result import Diagnosis, Explanation
from gatecheck.diagnosis.search import OutOfTimeError, Search, first_mismatch, rank
from gatecheck.errors import GatecheckError, TargetError, TargetLostError
from gatecheck.implementation import Subject
from gatecheck.implementation.protocol import OPTIONS

TIME_LIMIT_S = 10.0
"""Time limit of a search, in CPU seconds of this process.

A busy machine therefore does not change the outcome.
"""


def diagnostic_cases(implementation: Subject, seed: int) -> list[Case]:
    """Return the cases of a diagnosis.

    Candidates are screened on the first one; the last one is extreme.
    """
    cell, fixed = implementation.cell, implementation.sizes
    dtype = "float64" if "float64" in implementation.dtypes else "float32"

    def case(k: int, *sizes: int, regime: str = "generic", dtype: str = dtype) -> Case:
        case_sizes = Sizes(*(fixed.get(n, s) for n, s in zip("TBDH", sizes, strict=True)))
        return implementation.zero_unsupported(
            draw(cell, case_sizes, seed=seed + k, dtype=dtype, regime=regime)
        )

    cases = [case(1, 5, 2, 3, 4), case(2, 7, 3, 2, 5), case(3, 9, 2, 4, 3, regime="slow")]
    if len(implementation.dtypes) > 1:
        # A GPU takes other code paths from such sizes on.
        cases.append(case(5, 5, 3, 2, 6, dtype="float32"))
    huge = case(4, 2, 2, 2, 3, regime="large")
    # There a sigmoid or tanh that overflows is NaN.
    return [*cases, huge.replace(x=100 * huge["x"])]


def diagnose(
    implementation: Subject, *, seed: int = 0, time_limit_s: float = TIME_LIMIT_S
) -> Diagnosis:
    """Find what a target computes instead of the correct results.

    Parameters
    ----------
    implementation
        The target.
    seed
        Seed of the cases on which it is run.
    time_limit_s
        Time limit of the search, in CPU seconds of this process.

    Returns
    -------
    Diagnosis
        Without explanations if the target is right on these cases, if nothing fits, or if it cannot
        be run.
    """
    start = time.process_time()
    with np.errstate(all="ignore"):  # a wrong target may well overflow
        diagnosis = _diagnose(implementation, seed, time_limit_s)
    return replace(diagnosis, seconds=time.process_time() - start)


def _diagnose(implementation: Subject, seed: int, time_limit_s: float) -> Diagnosis:
    try:
        observed = [
            (case, implementation.run(case)) for case in diagnostic_cases(implementation, seed)
        ]
    except TargetLostError:
        raise
    except TargetError as error:
        return _diagnose_failing_target(
            implementation, seed, str(error), time.process_time() + time_limit_s
        )
    # The time of the target's first calls, which may import or compile, does not count.
    deadline = time.process_time() + time_limit_s
    # Much code overflows at extremes, whatever else is wrong with it: the extreme case counts only
    # where the others are right.
    search = Search(
        implementation.cell,
        observed[:-1],
        implementation.run,
        deadline,
        negated=_negated_gates(implementation),
    )
    explained: list[Hypothesis] = []
    right = Hypothesis(search.reference)
    try:
        if search.residual(right) is not None:
            search = replace(search, observed=observed)
            if search.residual(right) is not None:
                return _diagnose_correct_equations(implementation, search, seed)
        elif message := describe_coarseness(search, observed):
            return _diagnose_correct_equations(implementation, search, seed, message)
        hypotheses = _search_hypotheses(implementation, search, explained)
        if hypotheses:
            explanations = make_explanations(search, hypotheses)
            return Diagnosis(
                explanations, AMBIGUOUS if len(explanations) > 1 else "", search.n_hypotheses
            )
        search.stage = "faults around the cell"
        diagnosis = _diagnose_calls(implementation, search, seed)
        if diagnosis.explanations:
            return diagnosis
    except OutOfTimeError:
        message = (
            f"The search ran out of time while trying {search.stage}, after {search.n_hypotheses} "
            "hypotheses, before anything explained all numbers."
        )
        return Diagnosis(
            (), " ".join([message, locate_departure(search, explained)]), search.n_hypotheses
        )
    message = (
        f"None of {search.n_hypotheses} hypotheses (conventions, faults alone, in other "
        f"conventions and "
        "in pairs) explains the numbers."
    )
    return Diagnosis(
        (), " ".join([message, locate_departure(search, explained)]), search.n_hypotheses
    )


def _search_hypotheses(
    implementation: Subject, search: Search, output_explanations: list[Hypothesis]
) -> list[Hypothesis]:
    """Return the hypotheses that explain all numbers, the best first.

    Hypotheses that explain the outputs alone are added to `output_explanations`.
    """
    right = Hypothesis(search.reference)
    at = first_mismatch(search, right, False)
    output_explanations += [right] if at is None else rank(explain_forward(search, at))
    return rank(
        explain_backward(search, output_explanations)
        if output_explanations and "backward" in implementation.abilities
        else output_explanations
    )


def _negated_gates(implementation: Subject) -> str:
    """Return the gates that the target's convention negates.

    Empty for a cell with peepholes, since these stay as they are.
    """
    layout = implementation.convention.layout(implementation.cell)
    return (
        ""
        if implementation.cell.peepholes
        else "".join(k for k in implementation.cell.gates if k in layout.negated)
    )


# ---- faults that are not in the equations


def _diagnose_calls(implementation: Subject, search: Search, seed: int) -> Diagnosis:
    matching = matching_wrapper_faults(implementation, seed, search.tick)
    where = summarize_departures(search.cell, search.observed)
    explanations = tuple(
        Explanation(
            "fault",
            (f.name,),
            f"Over a series of calls your code does what the {search.cell} does with {f.name!r}: "
            f"{f.description}",
            None,
            where,
        )
        for f in matching
    )
    message = (
        "These cannot be told apart here: each does the same in every call."
        if len(explanations) > 1
        else ""
    )
    return Diagnosis(explanations[:MAX_EXPLANATIONS], message, search.n_hypotheses)


def _diagnose_correct_equations(
    implementation: Subject, search: Search, seed: int, finding: str = ""
) -> Diagnosis:
    """Diagnose a target whose equations are right.

    `finding` is a finding that is reported in any case.
    """
    search.stage = "faults around the cell"
    try:
        diagnosis = _diagnose_calls(implementation, search, seed)
    except OutOfTimeError:
        diagnosis = Diagnosis((), "", search.n_hypotheses)
    gradients = " and gradients" if "backward" in implementation.abilities else ""
    correct = (
        f"Outputs{gradients} are right on the cases of the diagnosis (generic, slow and extreme), "
        "so what fails is not in the equations: it is about state, memory, layout, sizes, dtype or "
        "bits."
    )
    message = finding if finding or diagnosis.explanations else correct
    return replace(diagnosis, message=" ".join(filter(None, [message, diagnosis.message])))


def _diagnose_failing_target(
    implementation: Subject, seed: int, error: str, deadline: float
) -> Diagnosis:
    """Diagnose a target that crashes or returns other shapes.

    It may be right under another declaration, or wrong in a known way under one.
    """
    runs: list[tuple[str, Subject, Search]] = []
    for says, declared in _other_declarations(implementation):
        try:
            observed = [(case, declared.run(case)) for case in diagnostic_cases(declared, seed)]
            search = Search(
                declared.cell, observed, declared.run, deadline, negated=_negated_gates(declared)
            )
            residual = search.residual(Hypothesis(reference_model(search.cell)))
        except (GatecheckError, OutOfTimeError):
            continue
        if residual is not None:
            explains = (
                f"Your results equal those of the {search.cell} {says} ({residual:.1g} of budget); "
                "declare it."
            )
            return Diagnosis(
                (Explanation("convention", (says,), explains, residual, error),),
                "",
                search.n_hypotheses,
            )
        runs.append((says, declared, replace(search, observed=observed[:-1])))
    if (wrong := _diagnose_other_declarations(runs, error)).explanations:
        return wrong
    search = Search(implementation.cell, (), implementation.run, deadline)
    try:
        matching = matching_wrapper_faults(implementation, seed, search.tick)
    except (GatecheckError, OutOfTimeError):
        matching = []
    explanations = tuple(
        Explanation(
            "fault",
            (f.name,),
            f"Over a series of calls your code does what the {search.cell} does with {f.name!r}: "
            f"{f.description}",
            None,
            error,
        )
        for f in matching
    )
    says = (
        ""
        if explanations
        else f"There is no diagnosis, since the target cannot be run on its cases: {error}."
    )
    if runs and not explanations:
        declared_as = " or ".join(says for says, *_ in runs[:MAX_EXPLANATIONS])
        says += f" It can be run {declared_as}, but nothing explains its numbers there."
    return Diagnosis(explanations[:MAX_EXPLANATIONS], says, search.n_hypotheses)


def _diagnose_other_declarations(
    runs: Sequence[tuple[str, Subject, Search]], error: str
) -> Diagnosis:
    """Diagnose a target under those declarations under which it runs."""
    best: list[tuple[int, Explanation]] = []
    tried = 0
    for declaration, declared, search in runs:
        try:
            hypotheses = _search_hypotheses(declared, search, [])
        except OutOfTimeError:
            break
        finally:
            tried += search.n_hypotheses
        if hypotheses and (not best or hypotheses[0].size <= best[0][0]):
            best = [one for one in best if one[0] == hypotheses[0].size]
            best += [
                (hypotheses[0].size, e) for e in make_explanations(search, hypotheses, declaration)
            ]
    explanations = tuple(e for _, e in best)[:MAX_EXPLANATIONS]
    return Diagnosis(explanations, AMBIGUOUS if len(explanations) > 1 else "", tried)


def _other_declarations(implementation: Subject) -> Iterable[tuple[str, Subject]]:
    for option in OPTIONS:
        yield (
            f"with {option} = {option not in implementation.options}",
            replace(implementation, options=implementation.options ^ {option}),
        )
    for name, convention in CONVENTIONS.items():
        if name != implementation.convention.name:
            yield f"in {name}'s convention", replace(implementation, convention=convention)
