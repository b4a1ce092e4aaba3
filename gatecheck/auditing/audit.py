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
    describe_argument,
    optional,
    validate_args,
)
from gatecheck._util.typing import Progress
from gatecheck._util.versions import versions
from gatecheck.auditing.applicability import why_not_applicable
from gatecheck.auditing.explore import (
    BUG_REPORT_REQUEST,
    PROFILES,
    Check,
    Tally,
    draw_cases,
    explore,
    ignore_progress,
    local_check,
    shrink,
    wrap_bugs,
)
from gatecheck.auditing.prove import PROOF_PROFILE, Prove, prove, prove_activations
from gatecheck.auditing.result import AuditResult, PropertyOutcome, PropertyResult
from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import Cell
from gatecheck.checking.registry import REGISTRY, Property
from gatecheck.conventions import Convention
from gatecheck.diagnosis import diagnose as diagnosis
from gatecheck.diagnosis.diagnose import Diagnosis
from gatecheck.diagnosis.undetected import undetected_faults
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
from gatecheck.inference.resolve import resolve_convention

MAX_NAMED_FAULTS = 8
"""Number of faults that a sentence names."""

PROPERTY_MODULES = (
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


def select_properties(only: Iterable[str] = ()) -> list[Property]:
    """Return the properties of these names, or all, in the order of reports.

    Raises
    ------
    UsageError
        If there is no property of a name.
    """
    for module in PROPERTY_MODULES:
        importlib.import_module(f"gatecheck.properties.{module}")
    if isinstance(only, str):
        raise UsageError(f"only is {only!r}, but should be a list of names: [{only!r}]")
    names = list(only)
    if not_names := [name for name in names if not isinstance(name, str)]:
        raise UsageError(
            f"only holds {describe_argument(not_names[0])}, but should be a list of names"
        )
    unknown = [name for name in names if name not in REGISTRY]
    if unknown:
        near = [n for name in unknown for n in difflib.get_close_matches(name, REGISTRY, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"there is no property {', '.join(unknown)}; {hint}`gatecheck properties` lists them "
            "all"
        )
    places = {module: place for place, module in enumerate(PROPERTY_MODULES)}
    chosen = [c for name, c in REGISTRY.items() if not names or name in names]
    return sorted(
        chosen, key=lambda c: places.get(c.check.__module__.rpartition(".")[2], len(places))
    )


def validate_reasons(expected_failures: Mapping[str, str]) -> dict[str, str]:
    """Return expected failures as a dict, once each names a property and a reason.

    Parameters
    ----------
    expected_failures
        Reasons by the name of a property.

    Raises
    ------
    UsageError
        Naming the property.
    """
    for name, reason in expected_failures.items():
        select_properties([name])
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                f"{name} is expected to fail without a reason: give one, with its source"
            )
    return dict(expected_failures)


def with_expected_failures(
    implementation: Subject, expected_failures: Mapping[str, str] | None
) -> Subject:
    """Return an implementation with expected failures added to those it declares.

    Raises
    ------
    UsageError
        See :func:`validate_reasons`; or if a property does not apply to the implementation.
    """
    added = validate_reasons(expected_failures or {})
    for chosen in select_properties(added) if added else ():
        if reason := why_not_applicable(chosen, implementation):
            raise UsageError(
                f"{chosen.name} is expected to fail, but does not apply to {implementation.name}: "
                f"it {reason}"
            )
    return replace(implementation, expected_failures={**implementation.expected_failures, **added})


def applicable_properties(implementation: Subject | CustomSubject) -> list[Property]:
    """Return the properties that apply to an implementation."""
    return [c for c in select_properties() if not why_not_applicable(c, implementation)]


def _format_reason(tally: Tally) -> str:
    frequency = f"seen in {tally.failures} of {tally.examples} cases" if tally.failures else ""
    return "\n".join(
        filter(
            None,
            [str(tally.failure), "; ".join(filter(None, [frequency, tally.widest_failure[1]]))],
        )
    )


def _failure_outcome(failure: Exception) -> PropertyOutcome:
    if isinstance(failure, BugError):
        return "error"
    if isinstance(failure, TargetTimeoutError):
        return "timed_out"
    crashed = isinstance(failure, TargetCrashError) or (
        isinstance(failure, TargetError) and failure.__cause__ is not None
    )
    return "crashed" if crashed else "failed"


def _property_result(implementation: Subject, tally: Tally) -> PropertyResult:
    claim, evidence = tally.prop, tally.evidence
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
        return PropertyResult(
            claim.name, _failure_outcome(tally.failure), reason=_format_reason(tally), **common
        )
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


@validate_args(
    seed=SEED,
    only=LIST,
    expected_failures=optional(MAPPING),
    diagnose=FLAG,
    progress=optional(FUNCTION),
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
    implementation: Any = make_subject(target, cell=cell, convention=convention)
    if isinstance(implementation, CustomSubject):
        options["cases_by_dtype"] = implementation.examples(n_custom_examples(profile), int(seed))
    else:
        options["diagnose"] = partial(diagnosis.diagnose, implementation) if diagnose else None
        tried = partial(
            prove_activations, implementation.target, implementation.name, implementation.dtypes
        )
        options["prove"] = partial(prove, implementation.cell, tried)
    made_with = versions(*getattr(implementation.target, "packages", ()))
    return run_audit(implementation, local_check(implementation), made_with, **options)


def make_subject(
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
    return resolve_convention(subject(target, cell=cell, convention=convention))


def n_custom_examples(profile: str) -> int:
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
            f"there is no profile {describe_argument(profile)}; the profiles are {', '.join(PROFILES)}"
        )


def run_audit(
    implementation: Subject,
    check: Check,
    package_versions: Mapping[str, str],
    *,
    cases_by_dtype: Mapping[str, Sequence[Any]] | None = None,
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
    package_versions
        Versions of the packages that compute.
    cases_by_dtype
        Cases by dtype, where the implementation brings its own.
    diagnose
        Searches, from a seed, for what explains the findings.
    prove
        Proves what can be proven for all inputs; called in the profile ``thorough`` only.
    profile, only, seed, expected_failures, progress
        See :func:`audit`, also for the errors.
    """
    check_profile(profile)
    check = wrap_bugs(check)
    chosen = select_properties(only)
    unknown = set(implementation.expected_failures) - set(REGISTRY)
    if unknown:
        raise TargetError(
            f"{implementation.name} expects failures of properties that do not exist: "
            f"{', '.join(sorted(unknown))}"
        )
    skipped = {c.name: reason for c in chosen if (reason := why_not_applicable(c, implementation))}
    implementation = with_expected_failures(implementation, expected_failures)
    report = progress or ignore_progress
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
        cases_by_dtype=cases_by_dtype,
    )
    for tally in tallies.values():
        if tally.failure is not None and tally.prop.name not in implementation.expected_failures:
            report(done, total, f"{tally.prop.name}: looking for a smaller counterexample")
            shrink(implementation, tally, seed, check)
    results = [
        PropertyResult(c.name, "skipped", reason=skipped[c.name])
        if c.name in skipped
        else _property_result(implementation, tallies[c.name])
        for c in chosen
    ]
    proofs, unproven = (
        prove(report) if prove and profile == PROOF_PROFILE and not only else ([], [])
    )
    result = AuditResult(
        implementation.name,
        implementation.cell.name,
        implementation.convention.name,
        profile,
        seed,
        [*implementation.limitations, *_undetected_note(implementation, profile, seed), *unproven],
        results,
        dict(package_versions),
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
                message=f"There is no diagnosis: {BUG_REPORT_REQUEST} {type(error).__name__}: {error}"
            ),
        )


def _undetected_note(implementation: Subject, profile: str, seed: int) -> list[str]:
    """Return a sentence on the faults that no case of the required sizes could detect."""
    if not implementation.sizes:
        return []
    cases = [
        draw_cases(implementation, dtype, SCOPES["any"], PROFILES[profile], seed)
        for dtype in implementation.dtypes
    ]
    names = [fault.name for fault in undetected_faults(itertools.chain(*cases))]
    listed = ", ".join(names[:MAX_NAMED_FAULTS]) + (
        f" and {len(names) - MAX_NAMED_FAULTS} more" if len(names) > MAX_NAMED_FAULTS else ""
    )
    return [f"at these sizes no case could have detected: {listed}"] if names else []


@validate_args(path=PATH, expected_failures=optional(MAPPING))
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
    implementation: Any = make_subject(target, cell=cell, convention=convention)
    return run_replay(
        implementation, local_check(implementation), path, expected_failures=expected_failures
    )


def run_replay(
    implementation: Subject,
    check: Check,
    path: str,
    *,
    expected_failures: Mapping[str, str] | None = None,
) -> PropertyResult:
    """Run :func:`replay` with a check made elsewhere; see :func:`run_audit`."""
    implementation = with_expected_failures(implementation, expected_failures)
    case, about = Case.load(path)
    if case.cell != implementation.cell:
        raise UsageError(
            f"{path} holds a case of a {case.cell}, but {implementation.name} is a "
            f"{implementation.cell}"
        )
    if about.get("property") not in {c.name for c in select_properties()}:
        raise CaseFileError(f"{path} does not say which property it refutes")
    (chosen,) = select_properties([about["property"]])
    if reason := chosen.why_not_applicable(implementation):
        raise UsageError(f"{chosen.name} does not apply to {implementation.name}: it {reason}")
    if case.dtype.name not in implementation.dtypes:
        raise UsageError(
            f"{path} holds a case in {case.dtype}, which {implementation.name} does not declare"
        )
    tally = Tally(chosen)
    tally.record(wrap_bugs(check), case)
    return _property_result(implementation, tally)
