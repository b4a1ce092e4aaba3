"""Audits of a target in a separate process, which survive whatever it does."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gatecheck._util.processes import interrupts_ignored
from gatecheck._util.typing import Progress
from gatecheck.auditing import audit as runner
from gatecheck.auditing.isolation import worker
from gatecheck.auditing.isolation.precompile import compiling_beside
from gatecheck.auditing.prove import not_tried, proven
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.cases import Case
from gatecheck.checking.budgets import kept
from gatecheck.checking.evidence import Evidence
from gatecheck.checking.registry import Claim
from gatecheck.diagnosis.diagnose import Diagnosis
from gatecheck.errors import (
    GatecheckError,
    GatecheckWarning,
    TargetError,
    TargetLostError,
    TargetTimeoutError,
)
from gatecheck.implementation.custom import CustomSubject
from gatecheck.proofs.proof import Proof
from gatecheck.targets import loading

R = TypeVar("R")

TIMEOUT_S = 60.0
"""Time limit of a check, in seconds."""

STARTING_S = 60.0
"""Minimum time limit for loading a target and for the first check, in seconds.

Frameworks are imported then, and code is compiled.
"""

MEMORY = 0.75
"""Share of the physical memory that a target may use."""

GLIMPSE = 400
"""Number of bytes read of a target's output."""

OURS = "builtin:"
"""Prefix of our own cells, which need no separate process."""


class Isolation:
    """A process in which a target is loaded and checked.

    It is started on demand, and again after it was lost.

    Parameters
    ----------
    timeout
        Time limit of a check, in seconds.
    memory
        Bytes of data that the process may have, where that can be limited; by default a share of
        the physical memory.
    folder
        Where it may write; by default the system's folder of temporary files.
    """

    def __init__(
        self, timeout: float = TIMEOUT_S, memory: int | None = None, folder: str | None = None
    ) -> None:
        self.timeout, self.memory = timeout, memory or _physical_share()
        self.made_with: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="gatecheck-", dir=folder)
        self._context: Any = multiprocessing.get_context("forkserver" if _forkserver() else "spawn")
        self._process: Any = None
        self._connection: Any = None
        self._found: tuple[Any, Any] | None = None
        self._loaded: tuple[str, dict[str, str | None]] | None = None
        self._first = True
        self._printed_before = self._printed_until_now = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()
        self._folder.cleanup()

    def load(self, target: str, **asked: str | None) -> Any:
        """Return what a target declares, without the target itself.

        Parameters
        ----------
        target, asked
            See :func:`gatecheck.targets.loading.load`.

        Raises
        ------
        GatecheckError
            See there; and a TargetError if the process died.
        """
        self._loaded, self._found, self._printed_before = (target, asked), None, self._size()
        declared = self._load()
        if not getattr(declared, "undeclared", False):
            return declared
        try:
            declared = self.ask(worker.settle)
        except TargetLostError as lost:
            return replace(
                declared,
                notes=(
                    f"its convention could not be found, since {lost}; "
                    "its arrays are taken to be canonical",
                ),
            )
        self._found = declared.convention, declared.cell
        return declared

    def ask(self, function: Callable[..., R], *arguments: Any) -> R:
        """Return the result of a function of a module that is called in the process.

        There, :func:`gatecheck.auditing.isolation.worker.loaded` is the target.

        Raises
        ------
        Exception
            What the function raised; a TargetLostError if the process was lost.
        """
        self._again()
        return self._ask(function, *arguments, within=max(self.timeout, STARTING_S))

    def _again(self) -> None:
        """Start the process and load the target again, if necessary."""
        if self._process is not None and self._process.exitcode is not None:
            # The last answer came from a process that the target's process had started.
            self._end()
        if self._process is None:
            self._load()

    def _load(self) -> Any:
        if self._loaded is None:
            raise TargetError("nothing was loaded")
        target, asked = self._loaded
        try:
            declared, self.made_with = self._ask(
                worker.load, target, asked, within=max(self.timeout, STARTING_S)
            )
            if self._found is not None:
                self._ask(worker.follow, *self._found, within=self.timeout)
        except TargetTimeoutError as lost:
            raise TargetError(f"loading {target} {lost}; give it longer by --timeout") from lost
        except TargetLostError as lost:
            raise TargetError(f"loading {target}: {lost}") from lost
        return declared

    def check(self, claim: Claim, case: Case) -> Evidence:
        """Try a property on a case.

        Raises
        ------
        Violation, TargetError
            As in this process; a TargetLostError if the process was lost. The next check then
            starts another.
        """
        try:
            self._again()
        except GatecheckError as error:
            raise TargetLostError(
                f"it could not be loaded again after it was lost: {error}"
            ) from error
        return self._ask(
            worker.check,
            claim.name,
            case,
            within=max(self.timeout, STARTING_S) if self._first else self.timeout,
        )

    def notes(self) -> list[str]:
        """Return notes that are not findings.

        They state that the target printed, or that its memory was not limited.
        """
        printed = self._size() - self._printed_before
        notes = [] if sys.platform == "linux" else ["its memory is not limited on this system"]
        if printed > 0:
            first = (self._printed(self._printed_before) or [""])[0]
            excerpt = first[:60] + ("…" if len(first) > 60 else "")
            notes.append(
                f"it printed {printed:,} bytes, which are not shown; they begin: {excerpt!r}"
            )
        return notes

    # ---- the process

    def _ask(self, function: Callable[..., R], *arguments: Any, within: float) -> R:
        if self._process is None:
            self._start()
        self._printed_until_now = self._size()
        try:
            self._connection.send((function, arguments))
            ready = wait([self._connection, self._process.sentinel], within)
            answer = self._connection.recv() if self._connection in ready else None
        except (EOFError, OSError):
            raise TargetLostError(self._fate()) from None
        except (
            BaseException
        ):  # an interrupt: what comes over the pipe would be the answer to another question
            self._end()
            raise
        # The end of the pipe is not a sign: a process that the target started may hold it.
        if ready == [self._process.sentinel]:
            raise TargetLostError(self._fate())
        if answer is None:
            place = self._place_when_ended()
            raise TargetTimeoutError(f"did not return within {within:g} s{place}")
        self._first = self._first and function is worker.load
        answer, messages = answer
        for warning in messages:
            warnings.warn(warning, GatecheckWarning, stacklevel=2)
        if not isinstance(answer, worker.Failure):
            result: R = answer
            return result
        if answer.bug:
            raise RuntimeError(f"in the process of the target:\n{answer.bug}")
        if issubclass(answer.kind, TargetLostError):
            self._end()
        raise answer.exception()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        process = self._context.Process(
            target=worker.serve, args=(theirs, self._folder.name, self.memory)
        )
        if self._context.get_start_method() == "forkserver":
            self._context.set_forkserver_preload(_preloaded())
        with interrupts_ignored():
            process.start()
            self._process = process
        theirs.close()
        self._first = True

    def _end(self) -> None:
        """End the process and all processes that it started."""
        if self._process is None:
            return
        self._process.kill()
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._process.close()
        self._connection.close()
        self._process = self._connection = None

    def _fate(self) -> str:
        """Describe how the process ended; the next call starts another."""
        self._process.join(1.0)
        code = self._process.exitcode
        self._end()
        if code is None:
            return f"it closed the connection to gatecheck{self._last_words()}"
        if code >= 0:
            return f"its process ended with exit status {code}{self._place()}{self._last_words()}"
        name, meaning = signal.Signals(-code).name, (signal.strsignal(-code) or "").lower()
        memory_hint = ", perhaps out of memory" if name == "SIGKILL" else ""
        return (
            f"its process was ended by {name} ({meaning}{memory_hint})"
            f"{self._place()}{self._last_words()}"
        )

    def _place_when_ended(self) -> str:
        if os.name == "posix":
            # Its handler writes the current line, even in the middle of C code.
            os.kill(self._process.pid, signal.SIGABRT)
            self._process.join(2.0)
        self._end()
        return self._place()

    def _place(self) -> str:
        """Return the innermost Python line at which a signal ended the process."""
        stack = (
            self._path(worker.STACK).read_text(errors="replace")
            if self._path(worker.STACK).exists()
            else ""
        )
        line = re.search(r'File "(.*)", line (\d+) in (\S+)', stack)
        return f", at {line[1]}, line {line[2]}, in {line[3]}" if line else ""

    def _last_words(self) -> str:
        """Return the last line printed during the call, which often explains an abort."""
        lines = self._printed(max(self._printed_until_now, self._size() - GLIMPSE))
        return f", after it printed {lines[-1]!r}" if lines else ""

    def _printed(self, start: int) -> list[str]:
        """Return non-empty lines of the output from a position on."""
        if not self._path(worker.OUTPUT).exists():
            return []
        with open(self._path(worker.OUTPUT), "rb") as file:
            file.seek(start)
            return [
                line
                for line in file.read(GLIMPSE).decode("utf-8", "replace").splitlines()
                if line.strip()
            ]

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def _size(self) -> int:
        return self._path(worker.OUTPUT).stat().st_size if self._path(worker.OUTPUT).exists() else 0


def audit(
    isolation: Isolation, target: str, *, asked: Mapping[str, str | None] | None = None, **how: Any
) -> AuditResult:
    """Audit the target that a command names.

    Our own cells run in this process, all others in a separate one.

    Parameters
    ----------
    isolation
        The process.
    target
        See :func:`gatecheck.targets.loading.load`, also for the errors.
    asked
        Further arguments of that function: ``cell``, ``convention``, ``device``.
    how
        Options of :func:`gatecheck.auditing.audit.audited`.
    """
    if target.startswith(OURS):
        ours = loading.load(target, **asked or {})
        with kept(), compiling_beside(ours.target):
            return runner.audit(ours, **how)
    declared = isolation.load(target, **asked or {})
    if isinstance(declared, CustomSubject):
        number = runner.own_examples(how.get("profile", "ci"))
        how = how | {"given": isolation.ask(worker.examples, number, how.get("seed", 0))}
    else:
        how = how | {
            "diagnose": partial(_diagnosed, isolation),
            "prove": partial(proven, declared.cell, partial(_tried, isolation)),
        }
    result = runner.audited(declared, isolation.check, isolation.made_with, **how)
    return replace(result, narrowings=[*result.narrowings, *isolation.notes()])


def _tried(isolation: Isolation, progress: Progress) -> list[Proof]:
    progress(0, 1, "its activations")
    try:
        return isolation.ask(worker.activations)
    except GatecheckError as error:
        return [not_tried("the activations of the target", error)]


def _diagnosed(isolation: Isolation, seed: int) -> Diagnosis:
    try:
        return isolation.ask(worker.diagnose, seed)
    except GatecheckError as error:
        return Diagnosis(says=f"There is no diagnosis, since {error}")


def replay(
    isolation: Isolation,
    target: str,
    path: str,
    *,
    asked: Mapping[str, str | None] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> tuple[PropertyResult, list[str]]:
    """Replay a case on a target that a command names; return the result and notes.

    Parameters
    ----------
    isolation, target, asked
        See :func:`audit`.
    path, expected_failures
        See :func:`gatecheck.auditing.audit.replay`.
    """
    if target.startswith(OURS):
        return runner.replay(
            loading.load(target, **asked or {}), path, expected_failures=expected_failures
        ), []
    declared = isolation.load(target, **asked or {})
    return runner.replayed(
        declared, isolation.check, path, expected_failures=expected_failures
    ), isolation.notes()


def _forkserver() -> bool:
    # Its folder would be left behind where a pool ends this process with all others.
    return (
        "forkserver" in multiprocessing.get_all_start_methods()
        and multiprocessing.parent_process() is None
    )


def _preloaded() -> list[str]:
    """Return our modules, which each new process then has from the beginning.

    Frameworks cannot fork, and are imported by adapters and benchmarks, so these are left out.
    """
    names = [
        n
        for n in sys.modules
        if n.partition(".")[0] == "gatecheck" and not {"adapters", "bench"} & {*n.split(".")}
    ]
    return [*names, *(f"gatecheck.properties.{module}" for module in runner.MODULES)]


def _physical_share() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return int(MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
