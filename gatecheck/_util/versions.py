"""Which versions a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*more: str) -> dict[str, str]:
    """Of Python, this package, what it computes with, and `more`; what is not installed is left
    out.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("gatecheck", "numpy", "scipy", "numba", "hypothesis", *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
