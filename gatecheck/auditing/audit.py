"""The audit of an implementation, and the replay of one saved case."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
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
    Tally,
    check_subject,
    draw_cases,
    explore,
    ignore_progress,
    shrink,
    wrap_bugs,
)
from gatecheck.auditing.options import AuditOptions
from gatecheck.auditing.outcome import property_result, untried_result
from gatecheck.auditing.prove import PROOF_PROFILE, prove
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.auditing.selection import check_profile, select_properties, with_expected_failures
from gatecheck.cases import Case
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import Cell
from gatecheck.checking.registry import REGISTRY, Property
from gatecheck.conventions import Convention
from gatecheck.diagnosis.diagnose import diagnose as find_causes
from gatecheck.diagnosis.result import Diagnosis
from gatecheck.diagnosis.undetected import undetected_faults
from gatecheck.errors import CaseFileError, GatecheckError, TargetError, TargetLostError, UsageError
from gatecheck.implementation import Subject, any_subject
from gatecheck.implementation.custom import CustomSubject
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
    options = AuditOptions(profile, tuple(only), int(seed), expected_failures, diagnose, progress)
    return run_audit(make_subject(target, cell=cell, convention=convention), options)


def make_subject(
    target: Any, *, cell: str | Cell | None = None, convention: str | Convention | None = None
) -> Subject | CustomSubject:
    """Return a target as a subject, with its convention inferred if it declares none.

    Parameters
    ----------
    target, cell, convention
        See :func:`audit`; the target may be a subject.

    Raises
    ------
    UsageError, TargetError
        See :func:`audit`.
    """
    made = any_subject(target, cell=cell, convention=convention)
    if isinstance(made, CustomSubject):
        return made
    try:
        return resolve_convention(made)
    except TargetLostError as lost:
        note = (
            f"its convention could not be found, since {lost}; its arrays are taken to be canonical"
        )
        return replace(made, convention_assumed=False, notes=(*made.notes, note))


def n_custom_examples(profile: str) -> int:
    """Return the number of examples of a custom cell in a profile.

    Every oracle is tried on each, which is slow.
    """
    return max(2, PROFILES[profile] // 6)


def run_audit(implementation: Subject | CustomSubject, options: AuditOptions) -> AuditResult:
    """Audit a subject, which is called in this process or in one of its own.

    Parameters
    ----------
    implementation
        The subject, with its convention.
    options
        What is audited; see :func:`audit`, also for the errors.

    Raises
    ------
    KeyboardInterrupt
        If the audit is interrupted; its attribute ``partial_result`` has what is known.
    """
    check_profile(options.profile)
    chosen = select_properties(options.only)
    unknown = set(implementation.expected_failures) - set(REGISTRY)
    if unknown:
        raise TargetError(
            f"{implementation.name} expects failures of properties that do not exist: "
            f"{', '.join(sorted(unknown))}"
        )
    expected_by_target = sorted(implementation.expected_failures)
    implementation = with_expected_failures(implementation, options.expected_failures)
    skipped = {c.name: reason for c in chosen if (reason := why_not_applicable(c, implementation))}
    tallies: dict[str, Tally] = {}

    def result(interrupted: bool) -> AuditResult:
        return AuditResult(
            implementation.name,
            implementation.cell.name,
            implementation.convention.name,
            options.profile,
            options.seed,
            [*implementation.limitations, *implementation.session.notes()],
            [
                untried_result(c, skipped[c.name])
                if c.name in skipped
                else property_result(implementation, tallies.get(c.name, Tally(c)), interrupted)
                for c in chosen
            ],
            versions(*implementation.packages),
            expected_by_target=expected_by_target,
            interrupted=interrupted,
        )

    try:
        _try_properties(
            implementation, [c for c in chosen if c.name not in skipped], options, tallies
        )
    except KeyboardInterrupt as interrupt:
        vars(interrupt)["partial_result"] = result(interrupted=True)
        raise
    return _explain(implementation, result(interrupted=False), options)


def _try_properties(
    implementation: Subject | CustomSubject,
    properties: Iterable[Property],
    options: AuditOptions,
    tallies: dict[str, Tally],
) -> None:
    """Try properties, and look for smaller cases where they fail; add the tallies."""
    report = options.progress or ignore_progress
    check = wrap_bugs(partial(check_subject, implementation))
    done = total = 0

    def tick(now: int, of: int, label: str) -> None:
        nonlocal done, total
        done, total = now, of
        report(now, of, label)

    explore(
        implementation,
        properties,
        options.profile,
        options.seed,
        tick,
        check=check,
        into=tallies,
        cases_by_dtype=(
            implementation.examples(n_custom_examples(options.profile), options.seed)
            if isinstance(implementation, CustomSubject)
            else None
        ),
    )
    for tally in tallies.values():
        if tally.failure is not None and tally.prop.name not in implementation.expected_failures:
            report(done, total, f"{tally.prop.name}: looking for a smaller counterexample")
            shrink(implementation, tally, options.seed, check)


def _explain(
    implementation: Subject | CustomSubject, result: AuditResult, options: AuditOptions
) -> AuditResult:
    """Add proofs, faults that no case could detect, and causes of the findings."""
    if isinstance(implementation, CustomSubject):
        return result
    report = options.progress or ignore_progress
    notes = _undetected_note(implementation, options.profile, options.seed)
    if options.profile == PROOF_PROFILE and not options.only:
        proofs, unproven = prove(implementation, report)
        notes += unproven
        result = replace(result, proofs=proofs)
    result = replace(result, limitations=[*result.limitations, *notes])
    # A target that only timed out would time out again.
    if not (options.diagnose and result.count("failed", "crashed")):
        return result
    report(result.n_checks, result.n_checks, "looking for what explains the findings")
    try:
        return replace(result, diagnosis=find_causes(implementation, seed=options.seed))
    except GatecheckError as error:
        message = f"There is no diagnosis, since {error}"
    except Exception as error:  # the findings stand without it
        message = f"There is no diagnosis: {BUG_REPORT_REQUEST} {type(error).__name__}: {error}"
    return replace(result, diagnosis=Diagnosis(message=message))


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
    return run_replay(
        make_subject(target, cell=cell, convention=convention), path, expected_failures
    )


def run_replay(
    implementation: Subject | CustomSubject,
    path: str,
    expected_failures: Mapping[str, str] | None = None,
) -> PropertyResult:
    """Replay a case on a subject; see :func:`replay`, also for the errors."""
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
    if reason := why_not_applicable(chosen, implementation):
        raise UsageError(f"{chosen.name} does not apply to {implementation.name}: it {reason}")
    if case.dtype.name not in implementation.dtypes:
        raise UsageError(
            f"{path} holds a case in {case.dtype}, which {implementation.name} does not declare"
        )
    tally = Tally(chosen)
    tally.record(wrap_bugs(partial(check_subject, implementation)), case)
    return property_result(implementation, tally)
