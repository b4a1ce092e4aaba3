"""The audit of an implementation, and the replay of one saved case."""

from __future__ import annotations

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
    optional,
    validate_args,
)
from gatecheck._util.text import list_names
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
from gatecheck.auditing.outcome import property_result
from gatecheck.auditing.prove import PROOF_PROFILE, Prove, prove, prove_activations
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.auditing.selection import check_profile, select_properties, with_expected_failures
from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import Cell
from gatecheck.checking.registry import REGISTRY
from gatecheck.conventions import Convention
from gatecheck.diagnosis import diagnose as diagnosis
from gatecheck.diagnosis.result import Diagnosis
from gatecheck.diagnosis.undetected import undetected_faults
from gatecheck.errors import (
    CaseFileError,
    TargetError,
    UsageError,
)
from gatecheck.implementation import Subject, subject
from gatecheck.implementation.custom import CustomSubject, custom_subject, is_custom
from gatecheck.inference.resolve import resolve_convention

MAX_NAMED_FAULTS = 8
"""Number of faults that a sentence names."""


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
        An implementation (see :class:`gatecheck.implementation.protocol.Implementation`), or a
        class of one.
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
        else property_result(implementation, tallies[c.name])
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
                message=(
                    f"There is no diagnosis: {BUG_REPORT_REQUEST} {type(error).__name__}: {error}"
                )
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
    listed = list_names(names, MAX_NAMED_FAULTS)
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
    return property_result(implementation, tally)
