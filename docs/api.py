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

USER_MODULES = (
    "errors",
    "cells",
    "cases",
    "implementation",
    "conventions",
    "weights",
    "oracles.gradcheck",
)
CONTRIBUTOR_MODULES = ("checking", "faults", "properties")
SUPPORT_MODULES = (
    "auditing.result",
    "targets.adapters.library",
    "targets.adapters.program",
)
MODULES = [
    "gatecheck",
    *(f"gatecheck.{name}" for name in USER_MODULES + CONTRIBUTOR_MODULES + SUPPORT_MODULES),
    "!gatecheck.properties.test_properties",
]
"""Modules for users, and for contributors of properties, faults and frameworks.

Packages include all their modules.
"""


def resolve_annotations(module: object) -> None:
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
        resolve_annotations(importlib.import_module(name))
    pdoc.render.configure(
        docformat="numpy", show_source=False, footer_text=f"gatecheck {gatecheck.__version__}"
    )
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
