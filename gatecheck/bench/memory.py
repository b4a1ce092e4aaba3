"""How much memory this process took, and how much there is."""

from __future__ import annotations

import math
import sys
from pathlib import Path


def peak() -> int:
    """The most bytes that this process ever had in memory; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def free() -> float:
    """Bytes that processes can have before others must give some up; infinite where the system does
    not say.
    """
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")),
        math.inf,
    )
