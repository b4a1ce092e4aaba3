"""Import paths on which a user's files shadow neither gatecheck nor the library.

A folder that comes first, as Python has it for scripts, for ``-c`` and for ``-m``, replaces any
module that is not imported yet: a ``random.py`` or ``types.py`` of the user's, or a checkout of
gatecheck, whose ``properties/`` lies elsewhere than in the installed package.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAFE = "PYTHONSAFEPATH"
"""Variable that keeps the working folder off the path of a Python process."""

ADDED = "GATECHECK_SAFE_PATH_ADDED"
"""Set where :data:`SAFE` is ours and must not reach what a target starts."""


def path_with(folder: Path | str) -> list[str]:
    """Return ``sys.path`` with a user's folder right after the standard library."""
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    standard |= {str(Path(path, "lib-dynload")) for path in standard}
    places = [k for k, entry in enumerate(sys.path) if entry in standard]
    at = max(places, default=-1) + 1
    return [*sys.path[:at], str(folder), *sys.path[at:]]


@contextmanager
def safe_path_for_children() -> Iterator[None]:
    """Keep the working folder off the path of processes started in this context.

    They call :func:`restore_environment` first, for what a target starts in its turn.
    """
    if SAFE in os.environ:
        yield
        return
    os.environ[SAFE] = os.environ[ADDED] = "1"
    try:
        yield
    finally:
        restore_environment()


def restore_environment() -> None:
    """Remove from the environment what :func:`safe_path_for_children` added."""
    if os.environ.pop(ADDED, None) is not None:
        os.environ.pop(SAFE, None)
