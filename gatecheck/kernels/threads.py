"""Work on all cores: parts that do not meet are run side by side, each by a thread that the
compiled code leaves free to run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from gatecheck._util.processes import cores

LEAST = 2e7
"""Operations that are worth a thread: starting one takes as long as some millions."""


def available() -> int:
    """How many threads may run: as many as there are cores, or ``OMP_NUM_THREADS`` if that is less."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else cores()


def share(run: Callable[[int, int], None], parts: int, work: float) -> None:
    """Call ``run(first, last)`` for pieces that together are all parts.

    Parameters
    ----------
    run
        Does parts first to last; pieces run at the same time.
    parts
        How many.
    work
        How many operations they take together.
    """
    pieces = max(1, min(available(), parts, int(work / LEAST))) if work > LEAST else 1
    if pieces == 1:
        run(0, parts)
        return
    ends = [parts * k // pieces for k in range(pieces + 1)]
    others = [threading.Thread(target=run, args=ends[k : k + 2]) for k in range(1, pieces)]
    for thread in others:
        thread.start()
    run(*ends[:2])
    for thread in others:
        thread.join()
