"""Which convention, or which faults, make the equations do what a target did; and if none, where it
departs from them.

The target runs once on a few cases that can tell (distinct sizes, nothing zero, one of them slow
and one extreme). An explanation counts only if it reproduces every number on every case within its
rounding budget.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gatecheck.cases import Case, draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.evidence import Violation, agree, summarise
from gatecheck.conventions import CONVENTIONS
from gatecheck.diagnosis.backward_search import backward
from gatecheck.diagnosis.call_sequences import around
from gatecheck.diagnosis.conventions import truth
from gatecheck.diagnosis.forward_search import OutOfTimeError, Search, first_wrong, forward, ranked
from gatecheck.diagnosis.hypotheses import Hypothesis, is_mutant
from gatecheck.diagnosis.localize import narrowed
from gatecheck.diagnosis.low_precision import coarse
from gatecheck.errors import GatecheckError, TargetError
from gatecheck.implementation import Subject
from gatecheck.implementation.protocol import OPTIONS
from gatecheck.reference import Results

NUMBERS = "These cannot be told apart here: each reproduces every number."

SHOWN = 4
"""How many explanations that fit equally are given."""

BUDGET_S = 10.0
"""How long a search may take, in seconds of this process: a busy machine does not change what is
found.
"""


@dataclass(frozen=True)
class Explanation:
    """One thing that reproduces everything that was seen.

    Attributes
    ----------
    kind
        ``convention`` if the target is right but for its declaration, else ``fault``.
    names
        The convention, or the faults.
    explains
        In sentences.
    residual
        The largest error over its budget if this is what the target computes; None where whole
        calls were compared, see :data:`gatecheck.diagnosis.prefilter.CLOSE`.
    where
        The results that are not what they should be.
    """

    kind: Literal["convention", "fault"]
    names: tuple[str, ...]
    explains: str
    residual: float | None
    where: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "kind": self.kind,
            "name": " + ".join(self.names),
            "explains": self.explains,
            "residual": self.residual,
            "where": self.where,
        }


@dataclass(frozen=True)
class Diagnosis:
    """What a search came to.

    Attributes
    ----------
    explanations
        Those with the fewest faults; several if they cannot be told apart.
    says
        What is known beside them: that nothing fits and where the target departs, that the numbers
        are right, or that the search was cut.
    tried
        How many hypotheses were run.
    seconds
        How long it took.
    """

    explanations: tuple[Explanation, ...] = ()
    says: str = ""
    tried: int = 0
    seconds: float = 0.0

    @property
    def sentences(self) -> list[str]:
        """All of it, to be read."""
        return [*(e.explains for e in self.explanations), *([self.says] if self.says else [])]


def told_by(implementation: Subject, seed: int) -> list[Case]:
    """The cases of a diagnosis, the one on which candidates are screened first; the last one is
    extreme.
    """
    cell, fixed = implementation.cell, implementation.sizes
    dtype = "float64" if "float64" in implementation.dtypes else "float32"

    def case(k: int, *sizes: int, regime: str = "generic", dtype: str = dtype) -> Case:
        chosen = Sizes(*(fixed.get(n, s) for n, s in zip("TBDH", sizes, strict=True)))
        return implementation.possible(
            draw(cell, chosen, seed=seed + k, dtype=dtype, regime=regime)
        )

    found = [case(1, 5, 2, 3, 4), case(2, 7, 3, 2, 5), case(3, 9, 2, 4, 3, regime="slow")]
    if len(implementation.dtypes) > 1:
        # a GPU takes other ways from such sizes on
        found.append(case(5, 5, 3, 2, 6, dtype="float32"))
    huge = case(4, 2, 2, 2, 3, regime="large")
    return [*found, huge.having(x=100 * huge["x"])]  # where a sigmoid or tanh that overflows is NaN


def diagnose(implementation: Subject, *, seed: int = 0, budget_s: float = BUDGET_S) -> Diagnosis:
    """What a target computes instead of what it should.

    Parameters
    ----------
    implementation
        The target.
    seed
        Of the cases on which it is run.
    budget_s
        After how many seconds of this process the search is cut.

    Returns
    -------
    Diagnosis
        Without explanations if the target is right on these cases, if nothing fits, or if it cannot
        be run.
    """
    start = time.process_time()
    with np.errstate(all="ignore"):  # what is wrong may well overflow
        found = _diagnose(implementation, seed, budget_s)
    return replace(found, seconds=time.process_time() - start)


def _diagnose(implementation: Subject, seed: int, budget_s: float) -> Diagnosis:
    try:
        observed = [(case, implementation.run(case)) for case in told_by(implementation, seed)]
    except TargetError as error:
        return _of_one_that_fails(implementation, seed, str(error), time.process_time() + budget_s)
    # what the target's own first calls take, to import or to compile, is not the search's
    deadline = time.process_time() + budget_s
    # Much code overflows at extremes, whatever else is wrong with it; that is looked at where
    # nothing else is.
    search = Search(
        implementation.cell,
        observed[:-1],
        implementation.run,
        deadline,
        negated=_negated(implementation),
    )
    explained: list[Hypothesis] = []
    right = Hypothesis(search.right)
    try:
        if search.residual(right) is not None:
            search = replace(search, observed=observed)
            if search.residual(right) is not None:
                return _of_one_that_is_right(implementation, search, seed)
        elif says := coarse(search, observed):
            return _of_one_that_is_right(implementation, search, seed, says)
        found = _found(implementation, search, explained)
        if found:
            made = _explanations(search, found)
            return Diagnosis(made, NUMBERS if len(made) > 1 else "", search.tried)
        search.stage = "faults around the cell"
        wrapped = _around(implementation, search, seed)
        if wrapped.explanations:
            return wrapped
    except OutOfTimeError:
        says = f"The search was cut among {search.stage}, after {search.tried} hypotheses, before anything explained all numbers."
        return Diagnosis((), " ".join([says, narrowed(search, explained)]), search.tried)
    says = f"None of {search.tried} hypotheses (conventions, faults alone, in other conventions and in pairs) explains the numbers."
    return Diagnosis((), " ".join([says, narrowed(search, explained)]), search.tried)


def _found(
    implementation: Subject, search: Search, explained: list[Hypothesis]
) -> list[Hypothesis]:
    """What explains all numbers, the best first; to `explained` comes what explains the outputs
    alone.
    """
    right = Hypothesis(search.right)
    at = first_wrong(search, right, False)
    explained += [right] if at is None else ranked(forward(search, at))
    return ranked(
        backward(search, explained)
        if explained and "backward" in implementation.abilities
        else explained
    )


def _negated(implementation: Subject) -> str:
    """The gates that its convention negates. Peepholes are left as they are, so with them none is."""
    layout = implementation.convention.layout(implementation.cell)
    return (
        ""
        if implementation.cell.peepholes
        else "".join(k for k in implementation.cell.gates if k in layout.negated)
    )


# ---- explanations


def _explanations(
    search: Search, found: Sequence[Hypothesis], under: str = ""
) -> tuple[Explanation, ...]:
    """Those of the fewest things that are wrong, each of a target that is called as is said `under`
    which declaration, if not its own.
    """
    best = [h for h in found if h.size == found[0].size]
    named = [h for h in best if not any(map(is_mutant, h.faults))]
    out: dict[tuple[str, ...], Explanation] = {}
    for h in named or best:
        made = _explanation(search, h, under)
        out.setdefault(made.names, made)
    return tuple(out.values())[:SHOWN]


def _explanation(search: Search, h: Hypothesis, under: str) -> Explanation:
    residual = search.residual(h) or 0.0
    names = tuple(filter(None, [under, h.base.name, *(f.name for f in h.faults)]))
    cell = " ".join(filter(None, [str(search.cell), under]))
    compared = (
        "outputs and gradients"
        if any(k.startswith("d") for k in search.observed[0][1])
        else "outputs"
    )
    within = f"({residual:.1g} of budget)"
    if h.base.name and not h.faults:
        says = f"Your {compared} equal those of the {cell} in another convention {within}: {h.base.says}."
    else:
        where = f"Your {compared} equal those of the {cell} with {' and '.join(repr(f.name) for f in h.faults)} {within}: "
        says = where + " ".join(f.says for f in h.faults)
        says += f" All this in another convention: {h.base.says}." if h.base.name else ""
    if h.forward and compared != "outputs":
        follow = {
            "exact": "The gradients are the exact ones of that forward.",
            "textbook": "The backward is the textbook's, on what that forward computed.",
        }
        says += " " + (
            follow[h.gradients] if not h.backward else "The rest of the backward is the textbook's."
        )
    says += f" Declare what it takes: {under}." if under else ""
    return Explanation(
        "fault" if h.faults else "convention",
        names,
        says,
        residual,
        departures(search.cell, search.observed),
    )


def departures(cell: Cell, observed: Iterable[tuple[Case, Results]]) -> str:
    """Which results are not what they should be, on the first case on which any is not."""
    for case, got in observed:
        right = Hypothesis(truth(cell)).budget(case, gradients=any(k.startswith("d") for k in got))
        try:
            agree(cell, got, {k: right.exact[k] for k in got}, right.tolerance)
        except Violation as violation:
            return summarise(violation.wrong)
    return ""


# ---- faults that are not in the equations


def _around(implementation: Subject, search: Search, seed: int) -> Diagnosis:
    found = around(implementation, seed, search.tick)
    where = departures(search.cell, search.observed)
    made = tuple(
        Explanation(
            "fault",
            (f.name,),
            f"In a series of calls you do what the {search.cell} does with {f.name!r}: {f.says}",
            None,
            where,
        )
        for f in found
    )
    says = (
        "These cannot be told apart here: each does the same in every call."
        if len(made) > 1
        else ""
    )
    return Diagnosis(made[:SHOWN], says, search.tried)


def _of_one_that_is_right(
    implementation: Subject, search: Search, seed: int, known: str = ""
) -> Diagnosis:
    """Of one whose equations are right; what is `known` of it otherwise is said in any case."""
    search.stage = "faults around the cell"
    try:
        found = _around(implementation, search, seed)
    except OutOfTimeError:
        found = Diagnosis((), "", search.tried)
    right = (
        f"Outputs{' and gradients' if 'backward' in implementation.abilities else ''} are right on the cases of the diagnosis "
        "(generic, slow and extreme), so what fails is not in the equations: it is about state, memory, layout, sizes, dtype or bits."
    )
    says = known if known or found.explanations else right
    return replace(found, says=" ".join(filter(None, [says, found.says])))


def _of_one_that_fails(
    implementation: Subject, seed: int, error: str, deadline: float
) -> Diagnosis:
    """A target that crashes or returns other shapes may be right under another declaration, or
    wrong under another one.
    """
    runs: list[tuple[str, Subject, Search]] = []
    for says, declared in _declarations(implementation):
        try:
            observed = [(case, declared.run(case)) for case in told_by(declared, seed)]
            search = Search(
                declared.cell, observed, declared.run, deadline, negated=_negated(declared)
            )
            residual = search.residual(Hypothesis(truth(search.cell)))
        except (GatecheckError, OutOfTimeError):
            continue
        if residual is not None:
            explains = f"Your results equal those of the {search.cell} {says} ({residual:.1g} of budget); declare it."
            return Diagnosis(
                (Explanation("convention", (says,), explains, residual, error),), "", search.tried
            )
        runs.append((says, declared, replace(search, observed=observed[:-1])))
    if (wrong := _declared_otherwise(runs, error)).explanations:
        return wrong
    search = Search(implementation.cell, (), implementation.run, deadline)
    try:
        found = around(implementation, seed, search.tick)
    except (GatecheckError, OutOfTimeError):
        found = []
    made = tuple(
        Explanation(
            "fault",
            (f.name,),
            f"In a series of calls you do what the {search.cell} does with {f.name!r}: {f.says}",
            None,
            error,
        )
        for f in found
    )
    says = (
        ""
        if made
        else f"There is no diagnosis, since the target cannot be run on the cases of one: {error}."
    )
    if runs and not made:
        says += f" It can be run {' or '.join(says for says, *_ in runs[:SHOWN])}, but nothing was found that explains its numbers there."
    return Diagnosis(made[:SHOWN], says, search.tried)


def _declared_otherwise(runs: Sequence[tuple[str, Subject, Search]], error: str) -> Diagnosis:
    """What explains the numbers of a target under declarations under which it runs at least."""
    best: list[tuple[int, Explanation]] = []
    tried = 0
    for says, declared, search in runs:
        try:
            found = _found(declared, search, [])
        except OutOfTimeError:
            break
        finally:
            tried += search.tried
        if found and (not best or found[0].size <= best[0][0]):
            best = [one for one in best if one[0] == found[0].size]
            best += [(found[0].size, e) for e in _explanations(search, found, says)]
    made = tuple(e for _, e in best)[:SHOWN]
    return Diagnosis(made, NUMBERS if len(made) > 1 else "", tried)


def _declarations(implementation: Subject) -> Iterable[tuple[str, Subject]]:
    for option in OPTIONS:
        yield (
            f"with {option} = {option not in implementation.options}",
            replace(implementation, options=implementation.options ^ {option}),
        )
    for name, convention in CONVENTIONS.items():
        if name != implementation.convention.name:
            yield f"in {name}'s convention", replace(implementation, convention=convention)
