"""Audit and replay of the target that a command names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gatecheck._util.typing import Progress
from gatecheck.auditing import audit as runner
from gatecheck.auditing.isolation import worker
from gatecheck.auditing.isolation.precompile import precompile_in_background
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.prove import prove, untried_proof
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.checking.budgets import use_disk_cache
from gatecheck.diagnosis.result import Diagnosis
from gatecheck.errors import GatecheckError
from gatecheck.implementation.custom import CustomSubject
from gatecheck.proofs.proof import Proof
from gatecheck.targets import loading

BUILTIN_PREFIX = "builtin:"
"""Prefix of our own cells, which need no separate process."""


def audit(
    isolation: Isolation,
    target: str,
    *,
    target_options: Mapping[str, str | None] | None = None,
    **options: Any,
) -> AuditResult:
    """Audit the target that a command names.

    Our own cells run in this process, all others in a separate one.

    Parameters
    ----------
    isolation
        The process.
    target
        See :func:`gatecheck.targets.loading.load`, also for the errors.
    target_options
        Further arguments of that function: ``cell``, ``convention``, ``device``.
    options
        Options of :func:`gatecheck.auditing.audit.run_audit`.
    """
    if target.startswith(BUILTIN_PREFIX):
        ours = loading.load(target, **target_options or {})
        with use_disk_cache(), precompile_in_background(ours.target):
            return runner.audit(ours, **options)
    declared = isolation.load(target, **target_options or {})
    if isinstance(declared, CustomSubject):
        number = runner.n_custom_examples(options.get("profile", "ci"))
        options = options | {
            "cases_by_dtype": isolation.call(worker.examples, number, options.get("seed", 0))
        }
    else:
        options = options | {
            "diagnose": partial(_diagnose, isolation),
            "prove": partial(prove, declared.cell, partial(_prove_activations, isolation)),
        }
    result = runner.run_audit(declared, isolation.check, isolation.package_versions, **options)
    return replace(result, limitations=[*result.limitations, *isolation.notes()])


def _prove_activations(isolation: Isolation, progress: Progress) -> list[Proof]:
    progress(0, 1, "its activations")
    try:
        return isolation.call(worker.activations)
    except GatecheckError as error:
        return [untried_proof("the activations of the target", error)]


def _diagnose(isolation: Isolation, seed: int) -> Diagnosis:
    try:
        return isolation.call(worker.diagnose, seed)
    except GatecheckError as error:
        return Diagnosis(message=f"There is no diagnosis, since {error}")


def replay(
    isolation: Isolation,
    target: str,
    path: str,
    *,
    target_options: Mapping[str, str | None] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> tuple[PropertyResult, list[str]]:
    """Replay a case on a target that a command names; return the result and notes.

    Parameters
    ----------
    isolation, target, target_options
        See :func:`audit`.
    path, expected_failures
        See :func:`gatecheck.auditing.audit.replay`.
    """
    if target.startswith(BUILTIN_PREFIX):
        return runner.replay(
            loading.load(target, **target_options or {}), path, expected_failures=expected_failures
        ), []
    declared = isolation.load(target, **target_options or {})
    return runner.run_replay(
        declared, isolation.check, path, expected_failures=expected_failures
    ), isolation.notes()
