"""The process of a target: calls of functions that a pipe requests.

It loads the target and tries properties on cases. A whole check is one call, so aliasing and
damage in place are seen as in the same process.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gatecheck import errors
from gatecheck._util.processes import end_with_parent
from gatecheck._util.versions import versions
from gatecheck.auditing.explore import check_subject, ignore_progress
from gatecheck.auditing.prove import ISOLATED_STRIDE, prove_activations
from gatecheck.auditing.selection import select_properties
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.checking.budgets import use_disk_cache
from gatecheck.checking.evidence import Evidence, Violation
from gatecheck.checking.registry import REGISTRY
from gatecheck.conventions import Convention
from gatecheck.diagnosis import diagnose as diagnosis
from gatecheck.diagnosis.result import Diagnosis
from gatecheck.errors import GatecheckWarning, TargetCrashError, TargetLostError, route_warnings
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.implementation.custom_case import CustomCase
from gatecheck.inference.resolve import resolve_convention
from gatecheck.proofs.proof import Proof
from gatecheck.targets import loading

OUTPUT, STACK = "output", "stack"
"""Files of the process: the target's output, and its stack at a signal."""

OURS = frozenset({Violation, *(getattr(errors, name) for name in errors.__all__)})
"""Exceptions that a process without the target can raise again."""

LARGEST_FILE = 2**30
"""Size limit of a file, in bytes, so that endless output does not fill the disk."""


@dataclass(frozen=True)
class RemoteFailure:
    """An exception that can be sent.

    Attributes
    ----------
    error_type
        The nearest class of ours, since a class of the target exists only where the target does.
    message
        The message.
    attributes
        Further attributes of a Violation.
    has_cause
        True if another exception was its cause.
    bug_traceback
        The traceback of an exception that is not one of ours, else empty.
    """

    error_type: type[Exception]
    message: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    has_cause: bool = False
    bug_traceback: str = ""

    def to_exception(self) -> Exception:
        """Return the exception."""
        error = self.error_type(self.message)
        vars(error).update(self.attributes)
        error.__cause__ = RuntimeError("raised in another process") if self.has_cause else None
        return error


def to_failure(error: BaseException) -> RemoteFailure:
    """Return an exception raised here in the form in which it is sent."""
    # Ours: an exception of the target is a TargetCrashError by now.
    if isinstance(error, MemoryError):
        return RemoteFailure(TargetLostError, "its process ran out of memory")
    # Raised by the target, since Ctrl-C does not reach this process.
    if not isinstance(error, Exception):
        return RemoteFailure(
            TargetCrashError,
            f"the target raised {type(error).__name__}: {error}".rstrip(": "),
            has_cause=True,
        )
    kind = next((k for k in type(error).__mro__ if k in OURS), None)
    if kind is None:
        return RemoteFailure(
            RuntimeError, "", bug_traceback="".join(traceback.format_exception(error))
        )
    attributes = {k: getattr(error, k) for k in ("ratio", "wrong", "right") if hasattr(error, k)}
    return RemoteFailure(kind, str(error), attributes, error.__cause__ is not None)


# ---- calls

_subject: Subject | CustomSubject | None = None


def loaded_subject() -> Subject | CustomSubject:
    """Return the subject that was loaded last in this process."""
    if _subject is None:
        raise RuntimeError("nothing is loaded")
    return _subject


def load(
    target: str, target_options: Mapping[str, str | None]
) -> tuple[Subject | CustomSubject, dict[str, str]]:
    """Load a target; return what it declares, and the versions of its packages."""
    global _subject
    select_properties()
    if (jax := sys.modules.get("jax")) is not None:
        # JAX keeps the programs of the last target, each in about 25 memory mappings; a process
        # may have 65,530.
        jax.clear_caches()
    _subject = loading.load(target, **target_options)
    return replace(_subject, target=None), versions(*getattr(_subject.target, "packages", ()))


def infer_convention() -> Subject | CustomSubject:
    """Infer the convention if the target declares none; return what it declares."""
    global _subject
    if isinstance(_subject, Subject):
        _subject = resolve_convention(_subject)
    return replace(loaded_subject(), target=None)


def set_convention(convention: Convention, cell: Cell) -> Subject | CustomSubject:
    """Set a convention and a cell inferred before; return what the target declares."""
    global _subject
    if isinstance(_subject, Subject):
        _subject = replace(_subject, convention=convention, cell=cell)
    return replace(loaded_subject(), target=None)


def examples(number: int, seed: int) -> dict[str, list[CustomCase]]:
    """Return the examples of a custom cell."""
    subject = loaded_subject()
    return subject.examples(number, seed) if isinstance(subject, CustomSubject) else {}


def activations() -> list[Proof]:
    """Return proofs of the activations that the target exposes, on some floats."""
    subject = loaded_subject()
    return prove_activations(
        subject.target, subject.name, subject.dtypes, ignore_progress, ISOLATED_STRIDE
    )


def diagnose(seed: int) -> Diagnosis:
    """Return what explains the findings."""
    subject = loaded_subject()
    return diagnosis.diagnose(subject, seed=seed) if isinstance(subject, Subject) else Diagnosis()


def check(name: str, case: Case) -> Evidence:
    """Try a property of the target on a case."""
    return check_subject(loaded_subject(), REGISTRY[name], case)  # type: ignore[arg-type]


# ---- the process


def serve(connection: Connection, folder: str, memory: int) -> None:
    """Answer calls until the other end is closed.

    Parameters
    ----------
    connection
        Receives functions of a module with their arguments, and sends results or failures, each
        with the warnings of ours that it caused.
    folder
        Folder of :data:`OUTPUT` and :data:`STACK`.
    memory
        Bytes of data that this process may have, where that can be limited.
    """
    _detach()
    _redirect(Path(folder))
    _limit(memory)
    messages: list[str] = []
    warnings.simplefilter("ignore")  # overrides the user's environment
    warnings.simplefilter("always", GatecheckWarning)
    route_warnings(messages.append)
    pid = os.getpid()
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        answer: Any
        try:
            with use_disk_cache():
                answer = function(*arguments)
        except BaseException as error:
            answer = to_failure(error)
        # In a fork that the target made of this process, which must not answer.
        if os.getpid() != pid:
            os._exit(0)
        _flush()
        connection.send((answer, messages))
        messages.clear()


def _detach() -> None:
    """Detach from the terminal's signals, and end with the parent process."""
    if hasattr(os, "setsid"):
        os.setsid()
    parent = parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        import fcntl

        # A thread would never run while code holds the GIL. The kernel sends SIGIO when the other
        # end is closed.
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(
            parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC
        )
    end_with_parent()


def _redirect(folder: Path) -> None:
    """Redirect the output of Python and C, and the place of a crash, into files."""
    out = os.open(folder / OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(out, number)
    os.close(out)
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(
            sys,
            name,
            os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False),
        )
    faulthandler.enable((folder / STACK).open("w"), all_threads=False)


def _flush() -> None:
    if os.name == "posix":
        # C buffers its output to a file, and loses it when the process dies.
        ctypes.CDLL(None).fflush(None)


def _limit(memory: int) -> None:
    if os.name != "posix":
        return
    import resource

    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: LARGEST_FILE}
    if sys.platform == "linux":
        limits[resource.RLIMIT_DATA] = memory
    for limit, wanted in limits.items():
        hard = resource.getrlimit(limit)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (allowed, allowed))
