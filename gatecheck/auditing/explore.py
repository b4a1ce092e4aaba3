"""Properties tried on the cases of a profile, here or in another process: one case serves many, and
a failure is shrunk on its own.
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
"""How many cases a dtype each property is tried on; some properties take a share of them."""

SHRINKING_S = 5.0
"""How long the search for a smaller counterexample may take, in seconds."""

PATIENCE = 3
"""A target that is lost in so many checks in a row is not tried again: it would be lost in all the
others too.
"""

PLEASE = "this is a bug in gatecheck, please report it with the case and all of this:"


Check = Callable[[Claim, Case], Evidence]
"""Tries a property on a case: the evidence, or the Violation or TargetError that it raises."""


def silent(done: int, total: int, label: str) -> None:
    """Progress that nobody watches."""


def in_process(implementation: Subject) -> Check:
    """Checks of an implementation in this process."""
    return partial(tried, implementation)


def tried(implementation: Subject, claim: Claim, case: Case) -> Evidence:
    """What a property says of an implementation on a case on which others may be tried too."""
    if isinstance(implementation, Subject):  # one that is a cell of its own shares nothing
        implementation.share(case)
    return claim(implementation, case)


def reporting(check: Check) -> Check:
    """The same checks, in which what gatecheck itself does wrong is a BugError: it is no finding,
    and ends nothing.

    What the target raises is a TargetError by then.
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
    """What was raised and where, and then the whole way there."""
    lines = "".join(traceback.format_exception(error)).rstrip()
    return f"{lines.splitlines()[-1]}\n{lines}"


@dataclass
class Tally:
    """What one property has seen so far."""

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
        """Whether the target was lost in a check of this property, which is then tried no more."""
        return isinstance(self.failure, TargetLostError)

    def record(self, check: Check, case: Case) -> None:
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
        """Not tried any further, since the target was lost again and again, the last time in
        another property.
        """
        if self.failure is None:
            held = f"after {self.examples} cases on which it held " if self.examples else ""
            why = f"the target was lost {PATIENCE} times in a row, the last time in {last.claim.name}: {last.failure}"
            self.failure = type(last.failure)(f"{held}not tried: {why}") if last.failure else None


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
    """Try properties that apply to an implementation on the cases of a profile.

    Parameters
    ----------
    implementation, chosen
        What to try on what; properties that share cases are tried in this order on each.
    profile, seed
        How many cases, and which.
    tick
        Called after each check with how many are done, how many there are, and the property.
    check
        How a property is tried on a case; by default in this process. With one of another process
        the implementation is a declaration.
    given
        By dtype the cases to try, where the implementation has its own; by default they are drawn.
    first_only
        Stop at the first property that fails.
    once
        Stop each property at its first failure; otherwise it goes on, to see how widely.
    """
    check = check or in_process(implementation)
    tallies = {c.name: Tally(c) for c in chosen}
    plan = _plan(implementation, tallies, PROFILES[profile])
    total = sum(
        len(group) * (len(given[dtype]) if given else examples) for group, dtype, examples in plan
    )
    done = 0
    lost: list[Tally] = []  # those in a row in whose checks the target was lost
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
    """Hypothesis's, for what is no test: nothing is kept for the next time, and nothing is
    complained of.
    """
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
    """The cases that Hypothesis draws from a seed for an implementation.

    Parameters
    ----------
    implementation
        Whose cell, sizes and absent parameters they have; where it asks for few shapes, there is
        one for some six cases.
    dtype, scope
        As of :func:`gatecheck.cases.strategies.cases`.
    examples, seed
        How many, and which.
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
    # Once a process, since many faults are tried on the same.
    found: list[Case] = []

    @seeded(seed)
    @_settings(examples, Phase.generate)
    @hypothesis.given(cases(cell, dtype, scope, dict(fixed), zero, among))
    def keep(case: Case) -> None:
        found.append(case)

    keep()
    return tuple(found)


class _OutOfTime(BaseException):
    """Passes through Hypothesis, to which an Exception would be one more failure."""


def shrink(implementation: Subject, tally: Tally, seed: int, check: Check) -> None:
    """Look for a smaller case on which the property fails in the same way, for a limited time.

    Not where each attempt would wait for a target that does not answer, and not where the property
    failed without a case.
    """
    first = tally.case
    # A cell of its own gives its own cases: there is nothing to draw smaller ones from.
    if not isinstance(first, Case) or isinstance(tally.failure, TargetTimeoutError | BugError):
        return
    start = time.monotonic()
    kind = type(tally.failure)

    def fails(case: Case) -> bool:
        if time.monotonic() - start > SHRINKING_S:
            raise _OutOfTime
        try:
            check(tally.claim, case)
        except (Violation, TargetError) as failure:
            if type(failure) is not kind:
                return False
            if math.prod(case.sizes) <= math.prod((tally.case or first).sizes):
                tally.failure, tally.case = failure, case
            return True
        return False

    try:
        # Without Hypothesis's explanation, which nobody reads here and which tries a hundred cases
        # more.
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
        # Or a target that does not fail every time: the smallest failure seen so far stands.
        return


def _plan(
    implementation: Subject, tallies: Mapping[str, Tally], examples: int
) -> list[tuple[list[Tally], str, int]]:
    """Which properties share cases: those of one scope and dtype."""
    groups: dict[tuple[str, str], list[Tally]] = {}
    for tally in tallies.values():
        for dtype in tally.claim.dtypes:
            if dtype in implementation.dtypes:
                groups.setdefault((tally.claim.scope, dtype), []).append(tally)
    return [
        (group, dtype, max(2, round(examples * group[0].claim.cases.share)))
        for (_, dtype), group in groups.items()
    ]
