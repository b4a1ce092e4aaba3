"""Property-based verification and gradient checking for recurrent cells."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gatecheck.auditing.audit import audit as audit
    from gatecheck.auditing.audit import replay as replay
    from gatecheck.auditing.pytest_params import (
        parametrize_with_properties as parametrize_with_properties,
    )
    from gatecheck.auditing.result import AuditResult as AuditResult
    from gatecheck.cases import Case as Case
    from gatecheck.cells import GRU as GRU
    from gatecheck.cells import LSTM as LSTM
    from gatecheck.cells import RNN as RNN
    from gatecheck.conventions import Convention as Convention
    from gatecheck.conventions import Layout as Layout
    from gatecheck.conventions import convert as convert
    from gatecheck.inference.infer import infer as infer
    from gatecheck.kernels import Builtin as Builtin
    from gatecheck.oracles.gradcheck import gradcheck as gradcheck
    from gatecheck.targets.adapters.functions import from_jax as from_jax
    from gatecheck.targets.adapters.functions import from_step as from_step
    from gatecheck.targets.adapters.library import get_include as get_include

_MODULES = {
    "AuditResult": "gatecheck.auditing.result",
    "Builtin": "gatecheck.kernels",
    "Case": "gatecheck.cases",
    "Convention": "gatecheck.conventions",
    "Layout": "gatecheck.conventions",
    "GRU": "gatecheck.cells",
    "LSTM": "gatecheck.cells",
    "RNN": "gatecheck.cells",
    "audit": "gatecheck.auditing.audit",
    "convert": "gatecheck.conventions",
    "from_jax": "gatecheck.targets.adapters.functions",
    "from_step": "gatecheck.targets.adapters.functions",
    "get_include": "gatecheck.targets.adapters.library",
    "gradcheck": "gatecheck.oracles.gradcheck",
    "infer": "gatecheck.inference.infer",
    "parametrize_with_properties": "gatecheck.auditing.pytest_params",
    "replay": "gatecheck.auditing.audit",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    # PEP 562: importing gatecheck imports neither numba nor scipy.
    if name not in _MODULES:
        raise AttributeError(f"module 'gatecheck' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
