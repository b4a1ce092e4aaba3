"""Run every property that applies on one implementation. One case serves many properties; a failure is shrunk on its own."""

from __future__ import annotations

import difflib
import importlib
import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisException

from gatecheck.auditing.guard import untold
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.claims import REGISTRY, Claim
from gatecheck.conventions import Convention
from gatecheck.errors import CaseFileError, TargetError, UsageError
from gatecheck.evidence import Evidence, Violation, summarise
from gatecheck.implementation import Subject, subject
from gatecheck.strategies import SCOPES, Scope, cases
from gatecheck.versions import versions

PROFILES = {"quick": 12, "ci": 24, "thorough": 300}
"""How many cases a dtype each property is tried on; some properties take a share of them."""

NAMED = 8
"""How many faults a sentence names."""

SHRINKING_S = 5.0
"""How long the search for a smaller counterexample may take, in seconds."""

MODULES = ("contract", "precision", "gradients", "gates", "reductions", "state", "lengths", "layers", "symmetry")

Progress = Callable[[int, int, str], None]


def claims(only: Iterable[str] = ()) -> list[Claim]:
    """The properties by those names, or all of them, in the order in which they are reported.

    Raises
    ------
    UsageError
        If there is no property of a name.
    """
    for module in MODULES:
        importlib.import_module(f"gatecheck.properties.{module}")
    if isinstance(only, str):
        raise UsageError(f"only is {only!r}, but should be a list of names: [{only!r}]")
    wanted = list(only)
    unknown = [name for name in wanted if name not in REGISTRY]
    if unknown:
        near = [n for name in unknown for n in difflib.get_close_matches(name, REGISTRY, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"there is no property {', '.join(unknown)}; {hint}`gatecheck properties` lists them all")
    return [c for name, c in REGISTRY.items() if not wanted or name in wanted]


def applicable(implementation: Subject) -> list[Claim]:
    """The properties that say something about an implementation."""
    return [c for c in claims() if not c.inapplicable(implementation)]


def _silent(done: int, total: int, label: str) -> None:
    """Progress that nobody watches."""


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

    def record(self, implementation: Subject, case: Case) -> None:
        self.examples += 1
        try:
            evidence = self.claim(implementation, case)
        except (Violation, TargetError) as failure:
            self.failures += 1
            if self.failure is None:
                self.failure, self.case = failure, case
            wrong, right = getattr(failure, "wrong", ()), getattr(failure, "right", ())
            if len(wrong) > self.widest[0]:
                self.widest = len(wrong), f"in {case} wrong: {summarise(wrong)}; right: {summarise(right) or 'nothing'}"
            self.judged_by_dtype[case.dtype.name] = 1
            return
        self.evidence += evidence
        self.judged_by_dtype[case.dtype.name] = self.judged_by_dtype.get(case.dtype.name, 0) + evidence.judged


def explore(
    implementation: Subject,
    chosen: Iterable[Claim],
    profile: str,
    seed: int,
    tick: Progress = _silent,
    *,
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
    first_only
        Stop at the first property that fails.
    once
        Stop each property at its first failure; otherwise it goes on, to see how widely.
    """
    tallies = {c.name: Tally(c) for c in chosen}
    plan = _plan(implementation, tallies, PROFILES[profile])
    total = sum(len(group) * examples for group, _, examples in plan)
    done = 0
    for group, dtype, examples in plan:
        for case in drawn(implementation.cell, dtype, group[0].claim.cases, tuple(implementation.sizes.items()), examples, seed):
            for tally in group:
                if once and tally.failure is not None:
                    continue
                tally.record(implementation, case)
                done += 1
                tick(done, total, tally.claim.name)
                if first_only and tally.failure is not None:
                    return tallies
    return tallies


@lru_cache(maxsize=256)
def drawn(cell: Cell, dtype: str, scope: Scope, fixed: tuple[tuple[str, int], ...], examples: int, seed: int) -> tuple[Case, ...]:
    """The cases that Hypothesis draws from a seed; once a process, since many faults are tried on the same.

    Parameters
    ----------
    cell, dtype, scope, fixed
        As of :func:`gatecheck.strategies.cases`.
    examples, seed
        How many, and which.
    """
    found: list[Case] = []

    @seeded(seed)
    @settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(cases(cell, dtype, scope, dict(fixed)))
    def keep(case: Case) -> None:
        found.append(case)

    keep()
    return tuple(found)


def _shrink(implementation: Subject, tally: Tally, seed: int) -> None:
    """Look for a smaller case on which the property fails in the same way, for a limited time."""
    assert tally.case is not None
    start = time.monotonic()
    kind = type(tally.failure)

    def fails(case: Case) -> bool:
        if time.monotonic() - start > SHRINKING_S:
            return False
        try:
            tally.claim(implementation, case)
        except (Violation, TargetError) as failure:
            if type(failure) is not kind:
                return False
            if math.prod(case.sizes) <= math.prod(tally.case.sizes if tally.case else case.sizes):
                tally.failure, tally.case = failure, case
            return True
        return False

    try:
        found = settings(max_examples=200, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        find(
            cases(implementation.cell, tally.case.dtype.name, tally.claim.cases, implementation.sizes),
            fails,
            settings=found,
            random=random.Random(seed),
        )
    except HypothesisException:
        return  # Out of time, or a target that does not fail every time: the smallest failure seen so far stands.


def _reason(tally: Tally) -> str:
    seen = f"seen in {tally.failures} of {tally.examples} cases"
    return "\n".join([str(tally.failure), "; ".join(filter(None, [seen, tally.widest[1]]))])


def _conclude(implementation: Subject, tally: Tally) -> PropertyResult:
    claim, seen = tally.claim, tally.evidence
    blocks = seen.judged + seen.inconclusive
    expected = implementation.expected_failures.get(claim.name)
    common: dict[str, Any] = {
        "examples": tally.examples,
        "worst_ratio": seen.ratio if seen.judged else None,
        "inconclusive": seen.inconclusive / blocks if blocks else 0.0,
    }
    if tally.failure is not None:
        common |= {"counterexample": tally.case, "worst_ratio": getattr(tally.failure, "ratio", None)}
        if expected:
            return PropertyResult(claim.name, "expected_failure", reason=expected, **common)
        crashed = isinstance(tally.failure, TargetError) and tally.failure.__cause__ is not None
        return PropertyResult(claim.name, "crashed" if crashed else "failed", reason=_reason(tally), **common)
    if expected:
        return PropertyResult(claim.name, "failed", reason=f"it holds, but was expected to fail: {expected}", **common)
    undecided = [dtype for dtype, judged in sorted(tally.judged_by_dtype.items()) if judged == 0]
    if undecided or not tally.judged_by_dtype:
        reason = f"no case could be judged in {' and '.join(undecided) or 'any dtype'}: rounding may be as large as the values"
        return PropertyResult(claim.name, "inconclusive", reason=reason, **common)
    return PropertyResult(claim.name, "passed", **common)


def audit(
    target: Any,
    *,
    profile: str = "ci",
    only: Iterable[str] = (),
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit an implementation: every property that applies, in every dtype that it declares.

    Parameters
    ----------
    target
        An implementation (see :class:`gatecheck.implementation.Implementation`), or a class of one.
    profile
        ``"quick"``, ``"ci"`` or ``"thorough"``: how many cases.
    only
        Names of properties, to run these alone.
    cell, convention
        Instead of what the target declares.
    seed
        Of the cases; the same seed gives the same audit.
    progress
        Called with how many checks are done, how many there are, and the name of the property at hand.

    Returns
    -------
    AuditResult
        With ``ok``, ``verdict``, ``findings`` and ``to_json()``.

    Raises
    ------
    UsageError
        If there is no such profile or property.
    TargetError
        If the target is not an implementation, or its list of expected failures names no property.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}; the profiles are {', '.join(PROFILES)}")
    implementation = subject(target, cell=cell, convention=convention)
    chosen = claims(only)
    stale = set(implementation.expected_failures) - set(REGISTRY)
    if stale:
        raise TargetError(f"{implementation.name} expects failures of properties that do not exist: {', '.join(sorted(stale))}")
    skipped = {c.name: reason for c in chosen if (reason := c.inapplicable(implementation))}
    report = progress or _silent
    done = total = 0

    def tick(now: int, of: int, label: str) -> None:
        nonlocal done, total
        done, total = now, of
        report(now, of, label)

    tallies = explore(implementation, [c for c in chosen if c.name not in skipped], profile, seed, tick)
    for tally in tallies.values():
        if tally.failure is not None and tally.claim.name not in implementation.expected_failures:
            report(done, total, f"{tally.claim.name}: looking for a smaller counterexample")
            _shrink(implementation, tally, seed)
    results = [
        PropertyResult(c.name, "skipped", reason=skipped[c.name]) if c.name in skipped else _conclude(implementation, tallies[c.name])
        for c in chosen
    ]
    return AuditResult(
        implementation.name,
        implementation.cell.name,
        implementation.convention.name,
        profile,
        seed,
        [*implementation.narrowings, *_blind_spots(implementation, profile, seed)],
        results,
        versions(*getattr(implementation.target, "packages", ())),
    )


def _blind_spots(implementation: Subject, profile: str, seed: int) -> list[str]:
    """What cases of the sizes on which an implementation insists could not have told, in a sentence."""
    if not implementation.sizes:
        return []
    fixed = tuple(implementation.sizes.items())
    shown = [drawn(implementation.cell, dtype, SCOPES["any"], fixed, PROFILES[profile], seed) for dtype in implementation.dtypes]
    names = [fault.name for fault in untold(itertools.chain(*shown))]
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return [f"at these sizes no case could have told: {listed}"] if names else []


def _plan(implementation: Subject, tallies: Mapping[str, Tally], examples: int) -> list[tuple[list[Tally], str, int]]:
    """Which properties share cases: those of one scope and dtype."""
    groups: dict[tuple[str, str], list[Tally]] = {}
    for tally in tallies.values():
        for dtype in tally.claim.dtypes:
            if dtype in implementation.dtypes:
                groups.setdefault((tally.claim.scope, dtype), []).append(tally)
    return [(group, dtype, max(2, round(examples * group[0].claim.cases.share))) for (_, dtype), group in groups.items()]


def replay(target: Any, path: str, *, cell: str | Cell | None = None, convention: str | Convention | None = None) -> PropertyResult:
    """Try on a saved case the property that it refuted.

    Parameters
    ----------
    target
        An implementation.
    path
        An ``.npz`` file that an audit wrote.
    cell, convention
        Instead of what the target declares.

    Raises
    ------
    CaseFileError
        If the file holds no case, or does not say which property.
    UsageError
        If the property says nothing about the target, or the case is of another cell or dtype.
    """
    case, about = Case.load(path)
    implementation = subject(target, cell=cell, convention=convention)
    if case.cell != implementation.cell:
        raise UsageError(f"{path} holds a case of a {case.cell}, but {implementation.name} is a {implementation.cell}")
    if about.get("property") not in {c.name for c in claims()}:
        raise CaseFileError(f"{path} does not say which property it refutes")
    (chosen,) = claims([about["property"]])
    if reason := chosen.inapplicable(implementation):
        raise UsageError(f"{chosen.name} says nothing about {implementation.name}: it {reason}")
    if case.dtype.name not in implementation.dtypes:
        raise UsageError(f"{path} holds a case in {case.dtype}, which {implementation.name} does not declare")
    tally = Tally(chosen)
    tally.record(implementation, case)
    return _conclude(implementation, tally)
