"""A separate process for a target, whose crash or timeout is an answer too."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gatecheck._util.processes import ignore_interrupts
from gatecheck.auditing.isolation import worker
from gatecheck.auditing.selection import PROPERTY_MODULES
from gatecheck.cases import Case
from gatecheck.checking.evidence import Evidence
from gatecheck.checking.registry import Property
from gatecheck.errors import (
    GatecheckError,
    GatecheckWarning,
    TargetError,
    TargetLostError,
    TargetTimeoutError,
)

R = TypeVar("R")

TIMEOUT_S = 60.0
"""Time limit of a check, in seconds."""

STARTUP_TIMEOUT_S = 60.0
"""Minimum time limit for loading a target and for the first check, in seconds.

Frameworks are imported then, and code is compiled.
"""

MEMORY_SHARE = 0.75
"""Share of the physical memory that a target may use."""

OUTPUT_EXCERPT_BYTES = 400
"""Number of bytes read of a target's output."""


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
        self.timeout, self.memory = timeout, memory or _default_memory_limit()
        self.package_versions: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="gatecheck-", dir=folder)
        self._context: Any = multiprocessing.get_context(
            "forkserver" if _can_use_forkserver() else "spawn"
        )
        self._process: Any = None
        self._connection: Any = None
        self._resolved_convention: tuple[Any, Any] | None = None
        self._load_arguments: tuple[str, dict[str, str | None]] | None = None
        self._is_first_call = True
        self._output_size_before_load = self._output_size_before_call = 0

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

    def load(self, target: str, **target_options: str | None) -> Any:
        """Return what a target declares, without the target itself.

        Parameters
        ----------
        target, target_options
            See :func:`gatecheck.targets.loading.load`.

        Raises
        ------
        GatecheckError
            See there; and a TargetError if the process died.
        """
        self._load_arguments, self._resolved_convention, self._output_size_before_load = (
            (target, target_options),
            None,
            self._output_size(),
        )
        declared = self._load_target()
        if not getattr(declared, "convention_assumed", False):
            return declared
        try:
            declared = self.call(worker.infer_convention)
        except TargetLostError as lost:
            return replace(
                declared,
                notes=(
                    f"its convention could not be found, since {lost}; "
                    "its arrays are taken to be canonical",
                ),
            )
        self._resolved_convention = declared.convention, declared.cell
        return declared

    def call(self, function: Callable[..., R], *arguments: Any) -> R:
        """Return the result of a function of a module that is called in the process.

        There, :func:`gatecheck.auditing.isolation.worker.loaded_subject` is the target.

        Raises
        ------
        Exception
            What the function raised; a TargetLostError if the process was lost.
        """
        self._ensure_loaded()
        return self._call(function, *arguments, within=max(self.timeout, STARTUP_TIMEOUT_S))

    def _ensure_loaded(self) -> None:
        """Start the process and load the target again, if necessary."""
        if self._process is not None and self._process.exitcode is not None:
            # The last answer came from a process that the target's process had started.
            self._end()
        if self._process is None:
            self._load_target()

    def _load_target(self) -> Any:
        if self._load_arguments is None:
            raise TargetError("nothing was loaded")
        target, asked = self._load_arguments
        try:
            declared, self.package_versions = self._call(
                worker.load, target, asked, within=max(self.timeout, STARTUP_TIMEOUT_S)
            )
            if self._resolved_convention is not None:
                self._call(worker.set_convention, *self._resolved_convention, within=self.timeout)
        except TargetTimeoutError as lost:
            raise TargetError(f"loading {target} {lost}; give it longer by --timeout") from lost
        except TargetLostError as lost:
            raise TargetError(f"loading {target}: {lost}") from lost
        return declared

    def check(self, prop: Property, case: Case) -> Evidence:
        """Try a property on a case.

        Raises
        ------
        Violation, TargetError
            As in this process; a TargetLostError if the process was lost. The next check then
            starts another.
        """
        try:
            self._ensure_loaded()
        except GatecheckError as error:
            raise TargetLostError(
                f"it could not be loaded again after it was lost: {error}"
            ) from error
        return self._call(
            worker.check,
            prop.name,
            case,
            within=max(self.timeout, STARTUP_TIMEOUT_S) if self._is_first_call else self.timeout,
        )

    def notes(self) -> list[str]:
        """Return notes that are not findings.

        They state that the target printed, or that its memory was not limited.
        """
        printed = self._output_size() - self._output_size_before_load
        notes = [] if sys.platform == "linux" else ["its memory is not limited on this system"]
        if printed > 0:
            first = (self._output_lines(self._output_size_before_load) or [""])[0]
            excerpt = first[:60] + ("…" if len(first) > 60 else "")
            notes.append(
                f"it printed {printed:,} bytes, which are not shown; they begin: {excerpt!r}"
            )
        return notes

    # ---- the process

    def _call(self, function: Callable[..., R], *arguments: Any, within: float) -> R:
        if self._process is None:
            self._start()
        self._output_size_before_call = self._output_size()
        try:
            self._connection.send((function, arguments))
            ready = wait([self._connection, self._process.sentinel], within)
            answer = self._connection.recv() if self._connection in ready else None
        except (EOFError, OSError):
            raise TargetLostError(self._describe_end()) from None
        except (
            BaseException
        ):  # an interrupt: what comes over the pipe would be the answer to another question
            self._end()
            raise
        # The end of the pipe is not a sign: a process that the target started may hold it.
        if ready == [self._process.sentinel]:
            raise TargetLostError(self._describe_end())
        if answer is None:
            place = self._kill_and_locate()
            raise TargetTimeoutError(f"did not return within {within:g} s{place}")
        self._is_first_call = self._is_first_call and function is worker.load
        answer, messages = answer
        for warning in messages:
            warnings.warn(warning, GatecheckWarning, stacklevel=2)
        if not isinstance(answer, worker.RemoteFailure):
            result: R = answer
            return result
        if answer.bug_traceback:
            raise RuntimeError(f"in the process of the target:\n{answer.bug_traceback}")
        if issubclass(answer.error_type, TargetLostError):
            self._end()
        raise answer.to_exception()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        process = self._context.Process(
            target=worker.serve, args=(theirs, self._folder.name, self.memory)
        )
        if self._context.get_start_method() == "forkserver":
            self._context.set_forkserver_preload(_modules_to_preload())
        with ignore_interrupts():
            process.start()
            self._process = process
        theirs.close()
        self._is_first_call = True

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

    def _describe_end(self) -> str:
        """Describe how the process ended; the next call starts another."""
        self._process.join(1.0)
        code = self._process.exitcode
        self._end()
        if code is None:
            return f"it closed the connection to gatecheck{self._last_output_line()}"
        if code >= 0:
            where = f"{self._crash_location()}{self._last_output_line()}"
            return f"its process ended with exit status {code}{where}"
        name, meaning = signal.Signals(-code).name, (signal.strsignal(-code) or "").lower()
        memory_hint = ", perhaps out of memory" if name == "SIGKILL" else ""
        return (
            f"its process was ended by {name} ({meaning}{memory_hint})"
            f"{self._crash_location()}{self._last_output_line()}"
        )

    def _kill_and_locate(self) -> str:
        if os.name == "posix":
            # Its handler writes the current line, even in the middle of C code.
            os.kill(self._process.pid, signal.SIGABRT)
            self._process.join(2.0)
        self._end()
        return self._crash_location()

    def _crash_location(self) -> str:
        """Return the innermost Python line at which a signal ended the process."""
        stack = (
            self._path(worker.STACK).read_text(errors="replace")
            if self._path(worker.STACK).exists()
            else ""
        )
        line = re.search(r'File "(.*)", line (\d+) in (\S+)', stack)
        return f", at {line[1]}, line {line[2]}, in {line[3]}" if line else ""

    def _last_output_line(self) -> str:
        """Return the last line printed during the call, which often explains an abort."""
        lines = self._output_lines(
            max(self._output_size_before_call, self._output_size() - OUTPUT_EXCERPT_BYTES)
        )
        return f", after it printed {lines[-1]!r}" if lines else ""

    def _output_lines(self, start: int) -> list[str]:
        """Return non-empty lines of the output from a position on."""
        if not self._path(worker.OUTPUT).exists():
            return []
        with open(self._path(worker.OUTPUT), "rb") as file:
            file.seek(start)
            return [
                line
                for line in file.read(OUTPUT_EXCERPT_BYTES).decode("utf-8", "replace").splitlines()
                if line.strip()
            ]

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def _output_size(self) -> int:
        return self._path(worker.OUTPUT).stat().st_size if self._path(worker.OUTPUT).exists() else 0


def _can_use_forkserver() -> bool:
    # Its folder would be left behind where a pool ends this process with all others.
    return (
        "forkserver" in multiprocessing.get_all_start_methods()
        and multiprocessing.parent_process() is None
    )


def _modules_to_preload() -> list[str]:
    """Return our modules, which each new process then has from the beginning.

    Frameworks cannot fork, and are imported by adapters and benchmarks, so these are left out.
    """
    names = [
        n
        for n in sys.modules
        if n.partition(".")[0] == "gatecheck" and not {"adapters", "bench"} & {*n.split(".")}
    ]
    return [*names, *(f"gatecheck.properties.{module}" for module in PROPERTY_MODULES)]


def _default_memory_limit() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return int(MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
