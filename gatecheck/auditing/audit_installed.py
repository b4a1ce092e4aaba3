"""Audits of all installed targets, as many at a time as there are cores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gatecheck.auditing import selection
from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.isolation.leftovers import make_folder
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions, TargetOptions
from gatecheck.auditing.parallel import map_jobs
from gatecheck.auditing.result import AuditResult
from gatecheck.targets import loading

NamedTarget = tuple[str, str | None]
"""The name of a target, and its cell if the name leaves it open."""


def audit_installed(
    timeout: float,
    folder: str,
    *,
    options: AuditOptions,
    done: Callable[[int, int, AuditResult], None],
    workers: int | None = None,
) -> list[AuditResult]:
    """Audit our own cells and every supported framework that is installed.

    Parameters
    ----------
    timeout
        See :class:`gatecheck.auditing.isolation.process.Isolation`.
    folder
        Where counterexamples are written, as soon as their target is done.
    options
        Of each audit; see :func:`gatecheck.auditing.audit.run_audit` for the errors.
    done
        Called with the number done, the total, and the latest result.
    workers
        Number of processes; by default as many as there are cores that this process may use.
    """
    selection.check_profile(options.profile)
    selection.select_properties(options.only)  # raises before anything starts
    targets, number = loading.installed_targets(), 0

    def counted(target: NamedTarget, result: AuditResult) -> None:
        nonlocal number
        number += 1
        done(number, len(targets), result)

    # Created here: an interrupt ends the workers before they could remove it.
    with make_folder() as room:
        return map_jobs(
            _audit_target,
            targets,
            timeout,
            room,
            folder,
            options,
            workers=workers,
            done=counted,
            name=lambda target: target[0],
        )


def _audit_target(
    target: NamedTarget, timeout: float, scratch_dir: str, folder: str, options: AuditOptions
) -> AuditResult:
    name, cell = target
    with open_target(_shared_isolation(timeout, scratch_dir), name, TargetOptions(cell)) as opened:
        return run_audit(opened, options).save_counterexamples(folder)


@cache
def _shared_isolation(timeout: float, scratch_dir: str) -> Isolation:
    """Return one process for all targets, many of which need the same framework."""
    # Its supervisor ends it with this process, which a pool ends without any cleaning up.
    return Isolation(timeout, folder=scratch_dir)
