"""Trials of properties on the cases of a profile, with shrinking of failures.

One case serves many properties.
"""

from __future__ import annotations

import math
import random
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisException

from gatecheck._util.typing import Progress
from gatecheck.cases import Case
from gatecheck.cases.strategies import (
    CaseScope,
    case_of_sizes,
    cases,
    few_sizes,
    listed_sizes,
    scope_of_smaller,
)
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.evidence import Evidence, Violation, summarize_labels
from gatecheck.checking.registry import Property
from gatecheck.errors import BugError, TargetError, TargetLostError, TargetTimeoutError
from gatecheck.implementation import Subject
from gatecheck.implementation.base import BaseSubject

PROFILES = {"quick": 12, "ci": 24, "thorough": 300}
"""Cases per dtype by profile; some properties take a share of them."""

SHRINKING_S = 5.0
"""Time limit of the search for a smaller counterexample, in seconds."""

MAX_CONSECUTIVE_LOSSES = 3
"""Consecutive checks that may lose the target before it is given up.

It would be lost in all remaining checks too.
"""

BUG_REPORT_REQUEST = "this is a bug in gatecheck, please report it with the case and all of this:"


Check = Callable[[Property, Case], Evidence]
"""Function that tries a property on a case.

It returns the evidence, or raises a Violation or TargetError.
"""


def ignore_progress(done: int, total: int, label: str) -> None:
    """Ignore progress."""


def check_subject(implementation: Any, prop: Property, case: Case) -> Evidence:
    """Return the evidence of a property on a case that other properties share."""
    implementation.share(case)
    return prop(implementation, case)


def wrap_bugs(check: Check) -> Check:
    """Return a check that turns gatecheck's own exceptions into a BugError.

    A BugError is not a finding and does not end the audit. Exceptions of the target are
    TargetErrors by then.
    """

    def reported(prop: Property, case: Case) -> Evidence:
        try:
            return check(prop, case)
        except (Violation, TargetError):
            raise
        except Exception as error:
            raise BugError(f"{BUG_REPORT_REQUEST} {_format_trace(error)}") from error

    return reported


def _format_trace(error: Exception) -> str:
    """Return the last line of a traceback, then the whole traceback."""
    lines = "".join(traceback.format_exception(error)).rstrip()
    return f"{lines.splitlines()[-1]}\n{lines}"


@dataclass
class Tally:
    """Evidence and failures of one property so far."""

    prop: Property
    examples: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    judged_by_dtype: dict[str, int] = field(default_factory=dict)
    failure: Exception | None = None
    case: Case | None = None
    failures: int = 0
    widest_failure: tuple[int, str] = (0, "")

    @property
    def target_lost(self) -> bool:
        """True if a check of this property lost the target; it is then not tried again."""
        return isinstance(self.failure, TargetLostError)

    def record(self, check: Check, case: Case) -> None:
        """Try the property on a case, and add the evidence or the failure."""
        self.examples += 1
        try:
            evidence = check(self.prop, case)
        except (Violation, TargetError, BugError) as failure:
            self.failures += 1
            if self.failure is None or isinstance(failure, TargetLostError):
                self.failure, self.case = failure, case
            wrong, right = getattr(failure, "wrong", ()), getattr(failure, "right", ())
            if len(wrong) > self.widest_failure[0]:
                self.widest_failure = (
                    len(wrong),
                    f"in {case} wrong: {summarize_labels(wrong)}; right: "
                    f"{summarize_labels(right) or 'nothing'}",
                )
            self.judged_by_dtype[case.dtype.name] = 1
            return
        self.evidence += evidence
        self.judged_by_dtype[case.dtype.name] = (
            self.judged_by_dtype.get(case.dtype.name, 0) + evidence.judged
        )

    def give_up(self, last_lost: Tally) -> None:
        """Mark the property as not tried further, since the target is lost repeatedly.

        `last_lost` is the property whose check lost it last.
        """
        if self.failure is None:
            prefix = f"after {self.examples} cases on which it held " if self.examples else ""
            reason = (
                f"the target was lost {MAX_CONSECUTIVE_LOSSES} times in a row, the last time in "
                f"{last_lost.prop.name}: {last_lost.failure}"
            )
            self.failure = (
                type(last_lost.failure)(f"{prefix}not tried: {reason}")
                if last_lost.failure
                else None
            )


def explore(
    implementation: Any,
    properties: Iterable[Property],
    profile: str,
    seed: int,
    tick: Progress = ignore_progress,
    *,
    check: Check | None = None,
    cases_by_dtype: Mapping[str, Sequence[Any]] | None = None,
    into: dict[str, Tally] | None = None,
    stop_at_first_failing_property: bool = False,
    stop_at_first_failure: bool = False,
) -> dict[str, Tally]:
    """Try applicable properties of an implementation on the cases of a profile.

    Parameters
    ----------
    implementation, properties
        The implementation, and its properties to try; properties that share cases are tried in
        this order on each.
    profile, seed
        The number of cases, and their seed.
    tick
        Called after each check with the number done, the total, and the property.
    check
        Tries a property on a case; by default :func:`check_subject`.
    cases_by_dtype
        Cases by dtype, where the implementation brings its own; by default they are drawn.
    into
        Dict to which the tallies are added, for a caller that may be interrupted.
    stop_at_first_failing_property
        Stop at the first property that fails.
    stop_at_first_failure
        Stop each property at its first failure; otherwise go on, to see how widely it fails.
    """
    check = check or partial(check_subject, implementation)
    tallies = {} if into is None else into
    tallies |= {c.name: Tally(c) for c in properties}
    plan = _group_tallies(implementation, tallies, PROFILES[profile])
    total = sum(
        len(group)
        * (
            len(cases_by_dtype[dtype])
            if cases_by_dtype
            else count_cases(implementation, dtype, group[0].prop.case_scope, examples)
        )
        for group, dtype, examples in plan
    )
    done = 0
    lost: list[Tally] = []  # consecutive checks that lost the target
    for group, dtype, examples in plan:
        for case in (
            cases_by_dtype[dtype]
            if cases_by_dtype
            else draw_cases(implementation, dtype, group[0].prop.case_scope, examples, seed)
        ):
            for tally in group:
                if stop_at_first_failure and tally.failure is not None:
                    continue
                if len(lost) == MAX_CONSECUTIVE_LOSSES:
                    tally.give_up(lost[-1])
                elif not tally.target_lost:
                    tally.record(check, case)
                    lost = [*lost, tally] if tally.target_lost else []
                done += 1
                tick(done, total, tally.prop.name)
                if stop_at_first_failing_property and tally.failure is not None:
                    return tallies
    return tallies


def _settings(examples: int, *phases: Phase) -> settings:
    """Return Hypothesis settings without a database, deadline or health checks."""
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )


def count_cases(implementation: Subject, dtype: str, scope: CaseScope, examples: int) -> int:
    """Return the number of cases that :func:`draw_cases` draws."""
    return len(_listed_sizes(implementation, dtype, scope, examples)) if scope.listed else examples


def draw_cases(
    implementation: Subject, dtype: str, scope: CaseScope, examples: int, seed: int
) -> tuple[Case, ...]:
    """Return the cases that Hypothesis draws from a seed for an implementation.

    Parameters
    ----------
    implementation
        Gives the cell, the sizes and the absent parameters. If it asks for few shapes, about six
        cases share one.
    dtype, scope
        See :func:`gatecheck.cases.strategies.cases`.
    examples, seed
        The number of cases, and their seed. Of a scope that lists its sizes, the dtypes share this
        number of cases.
    """
    fixed = implementation.sizes
    if scope.listed:
        among = _listed_sizes(implementation, dtype, scope, examples)
    elif implementation.few_shapes:
        among = few_sizes(scope, fixed, max(2, examples // 6), seed)
    else:
        among = []
    return _draw_cases(
        implementation.cell,
        dtype,
        scope,
        tuple(fixed.items()),
        tuple(implementation.unsupported_params),
        tuple(among),
        examples,
        seed,
    )


def _listed_sizes(
    implementation: Subject, dtype: str, scope: CaseScope, examples: int
) -> list[Sizes]:
    """Return the listed sizes that one dtype tries: every second one if there are two."""
    dtypes = list(implementation.dtypes)
    count = max(2, examples // 3) if implementation.few_shapes else examples
    return listed_sizes(scope, implementation.sizes, count)[dtypes.index(dtype) :: len(dtypes)]


@lru_cache(maxsize=256)
def _draw_cases(
    cell: Cell,
    dtype: str,
    scope: CaseScope,
    fixed_sizes: tuple[tuple[str, int], ...],
    zero_params: tuple[str, ...],
    size_choices: tuple[Sizes, ...],
    examples: int,
    seed: int,
) -> tuple[Case, ...]:
    # Cached per process, since many faults are tried on the same cases.
    if scope.listed:
        return tuple(
            case_of_sizes(cell, dtype, scope, sizes, zero_params, seed) for sizes in size_choices
        )
    drawn_cases: list[Case] = []

    @seeded(seed)
    @_settings(examples, Phase.generate)
    @hypothesis.given(cases(cell, dtype, scope, dict(fixed_sizes), zero_params, size_choices))
    def keep(case: Case) -> None:
        drawn_cases.append(case)

    keep()
    return tuple(drawn_cases)


class _OutOfTime(BaseException):
    """Signal that passes through Hypothesis, which would shrink an Exception."""


def shrink(implementation: Any, tally: Tally, seed: int, check: Check) -> None:
    """Look for a smaller case with the same failure, for a limited time.

    Skipped where each attempt would wait for a target that does not return, and where the property
    failed without a case.
    """
    first = tally.case
    # A custom cell brings its own cases, so no smaller ones can be drawn.
    if not isinstance(first, Case) or isinstance(tally.failure, TargetTimeoutError | BugError):
        return
    start = time.monotonic()
    failure_type = type(tally.failure)

    def fails(case: Case) -> bool:
        if time.monotonic() - start > SHRINKING_S:
            raise _OutOfTime
        try:
            check(tally.prop, case)
        except (Violation, TargetError) as failure:
            if type(failure) is not failure_type:
                return False
            if math.prod(case.sizes) <= math.prod((tally.case or first).sizes):
                tally.failure, tally.case = failure, case
            return True
        return False

    try:
        # Without Hypothesis's explain phase, which tries a hundred more cases.
        find(
            cases(
                implementation.cell,
                first.dtype.name,
                scope_of_smaller(tally.prop.case_scope, first.sizes),
                implementation.sizes,
                implementation.unsupported_params,
            ),
            fails,
            settings=_settings(200, Phase.generate, Phase.shrink),
            random=random.Random(seed),
        )
    except (HypothesisException, _OutOfTime):
        # Also where a target fails only sometimes: the smallest failure so far stands.
        return


def _group_tallies(
    implementation: BaseSubject, tallies: Mapping[str, Tally], examples: int
) -> list[tuple[list[Tally], str, int]]:
    """Return groups of properties that share cases: those of one scope and dtype."""
    groups: dict[tuple[str, str], list[Tally]] = {}
    for tally in tallies.values():
        for dtype in tally.prop.dtypes:
            if dtype in implementation.dtypes:
                groups.setdefault((tally.prop.scope, dtype), []).append(tally)
    return [
        (group, dtype, max(2, round(examples * group[0].prop.case_scope.share)))
        for (_, dtype), group in groups.items()
    ]
