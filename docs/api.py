"""The API reference from the docstrings, by pdoc.

``python docs/api.py FOLDER`` writes it there. Needs the extra ``docs``.
"""

from __future__ import annotations

import importlib
import sys
import typing
from pathlib import Path

import pdoc

import gatecheck

USING = (
    "errors",
    "cells",
    "cases",
    "implementation",
    "conventions",
    "initialisers",
    "weights",
    "oracles.gradcheck",
)
ADDING = ("budgets", "claims", "evidence", "faults", "properties")
AROUND = ("auditing.result", "targets.adapters.library", "targets.adapters.process")
MODULES = [
    "gatecheck",
    *(f"gatecheck.{name}" for name in USING + ADDING + AROUND),
    "!gatecheck.properties.test_properties",
]
"""Modules for users, and for contributors of properties, faults and frameworks.

Packages include all their modules.
"""


def resolved(module: object) -> None:
    """Replace the annotations of a module's named tuples by types.

    As strings pdoc would look them up in the wrong module.
    """
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            kind.__new__.__annotations__ = typing.get_type_hints(kind)


def build(folder: Path) -> None:
    """Write the pages of :data:`MODULES` into a folder."""
    for name in gatecheck.__all__:  # pdoc does not trigger the lazy imports
        setattr(gatecheck, name, getattr(gatecheck, name))
    for name in pdoc.extract.walk_specs(MODULES):
        resolved(importlib.import_module(name))
    pdoc.render.configure(
        docformat="numpy", show_source=False, footer_text=f"gatecheck {gatecheck.__version__}"
    )
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
