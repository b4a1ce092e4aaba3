"""A target in a process of its own: whatever it does there is a finding, and the audit goes on."""

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
"""How long a check may take, in seconds."""

STARTING_S = 60.0
"""How long loading a target and the first check may take at least, in seconds: frameworks are
imported, code is compiled.
"""

MEMORY = 0.75
"""Which share of the physical memory a target may have."""

GLIMPSE = 400
"""How many bytes of what a target printed are looked at."""

OURS = "builtin:"
"""Our own cells need no process of their own."""


class Isolation:
    """A process in which a target is loaded and checked; it is started when it is needed, and again
    when it was lost.

    Parameters
    ----------
    timeout
        How long a check may take, in seconds.
    memory
        How many bytes of data the process may have, where that can be limited; by default a share
        of the physical memory.
    folder
        Where it may write; by default where the system has temporary files.
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
        """What a target declares, without the target itself; parameters as of
        :func:`gatecheck.loading.loading.load`.

        Raises
        ------
        GatecheckError
            As there; and a TargetError if the process did not survive it.
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
                    f"its convention could not be found, since {lost}; its arrays are taken for canonical ones",
                ),
            )
        self._found = declared.convention, declared.cell
        return declared

    def ask(self, function: Callable[..., R], *arguments: Any) -> R:
        """What a function of a module returns in the process, where
        :func:`gatecheck.auditing.isolation.worker.loaded` is the target.

        Raises
        ------
        Exception
            What the function raised; a TargetLostError if the process was lost.
        """
        self._again()
        return self._ask(function, *arguments, within=max(self.timeout, STARTING_S))

    def _again(self) -> None:
        """Start and load again, if need be."""
        if self._process is not None and self._process.exitcode is not None:
            # what answered the last question was not the process that we started, but one that it
            # did
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
            As in this process; a TargetLostError if the other was lost, and then the next check
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
        """What to tell beside the findings: that the target printed, or that its memory was not
        limited.
        """
        printed = self._size() - self._printed_before
        out = [] if sys.platform == "linux" else ["its memory is not limited on this system"]
        if printed > 0:
            first = (self._printed(self._printed_before) or [""])[0]
            short = first[:60] + ("…" if len(first) > 60 else "")
            out.append(f"it printed {printed:,} bytes, which are not shown; they begin: {short!r}")
        return out

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
        # not the end of the pipe, which a process that it started may have inherited
        if ready == [self._process.sentinel]:
            raise TargetLostError(self._fate())
        if answer is None:
            place = self._place_when_ended()
            raise TargetTimeoutError(f"did not return within {within:g} s{place}")
        self._first = self._first and function is worker.load
        answer, said = answer
        for warning in said:
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
        """End the process and all that it started."""
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
        """How the process came to its end, which it has; the next question starts another."""
        self._process.join(1.0)
        code = self._process.exitcode
        self._end()
        if code is None:
            return f"it closed the connection to gatecheck{self._last_words()}"
        if code >= 0:
            return f"its process ended with exit status {code}{self._place()}{self._last_words()}"
        name, meaning = signal.Signals(-code).name, (signal.strsignal(-code) or "").lower()
        starved = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name} ({meaning}{starved}){self._place()}{self._last_words()}"

    def _place_when_ended(self) -> str:
        if os.name == "posix":
            # upon which it says where it stands, even in the middle of C code
            os.kill(self._process.pid, signal.SIGABRT)
            self._process.join(2.0)
        self._end()
        return self._place()

    def _place(self) -> str:
        """The innermost line of Python at which a signal ended the process, if it said so."""
        stack = (
            self._path(worker.STACK).read_text(errors="replace")
            if self._path(worker.STACK).exists()
            else ""
        )
        found = re.search(r'File "(.*)", line (\d+) in (\S+)', stack)
        return f", at {found[1]}, line {found[2]}, in {found[3]}" if found else ""

    def _last_words(self) -> str:
        """The last line that it printed while it was asked, if it did: an abort mostly says why."""
        printed = self._printed(max(self._printed_until_now, self._size() - GLIMPSE))
        return f", after it printed {printed[-1]!r}" if printed else ""

    def _printed(self, start: int) -> list[str]:
        """Lines of what it printed from a position on, without the empty ones."""
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
    """Audit what a command names: our own cells in this process, all others in one of their own.

    Parameters
    ----------
    isolation
        The process.
    target
        As of :func:`gatecheck.loading.loading.load`, and so are the errors.
    asked
        Its further arguments: ``cell``, ``convention``, ``device``.
    how
        As of :func:`gatecheck.auditing.audit.audited`.
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
    progress(0, 1, "activations of its own")
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
    """:func:`gatecheck.auditing.audit.replay` of what a command names, and notes; parameters as of
    :func:`audit`.
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
    # It would keep a folder of its own, which nobody removes where this process is ended with all
    # the others of a pool.
    return (
        "forkserver" in multiprocessing.get_all_start_methods()
        and multiprocessing.parent_process() is None
    )


def _preloaded() -> list[str]:
    """Our modules, which each new process then has from the beginning; frameworks, which adapters
    and contests import, cannot fork.
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
