"""The house stands: a file imports only from the floors below its own. Imports are read, not run,
wherever in a file they hide.
"""

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    "caches, errors, processes, versions → arguments, writing → cells → blocks, kept, npz → calls, conventions, initialisers, protocol, "
    "validation → cases → implementation, weights → reference, kernels → oracles, faults, targets → strategies, budgets, "
    "certified_cells, proofs, evidence → claims → properties → auditing, decay → report, bench → gatecheck → plugin, cli"
)
"""From the ground up, as CONTRIBUTING.md has it. ``gatecheck`` is the package itself, which names
everything and imports it lazily.
"""

LEVEL = {
    unit: level for level, floor in enumerate(FLOORS.split(" → ")) for unit in floor.split(", ")
}

# A string that spells a module of ours is an import waiting to happen: for importlib, perhaps by
# way of a table or an f-string.
SPELLED = re.compile(rf"gatecheck\.({'|'.join(LEVEL)})(\.\w*)*")

LONGEST = 530


def unit(path):
    """The module or package of the house that a file belongs to."""
    folder, *inside = PurePosixPath(path).with_suffix("").parts
    if folder == "properties":
        return "properties"
    return "gatecheck" if inside == ["__init__"] else inside[0]


def named(tree):
    """The line and the dotted name of everything that a file imports; a relative import begins with
    its dots.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.ImportFrom(names=aliases, module=module, level=level):
                yield from (
                    (node.lineno, f"{'.' * level}{module or ''}.{alias.name}") for alias in aliases
                )
            case ast.Constant(value=str(text)) if SPELLED.fullmatch(text):
                yield node.lineno, text


def complaint(here, dotted):
    """What is wrong with an import in a file of the unit `here`, or None."""
    first, second = (*dotted.split("."), "")[:2]
    if first == "":
        return "is a relative import"
    if first == "properties":
        return "names properties by its folder, which loads it twice: it is gatecheck.properties"
    there = second if second in LEVEL else "gatecheck"
    if first != "gatecheck" or there == here:
        return None
    if LEVEL[there] > LEVEL[here]:
        return f"{here} imports {there} from above"
    if LEVEL[there] == LEVEL[here]:
        return f"{here} imports its neighbour {there}"
    if here == "oracles" and there not in ("errors", "arguments"):
        return (
            f"an oracle takes callables and arrays: it may import errors and arguments, not {there}"
        )
    if here == "certified_cells" and there in ("reference", "kernels"):
        return f"certified_cells is a derivation of its own: it may not import {there}"
    return None


def problems(path, source):
    """All that a file of gatecheck/ or properties/ does against the rules of the house."""
    here, tree = unit(path), ast.parse(source)
    if here not in LEVEL:
        return [f"{path}: {here} has no floor"]
    names = list(named(tree))
    found = [
        f"{path}:{line}: {dotted}: {wrong}"
        for line, dotted in names
        if (wrong := complaint(here, dotted))
    ]
    # pytest rewrites asserts in a package that ships a plugin, and numba cannot type what it
    # writes. A helper that a compiled function calls counts too, so the rule is for whole files.
    if here == "kernels" or any(
        dotted.startswith(("gatecheck.kernels.jit", "numba")) for _, dotted in names
    ):
        found += [
            f"{path}:{n.lineno}: an assert beside compiled functions"
            for n in ast.walk(tree)
            if isinstance(n, ast.Assert)
        ]
    return found


def too_long(path, source):
    """The complaint that a file is too long, or nothing."""
    length = len(source.splitlines())
    return [f"{path}: {length} lines are two ideas"] if length > LONGEST else []


def sources(*folders):
    """The text of every Python file in these folders, by its path from the root."""
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_the_house_stands():
    house = sources("gatecheck", "properties")
    assert {unit(path) for path in house} > {
        "errors",
        "cells",
        "reference",
        "kernels",
        "properties",
        "gatecheck",
        "cli",
    }
    assert [problem for path, source in house.items() for problem in problems(path, source)] == []


def test_a_file_is_one_idea():
    everything = sources("gatecheck", "properties", "tests")
    assert "tests/test_floors.py" in everything
    assert [
        problem for path, source in everything.items() for problem in too_long(path, source)
    ] == []


def test_the_floors_are_documented():
    assert FLOORS in " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        (
            "gatecheck/cells.py",
            "from gatecheck.cases import Case",
            "cells imports cases from above",
        ),
        ("gatecheck/cells.py", "import gatecheck.cases as c", "cells imports cases from above"),
        ("gatecheck/cells.py", "import os, gatecheck.cases", "cells imports cases from above"),
        (
            "gatecheck/cells.py",
            "from gatecheck import errors, cases",
            "cells imports cases from above",
        ),
        (
            "gatecheck/cells.py",
            "def f():\n    class A:\n        from gatecheck.cases import Case",
            "py:3: gatecheck.cases.Case: cells",
        ),
        (
            "gatecheck/cells.py",
            "if TYPE_CHECKING:\n    from gatecheck.cases import Case",
            "cells imports cases from above",
        ),
        (
            "gatecheck/cells.py",
            "importlib.import_module('gatecheck.cases')",
            "cells imports cases from above",
        ),
        (
            "gatecheck/cells.py",
            "import_module(f'gatecheck.properties.{name}')",
            "cells imports properties from above",
        ),
        (
            "gatecheck/cells.py",
            "HOME = {'x': 'gatecheck.targets.adapters.torch'}",
            "cells imports targets from above",
        ),
        ("gatecheck/cells.py", "import gatecheck", "cells imports gatecheck from above"),
        ("gatecheck/cells.py", "from gatecheck import audit", "cells imports gatecheck from above"),
        (
            "gatecheck/auditing/runner.py",
            "from gatecheck.report.audit_table import matrix",
            "auditing imports report from above",
        ),
        (
            "properties/gates.py",
            "from gatecheck.auditing.runner import audit",
            "properties imports auditing from above",
        ),
        (
            "gatecheck/implementation.py",
            "from gatecheck.kernels import Builtin",
            "implementation imports kernels from above",
        ),
        (
            "gatecheck/reference/run.py",
            "from gatecheck.kernels import run",
            "reference imports its neighbour kernels",
        ),
        (
            "gatecheck/kernels/gru.py",
            "from gatecheck.reference import run",
            "kernels imports its neighbour reference",
        ),
        ("gatecheck/cli.py", "import gatecheck.plugin", "cli imports its neighbour plugin"),
        (
            "gatecheck/oracles/rounding.py",
            "from gatecheck.cells import Cell",
            "it may import errors and arguments, not cells",
        ),
        (
            "gatecheck/oracles/rounding.py",
            "from gatecheck.reference import run",
            "it may import errors and arguments, not reference",
        ),
        (
            "gatecheck/oracles/rounding.py",
            "from gatecheck.budgets import case_budget",
            "oracles imports budgets from above",
        ),
        (
            "gatecheck/certified_cells.py",
            "from gatecheck.reference import run",
            "it may not import reference",
        ),
        (
            "gatecheck/certified_cells.py",
            "from gatecheck.kernels import run",
            "it may not import kernels",
        ),
        ("gatecheck/kernels/gru.py", "from .jit import jit", ".jit.jit: is a relative import"),
        ("gatecheck/kernels/gru.py", "from . import jit", "is a relative import"),
        ("properties/gates.py", "from ..claims import claim", "is a relative import"),
        ("properties/gates.py", "from properties.state import x", "loads it twice"),
        ("gatecheck/helpers.py", "", "helpers has no floor"),
        ("gatecheck/tools/helpers.py", "", "tools has no floor"),
        (
            "gatecheck/kernels/gru.py",
            "@jit\ndef f(x):\n    assert x",
            "gatecheck/kernels/gru.py:3: an assert beside compiled functions",
        ),
        (
            "gatecheck/decay/profile.py",
            "from gatecheck.kernels.jit import jit\ndef f(x): assert x",
            "py:2: an assert beside",
        ),
        (
            "gatecheck/decay/profile.py",
            "import numba\n@numba.njit\ndef f(x):\n    assert x",
            "py:4: an assert beside",
        ),
    ],
)
def test_each_rule_can_fail(path, source, problem):
    (found,) = problems(path, source)
    assert problem in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gatecheck/cells.py", "import numpy\nfrom gatecheck.errors import InputError"),
        ("gatecheck/kernels/run.py", "from gatecheck.kernels import gru"),
        (
            "gatecheck/oracles/taylor.py",
            "from gatecheck.errors import InputError\nfrom gatecheck.oracles import adjoint",
        ),
        ("gatecheck/decay/profile.py", "from gatecheck.kernels import run\ndef f(x): assert x"),
        (
            "gatecheck/__init__.py",
            "HOME = 'gatecheck.cells'\n__getattr__ = lambda name: importlib.import_module('gatecheck.report')",
        ),
        (
            "gatecheck/cli.py",
            "import gatecheck\nfrom gatecheck.auditing import runner\nmain(prog_name='gatecheck', file='gatecheck.toml')",
        ),
        ("properties/gates.py", "from gatecheck.properties.state import x"),
    ],
)
def test_what_is_allowed(path, source):
    assert problems(path, source) == []


def test_length_can_fail():
    assert too_long("tests/test_x.py", "x = 1\n" * LONGEST) == []
    assert too_long("tests/test_x.py", "x = 1\n" * (LONGEST + 1)) == [
        "tests/test_x.py: 531 lines are two ideas"
    ]
