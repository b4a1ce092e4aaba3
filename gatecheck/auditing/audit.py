"""Audit an implementation: which properties apply, what became of each, and the replay of one case."""

from __future__ import annotations

import difflib
import importlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gatecheck._util.arguments import (
    FLAG,
    FUNCTION,
    LIST,
    MAPPING,
    PATH,
    SEED,
    checked,
    perhaps,
    shown,
)
from gatecheck._util.typing import Progress
from gatecheck._util.versions import versions
from gatecheck.auditing.applicability import says_nothing
from gatecheck.auditing.explore import (
    PLEASE,
    PROFILES,
    Check,
    Tally,
    drawn,
    explore,
    in_process,
    reporting,
    shrink,
    silent,
)
from gatecheck.auditing.prove import PROFILE, Prove, of_activations, proven
from gatecheck.auditing.result import AuditResult, Outcome, PropertyResult
from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import Cell
from gatecheck.checking.registry import REGISTRY, Claim
from gatecheck.conventions import Convention
from gatecheck.diagnosis import diagnose as diagnosis
from gatecheck.diagnosis.diagnose import Diagnosis
from gatecheck.diagnosis.undetected import untold
from gatecheck.errors import (
    BugError,
    CaseFileError,
    TargetCrashError,
    TargetError,
    TargetTimeoutError,
    UsageError,
)
from gatecheck.implementation import Subject, subject
from gatecheck.implementation.custom import CustomSubject, custom_subject, is_custom
from gatecheck.inference.resolve import settled

NAMED = 8
"""How many faults a sentence names."""

MODULES = (
    "contract",
    "gates",
    "precision",
    "gradients",
    "reductions",
    "state",
    "lengths",
    "layers",
    "symmetry",
)
"""Of `properties`, in the order in which what they claim is tried and reported, whichever was
imported first.
"""


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
    if strange := [name for name in wanted if not isinstance(name, str)]:
        raise UsageError(f"only holds {shown(strange[0])}, but should be a list of names")
    unknown = [name for name in wanted if name not in REGISTRY]
    if unknown:
        near = [n for name in unknown for n in difflib.get_close_matches(name, REGISTRY, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"there is no property {', '.join(unknown)}; {hint}`gatecheck properties` lists them all"
        )
    places = {module: place for place, module in enumerate(MODULES)}
    chosen = [c for name, c in REGISTRY.items() if not wanted or name in wanted]
    return sorted(
        chosen, key=lambda c: places.get(c.check.__module__.rpartition(".")[2], len(places))
    )


def with_reasons(expected: Mapping[str, str]) -> dict[str, str]:
    """Failures that are expected, by the name of a property the reason, once each is a property's
    and has one.

    Raises
    ------
    UsageError
        Naming the property.
    """
    for name, reason in expected.items():
        claims([name])
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                f"{name} is expected to fail without a reason: give one, with its source"
            )
    return dict(expected)


def expecting(implementation: Subject, expected: Mapping[str, str] | None) -> Subject:
    """An implementation of which failures are expected besides those that it declares.

    Raises
    ------
    UsageError
        As of :func:`with_reasons`, or if a property says nothing about the implementation.
    """
    found = with_reasons(expected or {})
    for chosen in claims(found) if found else ():
        if reason := says_nothing(chosen, implementation):
            raise UsageError(
                f"{chosen.name} is expected to fail, but says nothing about {implementation.name}: it {reason}"
            )
    return replace(implementation, expected_failures={**implementation.expected_failures, **found})


def applicable(implementation: Subject | CustomSubject) -> list[Claim]:
    """The properties that say something about an implementation."""
    return [c for c in claims() if not says_nothing(c, implementation)]


def _reason(tally: Tally) -> str:
    seen = f"seen in {tally.failures} of {tally.examples} cases" if tally.failures else ""
    return "\n".join(
        filter(None, [str(tally.failure), "; ".join(filter(None, [seen, tally.widest[1]]))])
    )


def _outcome(failure: Exception) -> Outcome:
    if isinstance(failure, BugError):
        return "error"
    if isinstance(failure, TargetTimeoutError):
        return "timed_out"
    crashed = isinstance(failure, TargetCrashError) or (
        isinstance(failure, TargetError) and failure.__cause__ is not None
    )
    return "crashed" if crashed else "failed"


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
        common |= {
            "counterexample": tally.case,
            "worst_ratio": getattr(tally.failure, "ratio", None),
        }
        if expected and not isinstance(tally.failure, BugError):
            return PropertyResult(claim.name, "expected_failure", reason=expected, **common)
        return PropertyResult(claim.name, _outcome(tally.failure), reason=_reason(tally), **common)
    if expected:
        return PropertyResult(
            claim.name, "failed", reason=f"it holds, but was expected to fail: {expected}", **common
        )
    undecided = [dtype for dtype, judged in sorted(tally.judged_by_dtype.items()) if judged == 0]
    if undecided or not tally.judged_by_dtype:
        reason = f"no case could be judged in {' and '.join(undecided) or 'any dtype'}: rounding may be as large as the values"
        return PropertyResult(claim.name, "inconclusive", reason=reason, **common)
    return PropertyResult(claim.name, "passed", **common)


@checked(
    seed=SEED,
    only=LIST,
    expected_failures=perhaps(MAPPING),
    diagnose=FLAG,
    progress=perhaps(FUNCTION),
)
def audit(
    target: Any,
    *,
    profile: str = "ci",
    only: Iterable[str] = (),
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    seed: int = 0,
    expected_failures: Mapping[str, str] | None = None,
    diagnose: bool = True,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit an implementation: every property that applies, in every dtype that it declares.

    Parameters
    ----------
    target
        An implementation (see :class:`gatecheck.implementation.protocol.Implementation`), or a class of one.
    profile
        ``"quick"``, ``"ci"`` or ``"thorough"``: how many cases. The last also proves what can be
        proven for all inputs, unless `only` says that nothing else is asked for.
    only
        Names of properties, to run these alone.
    cell, convention
        Instead of what the target declares.
    seed
        Of the cases; the same seed gives the same audit.
    expected_failures
        By the name of a property the reason why it is expected to fail. Strict: one that holds is a
        finding.
    diagnose
        Whether to search for what explains the findings, which takes some seconds.
    progress
        Called with how many checks are done, how many there are, and the name of the property at
        hand.

    Returns
    -------
    AuditResult
        With ``ok``, ``verdict``, ``findings`` and ``to_json()``.

    Raises
    ------
    UsageError
        If there is no such profile or property, or an expected failure gives no reason or says
        nothing about the target.
    TargetError
        If the target is not an implementation, or its own list of expected failures names no
        property.
    """
    check_profile(profile)
    how: dict[str, Any] = {
        "profile": profile,
        "only": list(only),
        "seed": int(seed),
        "progress": progress,
        "expected_failures": expected_failures,
    }
    implementation: Any = prepared(target, cell=cell, convention=convention)
    if isinstance(implementation, CustomSubject):
        how["given"] = implementation.examples(own_examples(profile), int(seed))
    else:
        how["diagnose"] = partial(diagnosis.diagnose, implementation) if diagnose else None
        tried = partial(
            of_activations, implementation.target, implementation.name, implementation.dtypes
        )
        how["prove"] = partial(proven, implementation.cell, tried)
    made_with = versions(*getattr(implementation.target, "packages", ()))
    return audited(implementation, in_process(implementation), made_with, **how)


def prepared(
    target: Any, *, cell: str | Cell | None = None, convention: str | Convention | None = None
) -> Subject | CustomSubject:
    """A target as the properties see it, in the convention that it follows if it declares none;
    parameters as of :func:`audit`.

    Raises
    ------
    UsageError, TargetError
        As there.
    """
    if isinstance(target, CustomSubject):
        return target
    if is_custom(target, cell):
        return custom_subject(target)
    return settled(subject(target, cell=cell, convention=convention))


def own_examples(profile: str) -> int:
    """How many examples of a cell of its own a profile asks for: each is tried by every oracle,
    which is what takes long.
    """
    return max(2, PROFILES[profile] // 6)


def check_profile(profile: str) -> None:
    """See that there is such a profile.

    Raises
    ------
    UsageError
        If there is not.
    """
    if not isinstance(profile, str) or profile not in PROFILES:
        raise UsageError(
            f"there is no profile {shown(profile)}; the profiles are {', '.join(PROFILES)}"
        )


def audited(
    implementation: Subject,
    check: Check,
    made_with: Mapping[str, str],
    *,
    given: Mapping[str, Sequence[Any]] | None = None,
    diagnose: Callable[..., Diagnosis] | None = None,
    prove: Prove | None = None,
    profile: str = "ci",
    only: Iterable[str] = (),
    seed: int = 0,
    expected_failures: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """An audit in which another may do the checks.

    Parameters
    ----------
    implementation
        What it declares; its target is not looked at here.
    check
        Tries a property of it on a case, perhaps in another process.
    made_with
        The versions of what computes.
    given
        By dtype the cases to try, where the implementation has its own.
    diagnose
        Searches, from a seed, for what explains the findings.
    prove
        Proves what can be proven for all inputs, in the profile ``thorough`` alone.
    profile, only, seed, expected_failures, progress
        As of :func:`audit`, and so are the errors.
    """
    check_profile(profile)
    check = reporting(check)
    chosen = claims(only)
    stale = set(implementation.expected_failures) - set(REGISTRY)
    if stale:
        raise TargetError(
            f"{implementation.name} expects failures of properties that do not exist: {', '.join(sorted(stale))}"
        )
    skipped = {c.name: reason for c in chosen if (reason := says_nothing(c, implementation))}
    implementation = expecting(implementation, expected_failures)
    report = progress or silent
    done = total = 0

    def tick(now: int, of: int, label: str) -> None:
        nonlocal done, total
        done, total = now, of
        report(now, of, label)

    tallies = explore(
        implementation,
        [c for c in chosen if c.name not in skipped],
        profile,
        seed,
        tick,
        check=check,
        given=given,
    )
    for tally in tallies.values():
        if tally.failure is not None and tally.claim.name not in implementation.expected_failures:
            report(done, total, f"{tally.claim.name}: looking for a smaller counterexample")
            shrink(implementation, tally, seed, check)
    results = [
        PropertyResult(c.name, "skipped", reason=skipped[c.name])
        if c.name in skipped
        else _conclude(implementation, tallies[c.name])
        for c in chosen
    ]
    proofs, unproven = prove(report) if prove and profile == PROFILE and not only else ([], [])
    found = AuditResult(
        implementation.name,
        implementation.cell.name,
        implementation.convention.name,
        profile,
        seed,
        [*implementation.narrowings, *_blind_spots(implementation, profile, seed), *unproven],
        results,
        dict(made_with),
        proofs=proofs,
    )
    # where it only failed to return, it would be waited for once more
    if not (diagnose and found.count("failed", "crashed")):
        return found
    report(done, total, "looking for what explains the findings")
    try:
        return replace(found, diagnosis=diagnose(seed=seed))
    except Exception as error:  # the findings stand without it
        return replace(
            found,
            diagnosis=Diagnosis(
                says=f"There is no diagnosis: {PLEASE} {type(error).__name__}: {error}"
            ),
        )


def _blind_spots(implementation: Subject, profile: str, seed: int) -> list[str]:
    """What cases of the sizes on which an implementation insists could not have told, in a
    sentence.
    """
    if not implementation.sizes:
        return []
    shown = [
        drawn(implementation, dtype, SCOPES["any"], PROFILES[profile], seed)
        for dtype in implementation.dtypes
    ]
    names = [fault.name for fault in untold(itertools.chain(*shown))]
    listed = ", ".join(names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
    return [f"at these sizes no case could have told: {listed}"] if names else []


@checked(path=PATH, expected_failures=perhaps(MAPPING))
def replay(
    target: Any,
    path: str,
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> PropertyResult:
    """Try on a saved case the property that it refuted.

    Parameters
    ----------
    target
        An implementation.
    path
        An ``.npz`` file that an audit wrote.
    cell, convention
        Instead of what the target declares.
    expected_failures
        As of :func:`audit`.

    Raises
    ------
    CaseFileError
        If the file holds no case, or does not say which property.
    UsageError
        If the property says nothing about the target, or the case is of another cell or dtype.
    """
    implementation: Any = prepared(target, cell=cell, convention=convention)
    return replayed(
        implementation, in_process(implementation), path, expected_failures=expected_failures
    )


def replayed(
    implementation: Subject,
    check: Check,
    path: str,
    *,
    expected_failures: Mapping[str, str] | None = None,
) -> PropertyResult:
    """:func:`replay` in which another does the check; parameters as of :func:`audited`."""
    implementation = expecting(implementation, expected_failures)
    case, about = Case.load(path)
    if case.cell != implementation.cell:
        raise UsageError(
            f"{path} holds a case of a {case.cell}, but {implementation.name} is a {implementation.cell}"
        )
    if about.get("property") not in {c.name for c in claims()}:
        raise CaseFileError(f"{path} does not say which property it refutes")
    (chosen,) = claims([about["property"]])
    if reason := chosen.inapplicable(implementation):
        raise UsageError(f"{chosen.name} says nothing about {implementation.name}: it {reason}")
    if case.dtype.name not in implementation.dtypes:
        raise UsageError(
            f"{path} holds a case in {case.dtype}, which {implementation.name} does not declare"
        )
    tally = Tally(chosen)
    tally.record(reporting(check), case)
    return _conclude(implementation, tally)
