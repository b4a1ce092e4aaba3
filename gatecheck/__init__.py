"""Property-based verification and gradient checking for recurrent cells."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gatecheck.cells import GRU as GRU
    from gatecheck.cells import LSTM as LSTM
    from gatecheck.cells import RNN as RNN

_HOME = {
    "GRU": "gatecheck.cells",
    "LSTM": "gatecheck.cells",
    "RNN": "gatecheck.cells",
}

__all__ = ["GRU", "LSTM", "RNN", "__version__"]


def __getattr__(name: str) -> Any:
    # PEP 562: importing gatecheck imports neither numba nor scipy.
    if name not in _HOME:
        raise AttributeError(f"module 'gatecheck' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
