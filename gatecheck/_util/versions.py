"""Versions of the packages that a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*more: str) -> dict[str, str]:
    """Return the versions of Python, gatecheck, its dependencies, and `more`.

    A package that is not installed is left out.
    """
    result = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("gatecheck", "numpy", "scipy", "numba", "hypothesis", *more):
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result
