"""Everything that is installed, audited; as many at a time as there are cores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing.util import Finalize
from typing import Any

from gatecheck.auditing import audit
from gatecheck.auditing.isolation import process as isolation
from gatecheck.auditing.parallel import on_all
from gatecheck.auditing.result import AuditResult
from gatecheck.targets import loading

Target = tuple[str, str | None]
"""What it is called, and its cell where that is open."""


def audit_installed(
    timeout: float,
    folder: str,
    *,
    done: Callable[[int, int, AuditResult], None],
    workers: int | None = None,
    **how: Any,
) -> list[AuditResult]:
    """Audit our own cells and every supported framework that is installed.

    Parameters
    ----------
    timeout
        As of :class:`gatecheck.auditing.isolation.process.Isolation`.
    folder
        Where counterexamples are written, as soon as their target is done.
    done
        Called with how many are done, how many there are, and the result of the last one.
    workers
        How many at a time; by default as many as there are cores that this process may use.
    how
        As of :func:`gatecheck.auditing.audit.audited`, and so are the errors.
    """
    audit.check_profile(how.get("profile", "ci"))
    audit.claims(how.get("only", ()))  # what is wrong is told before anything starts
    targets, number = loading.installed(), 0

    def counted(target: Target, result: AuditResult) -> None:
        nonlocal number
        number += 1
        done(number, len(targets), result)

    # Here and not where it is used: an interrupt ends the others before they could clear up.
    with tempfile.TemporaryDirectory(prefix="gatecheck-", ignore_cleanup_errors=True) as room:
        return on_all(_audited, targets, timeout, room, folder, how, workers=workers, done=counted)


def _audited(
    target: Target, timeout: float, room: str, folder: str, how: dict[str, Any]
) -> AuditResult:
    name, cell = target
    return isolation.audit(
        _process(timeout, room), name, asked={"cell": cell}, **how
    ).saving_counterexamples(folder)


@cache
def _process(timeout: float, room: str) -> isolation.Isolation:
    """One for all targets, of which many need the same framework."""
    process = isolation.Isolation(timeout, folder=room)
    # What a pool has started ends without atexit, and would wait for this one for ever.
    Finalize(process, process.close, exitpriority=0)
    return process
