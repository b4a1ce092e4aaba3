"""Memory: the peak of this process, and what is free."""

from __future__ import annotations

import math
import sys
from pathlib import Path


def peak() -> int:
    """Return the most bytes that this process ever had in memory.

    It is 0 where the system does not report it.
    """
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def free() -> float:
    """Return the bytes that processes can have before others must give some up.

    It is infinite where the system does not report it.
    """
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")),
        math.inf,
    )
