"""Trials of properties on the cases of a profile, with shrinking of failures.

The checks are made here or in another process. One case serves many properties.
"""

from __future__ import annotations

import math
import random
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import hypothesis
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisException

from gatecheck._util.typing import Progress
from gatecheck.cases import Case
from gatecheck.cases.strategies import Scope, cases, few_sizes
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.evidence import Evidence, Violation, summarise
from gatecheck.checking.registry import Claim
from gatecheck.errors import BugError, TargetError, TargetLostError, TargetTimeoutError
from gatecheck.implementation import Subject

PROFILES = {"quick": 12, "ci": 24, "thorough": 300}
"""Cases per dtype by profile; some properties take a share of them."""

SHRINKING_S = 5.0
"""Time limit of the search for a smaller counterexample, in seconds."""

PATIENCE = 3
"""Consecutive checks that may lose the target before it is given up.

It would be lost in all remaining checks too.
"""

PLEASE = "this is a bug in gatecheck, please report it with the case and all of this:"


Check = Callable[[Claim, Case], Evidence]
"""Function that tries a property on a case.

It returns the evidence, or raises a Violation or TargetError.
"""


def silent(done: int, total: int, label: str) -> None:
    """Ignore progress."""


def in_process(implementation: Subject) -> Check:
    """Return a check that calls an implementation in this process."""
    return partial(tried, implementation)


def tried(implementation: Subject, claim: Claim, case: Case) -> Evidence:
    """Return the evidence of a property on a case that other properties share."""
    if isinstance(implementation, Subject):  # custom cells share nothing
        implementation.share(case)
    return claim(implementation, case)


def reporting(check: Check) -> Check:
    """Return a check that turns gatecheck's own exceptions into a BugError.

    A BugError is not a finding and does not end the audit. Exceptions of the target are
    TargetErrors by then.
    """

    def reported(claim: Claim, case: Case) -> Evidence:
        try:
            return check(claim, case)
        except (Violation, TargetError):
            raise
        except Exception as error:
            raise BugError(f"{PLEASE} {_trace(error)}") from error

    return reported


def _trace(error: Exception) -> str:
    """Return the last line of a traceback, then the whole traceback."""
    lines = "".join(traceback.format_exception(error)).rstrip()
    return f"{lines.splitlines()[-1]}\n{lines}"


@dataclass
class Tally:
    """Evidence and failures of one property so far."""

    claim: Claim
    examples: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    judged_by_dtype: dict[str, int] = field(default_factory=dict)
    failure: Exception | None = None
    case: Case | None = None
    failures: int = 0
    widest: tuple[int, str] = (0, "")

    @property
    def lost(self) -> bool:
        """True if a check of this property lost the target; it is then not tried again."""
        return isinstance(self.failure, TargetLostError)

    def record(self, check: Check, case: Case) -> None:
        """Try the property on a case, and add the evidence or the failure."""
        self.examples += 1
        try:
            evidence = check(self.claim, case)
        except (Violation, TargetError, BugError) as failure:
            self.failures += 1
            if self.failure is None or isinstance(failure, TargetLostError):
                self.failure, self.case = failure, case
            wrong, right = getattr(failure, "wrong", ()), getattr(failure, "right", ())
            if len(wrong) > self.widest[0]:
                self.widest = (
                    len(wrong),
                    f"in {case} wrong: {summarise(wrong)}; right: {summarise(right) or 'nothing'}",
                )
            self.judged_by_dtype[case.dtype.name] = 1
            return
        self.evidence += evidence
        self.judged_by_dtype[case.dtype.name] = (
            self.judged_by_dtype.get(case.dtype.name, 0) + evidence.judged
        )

    def give_up(self, last: Tally) -> None:
        """Mark the property as not tried further, since the target is lost repeatedly.

        `last` is the property whose check lost it last.
        """
        if self.failure is None:
            prefix = f"after {self.examples} cases on which it held " if self.examples else ""
            reason = (
                f"the target was lost {PATIENCE} times in a row, the last time in "
                f"{last.claim.name}: {last.failure}"
            )
            self.failure = (
                type(last.failure)(f"{prefix}not tried: {reason}") if last.failure else None
            )


def explore(
    implementation: Subject,
    chosen: Iterable[Claim],
    profile: str,
    seed: int,
    tick: Progress = silent,
    *,
    check: Check | None = None,
    given: Mapping[str, Sequence[Case]] | None = None,
    first_only: bool = False,
    once: bool = False,
) -> dict[str, Tally]:
    """Try applicable properties of an implementation on the cases of a profile.

    Parameters
    ----------
    implementation, chosen
        The implementation, and its properties to try; properties that share cases are tried in
        this order on each.
    profile, seed
        The number of cases, and their seed.
    tick
        Called after each check with the number done, the total, and the property.
    check
        Tries a property on a case; by default in this process. With a check of another process the
        implementation is a declaration.
    given
        Cases by dtype, where the implementation brings its own; by default they are drawn.
    first_only
        Stop at the first property that fails.
    once
        Stop each property at its first failure; otherwise go on, to see how widely it fails.
    """
    check = check or in_process(implementation)
    tallies = {c.name: Tally(c) for c in chosen}
    plan = _plan(implementation, tallies, PROFILES[profile])
    total = sum(
        len(group) * (len(given[dtype]) if given else examples) for group, dtype, examples in plan
    )
    done = 0
    lost: list[Tally] = []  # consecutive checks that lost the target
    for group, dtype, examples in plan:
        for case in (
            given[dtype]
            if given
            else drawn(implementation, dtype, group[0].claim.cases, examples, seed)
        ):
            for tally in group:
                if once and tally.failure is not None:
                    continue
                if len(lost) == PATIENCE:
                    tally.give_up(lost[-1])
                elif not tally.lost:
                    tally.record(check, case)
                    lost = [*lost, tally] if tally.lost else []
                done += 1
                tick(done, total, tally.claim.name)
                if first_only and tally.failure is not None:
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


def drawn(
    implementation: Subject, dtype: str, scope: Scope, examples: int, seed: int
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
        The number of cases, and their seed.
    """
    fixed = implementation.sizes
    among = (
        few_sizes(scope, fixed, max(2, examples // 6), seed) if implementation.few_shapes else ()
    )
    return _drawn(
        implementation.cell,
        dtype,
        scope,
        tuple(fixed.items()),
        tuple(implementation.absent),
        tuple(among),
        examples,
        seed,
    )


@lru_cache(maxsize=256)
def _drawn(
    cell: Cell,
    dtype: str,
    scope: Scope,
    fixed: tuple[tuple[str, int], ...],
    zero: tuple[str, ...],
    among: tuple[Sizes, ...],
    examples: int,
    seed: int,
) -> tuple[Case, ...]:
    # Cached per process, since many faults are tried on the same cases.
    drawn_cases: list[Case] = []

    @seeded(seed)
    @_settings(examples, Phase.generate)
    @hypothesis.given(cases(cell, dtype, scope, dict(fixed), zero, among))
    def keep(case: Case) -> None:
        drawn_cases.append(case)

    keep()
    return tuple(drawn_cases)


class _OutOfTime(BaseException):
    """Signal that passes through Hypothesis, which would shrink an Exception."""


def shrink(implementation: Subject, tally: Tally, seed: int, check: Check) -> None:
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
            check(tally.claim, case)
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
                tally.claim.cases,
                implementation.sizes,
                implementation.absent,
            ),
            fails,
            settings=_settings(200, Phase.generate, Phase.shrink),
            random=random.Random(seed),
        )
    except (HypothesisException, _OutOfTime):
        # Also where a target fails only sometimes: the smallest failure so far stands.
        return


def _plan(
    implementation: Subject, tallies: Mapping[str, Tally], examples: int
) -> list[tuple[list[Tally], str, int]]:
    """Return groups of properties that share cases: those of one scope and dtype."""
    groups: dict[tuple[str, str], list[Tally]] = {}
    for tally in tallies.values():
        for dtype in tally.claim.dtypes:
            if dtype in implementation.dtypes:
                groups.setdefault((tally.claim.scope, dtype), []).append(tally)
    return [
        (group, dtype, max(2, round(examples * group[0].claim.cases.share)))
        for (_, dtype), group in groups.items()
    ]
