"""Processes: available cores, interrupts, and the end of the parent."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from types import FrameType
from typing import Any

from gatecheck._util.import_path import restore_environment, safe_path_for_children
from gatecheck.errors import Interrupted

REPEAT_S = 3.0
"""Seconds in which more signals do not disturb the end that the first one began.

A terminal that closes sends two; processes are given as long to end.
"""

OURS_TO_HANDLE = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "XCPU")
"""Signals that end a process that does not handle them, and are no crash.

Real-time signals do, too.
"""

FROM_TERMINALS = ("HUP", "INT", "QUIT")
"""Signals that a terminal sends to every process of a command."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def raise_on_signals() -> None:
    """Raise :class:`Interrupted` at signals that would end this process.

    It then removes its files. Signals that were ignored stay so, as under ``nohup``.
    """
    latest = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal latest
        before, latest = latest, time.monotonic()
        if latest - before > REPEAT_S:
            raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        return
    numbers = _signal_numbers(OURS_TO_HANDLE)
    if hasattr(signal, "SIGRTMIN"):
        numbers |= {*range(signal.SIGRTMIN, signal.SIGRTMAX + 1)}
    for number in numbers:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGTERM`` or ``SIGRTMIN+3``."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        first = getattr(signal, "SIGRTMIN", 0)
        return f"SIGRTMIN+{number - first}" if number > first > 0 else f"signal {number}"


def _signal_numbers(names: Sequence[str]) -> set[int]:
    return {getattr(signal, f"SIG{name}") for name in names if hasattr(signal, f"SIG{name}")}


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C and modules of the working folder.

    A terminal sends it, and the end of its session, to every process, and the starting process
    handles them. A process that is still importing could not ignore them itself. A signal that
    arrives in this context is not lost.
    """
    with safe_path_for_children():
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            yield
            return
        blocked = _signal_numbers(FROM_TERMINALS)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        # The tracker unblocks SIGINT when it starts (before Python 3.13).
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """End this process with its parent, whatever ends that, even SIGKILL."""
    restore_environment()
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
