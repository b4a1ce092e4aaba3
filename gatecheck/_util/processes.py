"""What a process may use, and what it owes to the one that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from typing import Any

from gatecheck._util.import_path import restore_environment, safe_path_for_children


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """What starts in here takes no notice of Ctrl-C, which a terminal sends to every process: the
    one that starts it sees to them.

    For a process that is still importing it is too late to say so itself. A signal that comes
    meanwhile is not lost.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        with safe_path_for_children():
            yield
        return
    with safe_path_for_children():
        resource_tracker.ensure_running()  # which unblocks SIGINT when it starts (before 3.13)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with safe_path_for_children():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """This process ends with the one that started it, whatever ended that, SIGKILL even."""
    restore_environment()
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
