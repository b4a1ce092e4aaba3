"""Start and end of the process of a target."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gatecheck._util.import_path import safe_path_for_children
from gatecheck.auditing.isolation.leftovers import MARK

START_S = 30.0
"""Seconds in which a supervisor should have started a process."""


class Launcher(Protocol):
    """Starter of a process of a target, which also ends it."""

    @property
    def peer(self) -> int | None:
        """Descriptor that becomes readable when the process ended, if there is one."""

    def start(self) -> socket.socket:
        """Start a process; return a connection to it."""

    def abort(self) -> None:
        """Ask the process to write where it is, and to end."""

    def status(self, seconds: float) -> int | None:
        """Return the exit status, negative for a signal; None if the process runs on."""

    def end(self) -> None:
        """End the process and all that it started."""

    def close(self) -> None:
        """End everything, also what starts processes."""


def make_launcher(folder: str, memory: int) -> Launcher:
    """Return a launcher of processes with a folder and a limit of memory in bytes."""
    return _Supervised(folder, memory) if hasattr(os, "fork") else _Spawned(folder, memory)


def _environment(folder: str) -> dict[str, str]:
    """Return the environment of the process, whose temporary files are removed."""
    temporary = Path(folder, "tmp")
    temporary.mkdir(exist_ok=True)
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    return {**os.environ, **places, MARK: folder}


class _Supervised:
    """Launcher by a supervisor; see :mod:`gatecheck.auditing.isolation.supervisor`."""

    def __init__(self, folder: str, memory: int) -> None:
        self._control, theirs = socket.socketpair()
        self._ended: list[int | None] = []
        module = "gatecheck.auditing.isolation.supervisor"
        command = [sys.executable, "-m", module, str(theirs.fileno()), folder, str(memory)]
        with theirs, safe_path_for_children():
            self._supervisor = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._unread = b""

    @property
    def peer(self) -> int | None:
        return self._control.fileno()

    def start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._ended.clear()
        with theirs:
            socket.send_fds(self._control, [b"start\n"], [theirs.fileno()])
        return ours

    def abort(self) -> None:
        with suppress(OSError):
            self._control.sendall(b"abort\n")

    def status(self, seconds: float) -> int | None:
        self._listen(seconds)
        return self._ended[0] if self._ended else None

    def end(self) -> None:
        with suppress(OSError):
            self._control.sendall(b"end\n")
        deadline = time.monotonic() + START_S
        while None not in self._ended and time.monotonic() < deadline:
            if not self._listen(deadline - time.monotonic()):
                break
        self._ended.clear()

    def close(self) -> None:
        self._control.close()
        try:
            self._supervisor.wait(START_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()

    def _listen(self, seconds: float) -> bool:
        """Read statuses that have arrived or arrive in time; return False if none will."""
        ready, _, _ = select.select([self._control], [], [], max(0.0, seconds))
        if not ready:
            return False
        with suppress(OSError):
            if content := self._control.recv(4096):
                *lines, self._unread = (self._unread + content).split(b"\n")
                self._ended += [json.loads(line) for line in lines]
                return True
        return False


class _Spawned:
    """Launcher of single processes, where there is no fork.

    Processes that they start in their turn are not ended.
    """

    peer = None

    def __init__(self, folder: str, memory: int) -> None:
        self._folder, self._memory = folder, memory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> socket.socket:
        module = "gatecheck.auditing.isolation.worker"
        ours, theirs = socket.socketpair()
        with theirs, safe_path_for_children():
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, self._folder, str(self._memory)],
                env=_environment(self._folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdin is not None
            self._process.stdin.write(theirs.share(self._process.pid))  # type: ignore[attr-defined]
            self._process.stdin.close()
        return ours

    def abort(self) -> None:
        """Do nothing: there is no such signal."""

    def status(self, seconds: float) -> int | None:
        if self._process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        self.end()
