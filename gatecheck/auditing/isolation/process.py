"""Session in a target's own process, whose crash or timeout is an answer too."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gatecheck._util.processes import signal_name
from gatecheck.auditing.isolation.launch import Launcher, make_launcher
from gatecheck.auditing.isolation.leftovers import make_folder, remove_leftovers
from gatecheck.auditing.isolation.messages import Channel, PeerEndedError, ProtocolError
from gatecheck.auditing.isolation.worker import OUTPUT, STACK
from gatecheck.auditing.options import AS_DECLARED, TargetOptions
from gatecheck.errors import (
    GatecheckError,
    GatecheckWarning,
    TargetError,
    TargetLostError,
    TargetTimeoutError,
    printable,
)
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.implementation.declarations import check_overrides, subject_of
from gatecheck.implementation.session import ERRORS, Answer, Call, Failure

TIMEOUT_S = 60.0
"""Time limit of a call, in seconds."""

STARTUP_TIMEOUT_S = 60.0
"""Minimum time limit for loading a target and for the first call, in seconds.

Frameworks are imported then, and code is compiled.
"""

MEMORY_SHARE = 0.75
"""Share of the physical memory that a target may use."""

OUTPUT_EXCERPT_BYTES = 400
"""Number of bytes read of a target's output."""


class Isolation:
    """Session in a process in which a target is loaded.

    The process is started on demand, and again after it was lost.

    Parameters
    ----------
    timeout
        Time limit of a call, in seconds; only the target's own time counts.
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
        remove_leftovers()
        self._folder = make_folder(folder)
        self._output = os.path.join(self._folder.name, OUTPUT)
        self._launcher: Launcher | None = None
        self._channel: Channel | None = None
        self._load_request: dict[str, Any] | None = None
        self._is_first_call, self._is_loading = True, False
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
        """End the process, and everything that it started."""
        self._drop_channel()
        if self._launcher is not None:
            self._launcher.close()
        self._folder.cleanup()

    def start_loading(self, target: str, options: TargetOptions = AS_DECLARED) -> None:
        """Start to load a target, which :meth:`load` then returns; see there."""
        request = {"load": target, "options": options._asdict()}
        if request == self._load_request and self._is_loading:
            return
        self._load_request, self._output_size_before_load = request, self._output_size()
        self._send(request, self._load_limit())
        self._is_loading = True

    def load(self, target: str, options: TargetOptions = AS_DECLARED) -> Subject | CustomSubject:
        """Return the subject of a target, which is called in the process.

        Parameters
        ----------
        target, options
            See :func:`gatecheck.targets.loading.load_implementation`.

        Raises
        ------
        GatecheckError
            See there; and a TargetError if the process died.
        """
        self.start_loading(target, options)
        reply = self._load_target()
        try:
            declared, overrides = reply["declared"], reply["overrides"]
            chosen = check_overrides(overrides["cell"], overrides["convention"])
            return subject_of(self, declared, *chosen)
        except (KeyError, TypeError, AttributeError) as error:
            raise TargetError(
                f"loading {target}: its process sent declarations that cannot be read"
            ) from error

    def run(self, plan: Sequence[Call], *, watch: bool = False) -> list[Answer]:
        """Return the answer to each call.

        See :class:`gatecheck.implementation.session.Session`.

        Raises
        ------
        TargetLostError
            If the process was lost. The next call then starts another.
        """
        self._ensure_loaded()
        request = {"plan": list(plan), "watch": watch}
        limit = max(self.timeout, STARTUP_TIMEOUT_S) if self._is_first_call else self.timeout
        answers: list[Answer] = []
        self._send(request, limit)
        for _ in plan:
            (reply,) = self._receive(1, limit)
            answers.append(_read_answer(reply))
            self._is_first_call, limit = False, self.timeout
        return answers

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

    # ---- requests

    def _ensure_loaded(self) -> None:
        """Start the process and load the target again, if necessary."""
        if self._channel is not None:
            return
        try:
            self._load_target()
        except GatecheckError as error:
            raise TargetLostError(
                f"it could not be loaded again after it was lost: {error}"
            ) from error

    def _load_target(self) -> Any:
        if self._load_request is None:
            raise TargetError("nothing was loaded")
        name = self._load_request["load"]
        try:
            if not self._is_loading:
                self._send(self._load_request, self._load_limit())
            self._is_loading = False
            (reply,) = self._receive(1, self._load_limit())
        except TargetTimeoutError as lost:
            raise TargetError(f"loading {name} {lost}; give it longer by --timeout") from lost
        except TargetLostError as lost:
            raise TargetError(f"loading {name}: {lost}") from lost
        self._is_first_call = True
        return reply

    def _load_limit(self) -> float:
        return max(self.timeout, STARTUP_TIMEOUT_S)

    def _send(self, request: Mapping[str, Any], limit: float) -> None:
        """Send a request, which has so many seconds to be read."""
        if self._channel is None:
            self._start()
        channel = self._channel
        assert channel is not None
        self._output_size_before_call = self._output_size()
        with self._watched(limit):
            channel.send_request(request, time.monotonic() + limit)

    def _receive(self, count: int, limit: float) -> list[Any]:
        """Return so many replies, each of which has so many seconds."""
        channel = self._channel
        assert channel is not None
        replies = []
        with self._watched(limit):
            for _ in range(count):
                replies.append(self._check_reply(channel.receive(time.monotonic() + limit)))
        return replies

    @contextmanager
    def _watched(self, limit: float) -> Iterator[None]:
        """Turn what may happen to the process into errors that say so."""
        try:
            yield
        except TimeoutError:
            place = self._kill_and_locate()
            raise TargetTimeoutError(f"did not return within {limit:g} s{place}") from None
        except GatecheckError:
            raise
        except (PeerEndedError, OSError):
            raise TargetLostError(self._describe_end()) from None
        except ProtocolError as error:
            self._end()
            raise TargetLostError(str(error)) from None
        except BaseException:
            # An interrupt: the next message would be the answer to another request.
            self._end()
            raise

    def _check_reply(self, reply: Any) -> Any:
        """Return a reply without a failure, and show its warnings."""
        if not isinstance(reply, dict) or not isinstance(reply.get("warnings"), list):
            raise ProtocolError("it sent an answer that cannot be read")
        for message in reply["warnings"]:
            warnings.warn(printable(str(message)), GatecheckWarning, stacklevel=2)
        if "failure" in reply:
            error = _read_failure(reply["failure"]).to_exception()
            if isinstance(error, TargetLostError):
                self._end()
            raise error
        return reply

    # ---- the process

    def _start(self) -> None:
        if self._launcher is None:
            self._launcher = make_launcher(self._folder.name, self.memory)
        connection = self._launcher.start()
        self._channel = Channel(connection, self._launcher.peer)
        self._is_first_call = True

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel, self._is_loading = None, False

    def _end(self) -> None:
        """End the process and all processes that it started."""
        self._drop_channel()
        if self._launcher is not None:
            self._launcher.end()

    def _describe_end(self) -> str:
        """Describe how the process ended; the next call starts another."""
        code = self._launcher.status(1.0) if self._launcher is not None else None
        self._end()
        if code is None:
            return f"it closed the connection to gatecheck{self._last_output_line()}"
        if code >= 0:
            where = f"{self._crash_location()}{self._last_output_line()}"
            return f"its process ended with exit status {code}{where}"
        name = signal_name(-code)
        meaning = (signal.strsignal(-code) or "a real-time signal").lower()
        memory_hint = ", perhaps out of memory" if name == "SIGKILL" else ""
        return (
            f"its process was ended by {name} ({meaning}{memory_hint})"
            f"{self._crash_location()}{self._last_output_line()}"
        )

    def _kill_and_locate(self) -> str:
        if self._launcher is not None:
            self._launcher.abort()
            self._launcher.status(2.0)
        self._end()
        return self._crash_location()

    def _crash_location(self) -> str:
        """Return the innermost Python line at which a signal ended the process."""
        stack = self._read_file(STACK, 0, 2**16)
        line = re.search(r'File "(.*)", line (\d+) in (\S+)', stack)
        return f", at {printable(line[1])}, line {line[2]}, in {line[3]}" if line else ""

    def _last_output_line(self) -> str:
        """Return the last line printed during the call, which often explains an abort."""
        lines = self._output_lines(
            max(self._output_size_before_call, self._output_size() - OUTPUT_EXCERPT_BYTES)
        )
        return f", after it printed {lines[-1]!r}" if lines else ""

    def _output_lines(self, start: int) -> list[str]:
        """Return non-empty lines of the output from a position on."""
        text = self._read_file(OUTPUT, start, OUTPUT_EXCERPT_BYTES)
        return [line for line in text.splitlines() if line.strip()]

    def _read_file(self, name: str, start: int, size: int) -> str:
        """Return a part of a file of the process, if it is a plain file."""
        path = Path(self._folder.name) / name
        if path.is_symlink() or not path.is_file():
            return ""
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(size).decode("utf-8", "replace")

    def _output_size(self) -> int:
        try:
            return os.lstat(self._output).st_size
        except OSError:
            return 0


def _read_failure(content: Any) -> Failure:
    if (
        not isinstance(content, list)
        or len(content) != 2
        or content[0] not in ERRORS
        or not isinstance(content[1], str)
    ):
        raise ProtocolError("it sent a failure that cannot be read")
    return Failure(*content)


def _read_answer(reply: Mapping[str, Any]) -> Answer:
    content = reply.get("answer")
    if not isinstance(content, list) or len(content) != 5:
        raise TargetLostError("it sent an answer that cannot be read")
    value, failure, changed, shares, overwritten = content
    try:
        named = None if failure is None else _read_failure(failure)
    except ProtocolError as error:
        raise TargetLostError(str(error)) from None
    return Answer(value, named, tuple(map(str, changed)), shares is True, overwritten is True)


def _default_memory_limit() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return int(MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
