"""Processes: available cores, interrupts, and the end of the parent."""

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


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C and modules of the working folder.

    A terminal sends it to every process, and the starting process handles it. A process that is
    still importing could not ignore it itself. A signal that arrives in this context is not lost.
    """
    with safe_path_for_children():
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            yield
            return
        # The tracker unblocks SIGINT when it starts (before Python 3.13).
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
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
