"""Subjects of the targets that commands name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from gatecheck.auditing.audit import make_subject
from gatecheck.auditing.isolation.precompile import precompile_in_background
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.options import AS_DECLARED, TargetOptions
from gatecheck.checking.budgets import use_disk_cache
from gatecheck.implementation import InProcess, Subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.targets import loading


@contextmanager
def open_target(
    isolation: Isolation, target: str, options: TargetOptions = AS_DECLARED
) -> Iterator[Subject | CustomSubject]:
    """Return the subject of the target that a command names, with its convention.

    Our own cells are called in this process, all others in a separate one. Budgets are kept on
    disk while in this context.

    Parameters
    ----------
    isolation
        The session.
    target, options
        See :func:`gatecheck.targets.loading.load_implementation`, also for the errors.
    """
    with use_disk_cache():
        if not loading.is_builtin(target):
            yield make_subject(isolation.load(target, options))
            return
        ours = loading.load(target, **options._asdict())
        with precompile_in_background(cast(InProcess, ours.session).target):
            yield make_subject(ours)
