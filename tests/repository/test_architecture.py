"""The layers of the package: a file imports only from layers below its own."""

import ast
import re
from pathlib import PurePosixPath

import pytest

from helpers.imports import imported_names, sources
from helpers.paths import ROOT

LAYERS = (
    "errors → _util → cells, oracles → cases, conventions, kernels, reference → implementation, "
    "certified, faults, weights, proofs → targets, checking → properties, diagnosis, decay → "
    "inference, accuracy → auditing, bench → mutation, vectors → report → gatecheck → "
    "pytest_plugin, cli → __main__"
)
"""Layers from the bottom up; ``gatecheck`` is ``gatecheck/__init__.py``."""

INSIDE = {
    "auditing": "options, result, applicability, explore, prove, parallel → selection, outcome → "
    "audit → isolation, lookup, pytest_params → audit_installed",
    "decay": "spec_keys, result → spec, jobs → jacobians, theory → measures, training → study",
    "diagnosis": "result, prefilter, undetected, conventions → hypotheses, call_sequences → "
    "search → probes, fault_pairs, explanations, low_precision → forward_search, "
    "backward_search, localize → diagnose",
}
"""The layers inside a package."""


def levels(layers):
    """Return the level of each unit, from 0 at the bottom."""
    return {u: k for k, layer in enumerate(layers.split(" → ")) for u in layer.split(", ")}


LEVEL = levels(LAYERS)
LEVEL_INSIDE = {package: levels(layers) for package, layers in INSIDE.items()}

# A string that spells a module of ours is an import waiting to happen: for importlib, perhaps from
# a table or an f-string.
SPELLED = re.compile(rf"gatecheck\.({'|'.join(LEVEL)})(\.\w*)*")


def unit(path):
    """Return the module or package of the top level that a file belongs to."""
    folder, *inside = PurePosixPath(path).with_suffix("").parts
    if folder == "properties":
        return "properties"
    return "gatecheck" if inside == ["__init__"] else inside[0]


def unit_inside(path):
    """Return a file's package in :data:`INSIDE` and its unit there, or None."""
    parts = PurePosixPath(path).with_suffix("").parts
    if len(parts) < 3 or parts[1] not in INSIDE or parts[2] == "__init__":
        return None
    return parts[1], parts[2]


def names_of(nodes):
    """Yield the line and dotted name of everything that a file imports or spells."""
    yield from imported_names(nodes)
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)) if SPELLED.fullmatch(text):
                yield node.lineno, text


def complaint(here, inside, dotted):
    """Return what is wrong with an import in a file of the unit `here`, or None."""
    first, second, third = (*dotted.split("."), "", "")[:3]
    if first == "":
        return "is a relative import"
    if first == "properties":
        return "names properties by its folder, which loads it twice: it is gatecheck.properties"
    there = second if second in LEVEL else "gatecheck"
    if first != "gatecheck":
        return None
    if there == here:
        if inside is None or third not in LEVEL_INSIDE[here] or third == inside[1]:
            return None
        level = LEVEL_INSIDE[here]
        if level[third] >= level[inside[1]]:
            return f"in {here}, {inside[1]} imports {third}, which is not below it"
        return None
    if LEVEL[there] > LEVEL[here]:
        return f"{here} imports {there} from above"
    if LEVEL[there] == LEVEL[here]:
        return f"{here} imports its neighbor {there}"
    if here == "oracles" and there not in ("errors", "_util"):
        return f"an oracle takes callables and arrays: it may import errors and _util, not {there}"
    if here == "certified" and there in ("reference", "kernels"):
        return f"certified is an independent derivation: it may not import {there}"
    return None


def problems(path, source):
    """Return everything in a file that breaks a rule."""
    here, inside, tree = unit(path), unit_inside(path), ast.parse(source)
    if here not in LEVEL:
        return [f"{path}: {here} has no layer"]
    if inside is not None and inside[1] not in LEVEL_INSIDE[inside[0]]:
        return [f"{path}: {inside[1]} has no layer in {inside[0]}"]
    nodes = list(ast.walk(tree))
    names = list(names_of(nodes))
    found = [
        f"{path}:{line}: {dotted}: {wrong}"
        for line, dotted in names
        if (wrong := complaint(here, inside, dotted))
    ]
    # pytest rewrites asserts in a package that ships a plugin, and numba cannot type what it
    # writes. A helper that a compiled function calls counts too, so the rule is for whole files.
    compiled = ("gatecheck.kernels.jit", "numba")
    if here == "kernels" or any(dotted.startswith(compiled) for _, dotted in names):
        asserts = (n for n in nodes if isinstance(n, ast.Assert))
        found += [
            f"{path}:{n.lineno}: an assert in a module of compiled functions" for n in asserts
        ]
    return found


def test_every_import_goes_down():
    texts = sources("gatecheck", "properties")
    assert {unit(path) for path in texts} == set(LEVEL)
    inner = {unit_inside(path) for path in texts} - {None}
    assert inner == {(package, u) for package, level in LEVEL_INSIDE.items() for u in level}
    assert [problem for path, text in texts.items() for problem in problems(path, text)] == []


@pytest.mark.parametrize("layers", [LAYERS, *INSIDE.values()], ids=["package", *INSIDE])
def test_the_layers_are_documented(layers):
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert layers in " ".join(page.split())


CELLS = "gatecheck/cells/spec.py"


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        (CELLS, "from gatecheck.cases import Case", "cells imports cases from above"),
        (CELLS, "import gatecheck.cases as c", "cells imports cases from above"),
        (CELLS, "import os, gatecheck.cases", "cells imports cases from above"),
        (CELLS, "from gatecheck import errors, cases", "cells imports cases from above"),
        (
            CELLS,
            "def f():\n    class A:\n        from gatecheck.cases import Case",
            "py:3: gatecheck.cases.Case: cells",
        ),
        (
            CELLS,
            "if TYPE_CHECKING:\n    from gatecheck.cases import Case",
            "cells imports cases from above",
        ),
        (CELLS, "importlib.import_module('gatecheck.cases')", "cells imports cases from above"),
        (
            CELLS,
            "import_module(f'gatecheck.properties.{name}')",
            "cells imports properties from above",
        ),
        (
            CELLS,
            "HOME = {'x': 'gatecheck.targets.adapters.torch'}",
            "cells imports targets from above",
        ),
        (CELLS, "import gatecheck", "cells imports gatecheck from above"),
        (CELLS, "from gatecheck import audit", "cells imports gatecheck from above"),
        (
            "gatecheck/auditing/audit.py",
            "from gatecheck.report.audit_table import matrix",
            "auditing imports report from above",
        ),
        (
            "properties/gates.py",
            "from gatecheck.auditing.audit import audit",
            "properties imports auditing from above",
        ),
        (
            "gatecheck/cases/case.py",
            "from gatecheck.implementation import subject",
            "cases imports implementation from above",
        ),
        (
            "gatecheck/reference/run.py",
            "from gatecheck.kernels import run",
            "reference imports its neighbor kernels",
        ),
        (
            "gatecheck/kernels/cells/gru.py",
            "from gatecheck.reference import run",
            "kernels imports its neighbor reference",
        ),
        (
            "gatecheck/cli/base.py",
            "import gatecheck.pytest_plugin",
            "cli imports its neighbor pytest_plugin",
        ),
        (
            "gatecheck/oracles/rounding.py",
            "from gatecheck.cells import Cell",
            "oracles imports its neighbor cells",
        ),
        (
            "gatecheck/oracles/rounding.py",
            "from gatecheck.checking.budgets import case_budget",
            "oracles imports checking from above",
        ),
        (
            "gatecheck/certified/cells.py",
            "from gatecheck.reference import run",
            "it may not import reference",
        ),
        (
            "gatecheck/certified/cells.py",
            "from gatecheck.kernels import run",
            "it may not import kernels",
        ),
        (
            "gatecheck/kernels/cells/gru.py",
            "from .jit import jit",
            ".jit.jit: is a relative import",
        ),
        ("gatecheck/kernels/cells/gru.py", "from . import jit", "is a relative import"),
        ("properties/gates.py", "from ..checking import registry", "is a relative import"),
        ("properties/gates.py", "from properties.state import x", "loads it twice"),
        ("gatecheck/helpers.py", "", "helpers has no layer"),
        ("gatecheck/tools/helpers.py", "", "tools has no layer"),
        ("gatecheck/decay/helpers.py", "", "helpers has no layer in decay"),
        (
            "gatecheck/decay/theory/kind.py",
            "from gatecheck.decay.study import run",
            "in decay, theory imports study, which is not below it",
        ),
        (
            "gatecheck/decay/training/train.py",
            "from gatecheck.decay.measures.gates import Gates",
            "in decay, training imports measures, which is not below it",
        ),
        (
            "gatecheck/auditing/explore.py",
            "from gatecheck.auditing import audit",
            "in auditing, explore imports audit, which is not below it",
        ),
        (
            "gatecheck/kernels/cells/gru.py",
            "@jit\ndef f(x):\n    assert x",
            "gatecheck/kernels/cells/gru.py:3: an assert in a module",
        ),
        (
            "gatecheck/decay/jacobians/profile.py",
            "from gatecheck.kernels.jit import jit\ndef f(x): assert x",
            "py:2: an assert in",
        ),
        (
            "gatecheck/decay/jacobians/profile.py",
            "import numba\n@numba.njit\ndef f(x):\n    assert x",
            "py:4: an assert in",
        ),
    ],
)
def test_each_rule_can_fail(path, source, problem):
    (found,) = problems(path, source)
    assert problem in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (CELLS, "import numpy\nfrom gatecheck.errors import InputError"),
        ("gatecheck/kernels/run.py", "from gatecheck.kernels.cells import gru"),
        (
            "gatecheck/oracles/taylor.py",
            "from gatecheck.errors import InputError\nfrom gatecheck.oracles import adjoint",
        ),
        (
            "gatecheck/decay/jacobians/profile.py",
            "from gatecheck.kernels import run\ndef f(x): assert x",
        ),
        ("gatecheck/decay/study/run.py", "from gatecheck.decay.theory import kind"),
        (
            "gatecheck/__init__.py",
            "HOME = 'gatecheck.cells'\n"
            "__getattr__ = lambda name: importlib.import_module('gatecheck.report')",
        ),
        (
            "gatecheck/cli/base.py",
            "import gatecheck\nfrom gatecheck.auditing import audit\n"
            "main(prog_name='gatecheck', file='gatecheck.toml')",
        ),
        ("properties/gates.py", "from gatecheck.properties.state import x"),
    ],
)
def test_allowed_imports(path, source):
    assert problems(path, source) == []
