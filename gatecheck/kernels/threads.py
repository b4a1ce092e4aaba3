"""Parallel work on all cores.

Independent parts run in threads, since compiled code releases the GIL.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from gatecheck._util.processes import available_cores

MIN_OPERATIONS = 2e7
"""Operations that justify a thread: starting one takes as long as some millions."""


def thread_count() -> int:
    """Return the number of threads: that of the cores, or ``OMP_NUM_THREADS`` if less."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return (
        min(available_cores(), int(limit))
        if limit.isdecimal() and int(limit) > 0
        else available_cores()
    )


def run_in_threads(run: Callable[[int, int], None], parts: int, work: float) -> None:
    """Call ``run(first, last)`` in threads for pieces that together cover all parts.

    Parameters
    ----------
    run
        Processes parts first to last; pieces run at the same time.
    parts
        Number of parts.
    work
        Number of operations that they take together.
    """
    pieces = (
        max(1, min(thread_count(), parts, int(work / MIN_OPERATIONS)))
        if work > MIN_OPERATIONS
        else 1
    )
    if pieces == 1:
        run(0, parts)
        return
    ends = [parts * k // pieces for k in range(pieces + 1)]
    workers = [threading.Thread(target=run, args=ends[k : k + 2]) for k in range(1, pieces)]
    for thread in workers:
        thread.start()
    run(*ends[:2])
    for thread in workers:
        thread.join()
