"""Supervisor of targets' processes, which ends all that they started.

The judge starts it as ``python -m`` with a socket and a folder. It has imported what a target's
process needs, so that one is a fork away; it never runs a target itself. On Linux whatever a
target's process leaves behind becomes a child of the supervisor, even a daemon, and ends with it.
It ends with the judge, whatever ends that, and removes the folder then.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatecheck._util.import_path import restore_environment
from gatecheck.auditing.isolation import worker

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Options of Linux's prctl."""

END_S = 10.0
"""Seconds in which the processes of a target should be gone."""

PARENT_POLL_S = 1.0
"""Interval in seconds at which a process looks for its supervisor, not on Linux."""


def main(arguments: list[str]) -> None:
    """Serve requests until the other end of the socket is closed.

    Parameters
    ----------
    arguments
        Descriptor of the socket, the folder, and the limit of memory. A request is a line:
        ``start`` with a descriptor, ``abort`` or ``end``; the answers are lines of JSON: the status
        with which a process ended, or null when all have.
    """
    restore_environment()
    descriptor, folder, memory = int(arguments[0]), arguments[1], int(arguments[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the judge decides
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    control = socket.socket(fileno=descriptor)
    try:
        _Supervisor(control, folder, memory).serve()
    finally:
        _end_all(0)
        shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    def __init__(self, control: socket.socket, folder: str, memory: int) -> None:
        self.control, self.folder, self.memory = control, folder, memory
        self.child = 0
        self.woken, wake = os.pipe()
        for end in (self.woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        while True:
            watched: list[Any] = [self.control, self.woken]
            ready, _, _ = select.select(watched, [], [])
            if self.woken in ready:
                with suppress(BlockingIOError):
                    os.read(self.woken, 4096)
                self.reap()
            if self.control in ready:
                try:
                    content, descriptors, _, _ = socket.recv_fds(self.control, 16, 1)
                except OSError:
                    return
                if not content:
                    return
                self.answer(content, descriptors)

    def answer(self, request: bytes, descriptors: list[int]) -> None:
        if request == b"start\n":
            self.start(*descriptors)
        elif request == b"abort\n" and self.child:
            # Its handler writes the current line, even in the middle of C code.
            with suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGABRT)
        elif request == b"end\n":
            _end_all(self.child)
            self.child = 0
            self.tell(None)

    def start(self, descriptor: int) -> None:
        judge = os.getpid()
        child = os.fork()
        if child:
            self.child = child
            os.close(descriptor)
            return
        try:
            self.control.close()
            os.close(self.woken)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            _end_with(judge)
            worker.serve(socket.socket(fileno=descriptor), self.folder, self.memory)
        finally:
            os._exit(0)

    def reap(self) -> None:
        """Take the status of processes that ended, and tell that of the target's."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.child:
                    self.child = 0
                    self.tell(os.waitstatus_to_exitcode(ended[1]))

    def tell(self, status: int | None) -> None:
        with suppress(OSError):
            self.control.sendall(json.dumps(status).encode() + b"\n")


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_with(supervisor: int) -> None:
    """End this process with its supervisor."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        return
    import threading

    def watch() -> None:
        while os.getppid() == supervisor:
            time.sleep(PARENT_POLL_S)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _end_all(child: int) -> None:
    """Kill all processes below this one, until there are none."""
    deadline = time.monotonic() + END_S
    if child:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    while time.monotonic() < deadline:
        for process in _descendants():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.001)


def _descendants() -> list[int]:
    """Return the processes below this one, as far as the system tells."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            text = entry.read_text(errors="replace")
            parent = int(text.rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.parent.name))
    found, queue = [], [os.getpid()]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
