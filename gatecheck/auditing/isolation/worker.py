"""What runs in the process of a target: it loads the target, tries properties on cases, and answers
over a pipe.

A whole check is one question, so aliasing and damage in place are seen as in a process of one's
own.
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
from gatecheck.auditing.audit import claims
from gatecheck.auditing.explore import silent, tried
from gatecheck.auditing.prove import STRIDE_ELSEWHERE, of_activations
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.checking.budgets import kept
from gatecheck.checking.evidence import Evidence, Violation
from gatecheck.checking.registry import REGISTRY
from gatecheck.conventions import Convention
from gatecheck.diagnosis import diagnose as diagnosis
from gatecheck.diagnosis.diagnose import Diagnosis
from gatecheck.errors import GatecheckWarning, TargetCrashError, TargetLostError, hear
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomCase, CustomSubject
from gatecheck.inference.resolve import settled
from gatecheck.proofs.proof import Proof
from gatecheck.targets import loading

OUTPUT, STACK = "output", "stack"
"""Files in the folder of a child: what the target printed, and where it stood when a signal ended
it.
"""

OURS = frozenset({Violation, *(getattr(errors, name) for name in errors.__all__)})
"""Exceptions that a process without the target can raise again."""

LARGEST_FILE = 2**30
"""A target that prints without end should not fill the disk, in bytes."""


@dataclass(frozen=True)
class Failure:
    """An exception that can be sent.

    Attributes
    ----------
    kind
        The nearest class of ours, since one of the target's exists only where the target does.
    message
        What it says.
    attributes
        What else a Violation knows.
    crashed
        Whether another exception was its cause.
    bug
        The traceback of an exception that is none of ours, else empty.
    """

    kind: type[Exception]
    message: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    crashed: bool = False
    bug: str = ""

    def exception(self) -> Exception:
        """It again."""
        made = self.kind(self.message)
        vars(made).update(self.attributes)
        made.__cause__ = RuntimeError("raised in another process") if self.crashed else None
        return made


def failure(error: BaseException) -> Failure:
    """Something that was raised here, as it is sent."""
    # of ours: what the target raises is a crash of the target by now
    if isinstance(error, MemoryError):
        return Failure(TargetLostError, "its process ran out of memory")
    # none but the target interrupts: Ctrl-C does not come here
    if not isinstance(error, Exception):
        return Failure(
            TargetCrashError,
            f"the target raised {type(error).__name__}: {error}".rstrip(": "),
            crashed=True,
        )
    kind = next((k for k in type(error).__mro__ if k in OURS), None)
    if kind is None:
        return Failure(RuntimeError, "", bug="".join(traceback.format_exception(error)))
    known = {k: getattr(error, k) for k in ("ratio", "wrong", "right") if hasattr(error, k)}
    return Failure(kind, str(error), known, error.__cause__ is not None)


# ---- what can be asked

_subject: Subject | CustomSubject | None = None


def loaded() -> Subject | CustomSubject:
    """What was loaded last, in this process."""
    if _subject is None:
        raise RuntimeError("nothing is loaded")
    return _subject


def load(
    target: str, asked: Mapping[str, str | None]
) -> tuple[Subject | CustomSubject, dict[str, str]]:
    """Load a target for the checks that follow: what it declares, and the versions of what it
    computes with.
    """
    global _subject
    claims()
    if (jax := sys.modules.get("jax")) is not None:
        # JAX keeps what it compiled for the last target, each program in some 25 mappings, of which
        # a process may have 65,530.
        jax.clear_caches()
    _subject = loading.load(target, **asked)
    return replace(_subject, target=None), versions(*getattr(_subject.target, "packages", ()))


def settle() -> Subject | CustomSubject:
    """What it declares, with the convention that it is found to follow if it declares none."""
    global _subject
    if isinstance(_subject, Subject):
        _subject = settled(_subject)
    return replace(loaded(), target=None)


def follow(convention: Convention, cell: Cell) -> Subject | CustomSubject:
    """What it declares, audited from now on in a convention, and as a cell, that were found before."""
    global _subject
    if isinstance(_subject, Subject):
        _subject = replace(_subject, convention=convention, cell=cell)
    return replace(loaded(), target=None)


def examples(number: int, seed: int) -> dict[str, list[CustomCase]]:
    """The examples of a cell of its own."""
    found = loaded()
    return found.examples(number, seed) if isinstance(found, CustomSubject) else {}


def activations() -> list[Proof]:
    """What is proven of the activations that it shows, if it does, on a part of all floats."""
    found = loaded()
    return of_activations(found.target, found.name, found.dtypes, silent, STRIDE_ELSEWHERE)


def diagnose(seed: int) -> Diagnosis:
    """What explains the findings."""
    found = loaded()
    return diagnosis.diagnose(found, seed=seed) if isinstance(found, Subject) else Diagnosis()


def check(name: str, case: Case) -> Evidence:
    """Try a property of the target on a case."""
    return tried(loaded(), REGISTRY[name], case)  # type: ignore[arg-type]


# ---- the process


def serve(connection: Connection, folder: str, memory: int) -> None:
    """Answer questions until the other end is closed.

    Parameters
    ----------
    connection
        Gives functions of a module and their arguments, and takes results or failures, each with
        the warnings of ours that it gave rise to.
    folder
        For :data:`OUTPUT` and :data:`STACK`.
    memory
        How many bytes of data this process may have, where that can be limited.
    """
    _detach()
    _redirect(Path(folder))
    _limit(memory)
    said: list[str] = []
    warnings.simplefilter("ignore")  # whatever the user's environment makes of them
    warnings.simplefilter("always", GatecheckWarning)
    hear(said.append)
    asked = os.getpid()
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        answer: Any
        try:
            with kept():
                answer = function(*arguments)
        except BaseException as error:
            answer = failure(error)
        # a copy that the target made of this process; it does not answer in its place
        if os.getpid() != asked:
            os._exit(0)
        _flush()
        connection.send((answer, said))
        said.clear()


def _detach() -> None:
    """No signal of the terminal reaches this process, and it ends with the one that started it."""
    if hasattr(os, "setsid"):
        os.setsid()
    parent = parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        import fcntl

        # A thread would never run beside code that holds the interpreter's lock. The kernel sends
        # SIGIO when the other end is closed.
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(
            parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC
        )
    end_with_parent()


def _redirect(folder: Path) -> None:
    """What Python or C prints goes into a file, and so does the place of a crash."""
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
        # C buffers what it prints into a file, and would lose it with the process
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
