"""Docstrings: first lines that stand alone, and references that lead somewhere."""

import ast
import itertools
import re
from collections.abc import Iterator

import pytest

from helpers.imports import module_name, sources

LONGEST = 80
"""Characters of a first line."""

ODD = {"As", "How", "Of", "That", "Those", "What", "When", "Where", "Whether", "Which"}
"""Words with which no first line begins: it would have no main clause."""

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod|obj):`~?([\w.]+)`")

THEOREMS = "properties/"
"""Path of first lines that state theorems, and may begin with any word."""


def docstrings(tree) -> Iterator[tuple[int, str]]:
    """Yield the line and text of every docstring, those of attributes too."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def oddities(path, source):
    """Return what is wrong with the first lines of a file's docstrings."""
    found = []
    for line, text in docstrings(ast.parse(source)):
        first, *rest = text.strip().split("\n")
        if len(first) > LONGEST:
            found.append(f"{path}:{line}: {len(first)} characters: {first}")
        if rest and rest[0].strip():
            found.append(f"{path}:{line}: runs on without an empty line: {first}")
        if first.split(" ")[0].rstrip(",:;") in ODD and not path.startswith(THEOREMS):
            found.append(f"{path}:{line}: begins with a relative clause: {first}")
    return found


def names_in(body) -> dict[str, ast.AST | None]:
    """Return what the statements of a module or class bind, by name."""
    names: dict[str, ast.AST | None] = {}
    for node in body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names[node.name] = node
            case ast.Assign(targets=targets):
                for target in targets:
                    names |= {n.id: None for n in ast.walk(target) if isinstance(n, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = None
            case ast.Import() | ast.ImportFrom():
                names |= {a.asname or a.name.partition(".")[0]: None for a in node.names}
            case ast.If() | ast.Try():
                names |= names_in([*node.body, *node.orelse])
    return names


def members(node) -> set[str]:
    """Return the attributes that a class defines, in its body or on ``self``."""
    own = set(names_in(node.body))
    for n in ast.walk(node):
        match n:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                own.add(name)
    return own


def unresolved(trees):
    """Return the references in docstrings that name nothing.

    Parameters
    ----------
    trees
        Parsed modules by dotted name.
    """
    tops = {module: names_in(tree.body) for module, tree in trees.items()}
    classes = {
        m: [n for n in top.values() if isinstance(n, ast.ClassDef)] for m, top in tops.items()
    }
    methods = {m: set().union(*map(members, nodes)) for m, nodes in classes.items()}

    def exists(module, dotted):
        parts = dotted.split(".")
        if parts[0] == "gatecheck":
            cut = max((k for k in range(len(parts) + 1) if ".".join(parts[:k]) in trees), default=0)
            module, parts = ".".join(parts[:cut]), parts[cut:]
            if not parts:
                return cut > 0
        name, *more = parts
        if not more and name in methods[module]:
            return True
        if name not in tops.get(module, {}):
            return False
        node = tops[module][name]
        return not more or not isinstance(node, ast.ClassDef) or more[0] in members(node)

    found = []
    for module, tree in trees.items():
        for line, text in docstrings(tree):
            found += [f"{module}:{line}: {d}" for d in ROLE.findall(text) if not exists(module, d)]
    return found


def documented(docstring):
    """Yield the names under Parameters and Attributes of a docstring."""
    lines = docstring.split("\n")
    indent = min((len(x) - len(x.lstrip()) for x in lines[1:] if x.strip()), default=0)
    section = None
    for line, below in itertools.pairwise([*lines, ""]):
        if re.fullmatch(r" *-{3,}", below):
            section = line.strip()
        elif section in ("Attributes", "Parameters") and re.match(rf" {{{indent}}}[\w*]", line):
            yield from (name.strip(" *") for name in line.partition(" : ")[0].split(","))


def arguments(function):
    """Return the names of a function's parameters."""
    a = function.args
    given = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    return {argument.arg for argument in given if argument is not None}


def undefined(path, source):
    """Return the documented parameters and attributes that do not exist.

    A protocol documents what is optional, too.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef():
                known = arguments(node)
            case ast.ClassDef(bases=[ast.Name(id="Protocol")]):
                continue
            case ast.ClassDef():
                inits = [f for f in node.body if getattr(f, "name", "") == "__init__"]
                known = members(node).union(*map(arguments, inits))
            case _:
                continue
        names = documented(ast.get_docstring(node, clean=False) or "")
        found += [f"{path}: {node.name}: {n}" for n in names if n.isidentifier() and n not in known]
    return found


def test_documented_names_exist():
    texts = sources("gatecheck", "properties")
    names = [
        n for text in texts.values() for _, d in docstrings(ast.parse(text)) for n in documented(d)
    ]
    assert len(names) > 500
    assert [name for path, text in texts.items() for name in undefined(path, text)] == []


@pytest.mark.parametrize(("name", "fine"), [("x", True), ("y", False), ("x, y", False)])
@pytest.mark.parametrize(
    "source",
    [
        'def f(x):\n    """Do.\n\n    Parameters\n    ----------\n    NAME\n        It.\n    """\n',
        'class C:\n    """It.\n\n    Attributes\n    ----------\n    NAME\n        It.\n '
        '   """\n\n    x: int\n',
    ],
    ids=["function", "class"],
)
def test_documented_names_can_fail(source, name, fine):
    assert (undefined("x.py", source.replace("NAME", name)) == []) == fine


def test_first_lines_stand_alone():
    texts = sources("gatecheck", "properties", "tests", "docs", "reports")
    assert [odd for path, text in texts.items() for odd in oddities(path, text)] == []


def test_references_resolve():
    texts = sources("gatecheck", "properties")
    trees = {module_name(path): ast.parse(text) for path, text in texts.items()}
    assert sum(len(ROLE.findall(text)) for text in texts.values()) > 100
    assert unresolved(trees) == []


@pytest.mark.parametrize(
    ("docstring", "fine"),
    [
        ("Return the budget of a case.", True),
        ("Return it.\n\n    And more.", True),
        ("What became of one fault.", False),
        ("Of the property.", False),
        ("Whether it is right.", False),
        ("Runs on\n    in a second line.", False),
        (f"Long {'x' * 80}.", False),
    ],
)
def test_first_lines_can_fail(docstring, fine):
    source = f'def f():\n    """{docstring}"""\n'
    assert (oddities("gatecheck/x.py", source) == []) == fine


@pytest.mark.parametrize(
    ("reference", "fine"),
    [
        (":func:`f`", True),
        (":class:`C`", True),
        (":attr:`C.a`", True),
        (":data:`LIMIT`", True),
        (":mod:`gatecheck.x`", True),
        (":func:`gatecheck.x.f`", True),
        (":meth:`~gatecheck.x.C.m`", True),
        (":func:`g`", False),
        (":attr:`C.b`", False),
        (":mod:`gatecheck.y`", False),
        (":func:`gatecheck.loading.loading.load`", False),
        (":func:`gatecheck.x.g`", False),
    ],
)
def test_references_can_fail(reference, fine):
    source = (
        f'"""See {reference}."""\nLIMIT = 1\ndef f(): pass\n'
        "class C:\n    a: int\n    def m(self): pass\n"
    )
    assert (unresolved({"gatecheck.x": ast.parse(source)}) == []) == fine
