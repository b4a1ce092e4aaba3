"""The audit of an implementation, and the replay of one saved case."""

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
"""Number of faults that a sentence names."""

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
"""Modules of `properties`, in the order of trials and reports.

The order does not depend on which module was imported first.
"""


def claims(only: Iterable[str] = ()) -> list[Claim]:
    """Return the properties of these names, or all, in the order of reports.

    Raises
    ------
    UsageError
        If there is no property of a name.
    """
    for module in MODULES:
        importlib.import_module(f"gatecheck.properties.{module}")
    if isinstance(only, str):
        raise UsageError(f"only is {only!r}, but should be a list of names: [{only!r}]")
    names = list(only)
    if not_names := [name for name in names if not isinstance(name, str)]:
        raise UsageError(f"only holds {shown(not_names[0])}, but should be a list of names")
    unknown = [name for name in names if name not in REGISTRY]
    if unknown:
        near = [n for name in unknown for n in difflib.get_close_matches(name, REGISTRY, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"there is no property {', '.join(unknown)}; {hint}`gatecheck properties` lists them "
            "all"
        )
    places = {module: place for place, module in enumerate(MODULES)}
    chosen = [c for name, c in REGISTRY.items() if not names or name in names]
    return sorted(
        chosen, key=lambda c: places.get(c.check.__module__.rpartition(".")[2], len(places))
    )


def with_reasons(expected: Mapping[str, str]) -> dict[str, str]:
    """Return expected failures as a dict, once each names a property and a reason.

    Parameters
    ----------
    expected
        Reasons by the name of a property.

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
    """Return an implementation with expected failures added to those it declares.

    Raises
    ------
    UsageError
        See :func:`with_reasons`; or if a property does not apply to the implementation.
    """
    added = with_reasons(expected or {})
    for chosen in claims(added) if added else ():
        if reason := says_nothing(chosen, implementation):
            raise UsageError(
                f"{chosen.name} is expected to fail, but does not apply to {implementation.name}: "
                f"it {reason}"
            )
    return replace(implementation, expected_failures={**implementation.expected_failures, **added})


def applicable(implementation: Subject | CustomSubject) -> list[Claim]:
    """Return the properties that apply to an implementation."""
    return [c for c in claims() if not says_nothing(c, implementation)]


def _reason(tally: Tally) -> str:
    frequency = f"seen in {tally.failures} of {tally.examples} cases" if tally.failures else ""
    return "\n".join(
        filter(None, [str(tally.failure), "; ".join(filter(None, [frequency, tally.widest[1]]))])
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
    claim, evidence = tally.claim, tally.evidence
    blocks = evidence.judged + evidence.inconclusive
    expected = implementation.expected_failures.get(claim.name)
    common: dict[str, Any] = {
        "examples": tally.examples,
        "worst_ratio": evidence.ratio if evidence.judged else None,
        "inconclusive": evidence.inconclusive / blocks if blocks else 0.0,
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
        reason = (
            f"no case could be judged in {' and '.join(undecided) or 'any dtype'}: rounding may "
            "be as large as the values"
        )
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
    """Audit an implementation: every applicable property, in every declared dtype.

    Parameters
    ----------
    target
        An implementation (see :class:`gatecheck.implementation.protocol.Implementation`), or a class of one.
    profile
        Number of cases: ``"quick"``, ``"ci"`` or ``"thorough"``. The last also proves what can be
        proven for all inputs, unless `only` restricts the audit.
    only
        Names of properties, to run these alone.
    cell, convention
        Override what the target declares.
    seed
        Seed of the cases; the same seed gives the same audit.
    expected_failures
        Reasons why properties are expected to fail, by property name. Strict: a property that holds
        is then a finding.
    diagnose
        Search for what explains the findings, which takes some seconds.
    progress
        Called with the number of checks done, their total, and the name of the current property.

    Returns
    -------
    AuditResult
        The result, with ``ok``, ``verdict``, ``findings`` and ``to_json()``.

    Raises
    ------
    UsageError
        If there is no such profile or property, or an expected failure gives no reason or does not
        apply to the target.
    TargetError
        If the target is not an implementation, or its own list of expected failures names no
        property.
    """
    check_profile(profile)
    options: dict[str, Any] = {
        "profile": profile,
        "only": list(only),
        "seed": int(seed),
        "progress": progress,
        "expected_failures": expected_failures,
    }
    implementation: Any = prepared(target, cell=cell, convention=convention)
    if isinstance(implementation, CustomSubject):
        options["given"] = implementation.examples(own_examples(profile), int(seed))
    else:
        options["diagnose"] = partial(diagnosis.diagnose, implementation) if diagnose else None
        tried = partial(
            of_activations, implementation.target, implementation.name, implementation.dtypes
        )
        options["prove"] = partial(proven, implementation.cell, tried)
    made_with = versions(*getattr(implementation.target, "packages", ()))
    return audited(implementation, in_process(implementation), made_with, **options)


def prepared(
    target: Any, *, cell: str | Cell | None = None, convention: str | Convention | None = None
) -> Subject | CustomSubject:
    """Return a target as a subject, with its convention inferred if it declares none.

    Parameters
    ----------
    target, cell, convention
        See :func:`audit`.

    Raises
    ------
    UsageError, TargetError
        See :func:`audit`.
    """
    if isinstance(target, CustomSubject):
        return target
    if is_custom(target, cell):
        return custom_subject(target)
    return settled(subject(target, cell=cell, convention=convention))


def own_examples(profile: str) -> int:
    """Return the number of examples of a custom cell in a profile.

    Every oracle is tried on each, which is slow.
    """
    return max(2, PROFILES[profile] // 6)


def check_profile(profile: str) -> None:
    """Check that a profile exists.

    Raises
    ------
    UsageError
        If it does not.
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
    """Run an audit with checks that may be made elsewhere.

    Parameters
    ----------
    implementation
        What the target declares; the target itself is not used here.
    check
        Tries a property of it on a case, perhaps in another process.
    made_with
        Versions of the packages that compute.
    given
        Cases by dtype, where the implementation brings its own.
    diagnose
        Searches, from a seed, for what explains the findings.
    prove
        Proves what can be proven for all inputs; called in the profile ``thorough`` only.
    profile, only, seed, expected_failures, progress
        See :func:`audit`, also for the errors.
    """
    check_profile(profile)
    check = reporting(check)
    chosen = claims(only)
    unknown = set(implementation.expected_failures) - set(REGISTRY)
    if unknown:
        raise TargetError(
            f"{implementation.name} expects failures of properties that do not exist: "
            f"{', '.join(sorted(unknown))}"
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
    result = AuditResult(
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
    # A target that only timed out would time out again.
    if not (diagnose and result.count("failed", "crashed")):
        return result
    report(done, total, "looking for what explains the findings")
    try:
        return replace(result, diagnosis=diagnose(seed=seed))
    except Exception as error:  # the findings stand without it
        return replace(
            result,
            diagnosis=Diagnosis(
                says=f"There is no diagnosis: {PLEASE} {type(error).__name__}: {error}"
            ),
        )


def _blind_spots(implementation: Subject, profile: str, seed: int) -> list[str]:
    """Return a sentence on the faults that no case of the required sizes could detect."""
    if not implementation.sizes:
        return []
    cases = [
        drawn(implementation, dtype, SCOPES["any"], PROFILES[profile], seed)
        for dtype in implementation.dtypes
    ]
    names = [fault.name for fault in untold(itertools.chain(*cases))]
    listed = ", ".join(names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
    return [f"at these sizes no case could have detected: {listed}"] if names else []


@checked(path=PATH, expected_failures=perhaps(MAPPING))
def replay(
    target: Any,
    path: str,
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> PropertyResult:
    """Try the property that a saved case refuted on that case again.

    Parameters
    ----------
    target
        An implementation.
    path
        An ``.npz`` file written by an audit.
    cell, convention
        Override what the target declares.
    expected_failures
        See :func:`audit`.

    Raises
    ------
    CaseFileError
        If the file holds no case, or does not name the property.
    UsageError
        If the property does not apply to the target, or the case has another cell or dtype.
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
    """Run :func:`replay` with a check made elsewhere; see :func:`audited`."""
    implementation = expecting(implementation, expected_failures)
    case, about = Case.load(path)
    if case.cell != implementation.cell:
        raise UsageError(
            f"{path} holds a case of a {case.cell}, but {implementation.name} is a "
            f"{implementation.cell}"
        )
    if about.get("property") not in {c.name for c in claims()}:
        raise CaseFileError(f"{path} does not say which property it refutes")
    (chosen,) = claims([about["property"]])
    if reason := chosen.inapplicable(implementation):
        raise UsageError(f"{chosen.name} does not apply to {implementation.name}: it {reason}")
    if case.dtype.name not in implementation.dtypes:
        raise UsageError(
            f"{path} holds a case in {case.dtype}, which {implementation.name} does not declare"
        )
    tally = Tally(chosen)
    tally.record(reporting(check), case)
    return _conclude(implementation, tally)
