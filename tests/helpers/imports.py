"""Imports of the package, read from its sources: nothing is run."""

import ast
from pathlib import PurePosixPath

from helpers.paths import ROOT


def sources(*folders):
    """Return the text of every Python file in these folders, by path."""
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def module_name(path):
    """Return the dotted name of a file of ``gatecheck/`` or ``properties/``."""
    name = ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")
    return name if name.startswith("gatecheck") else f"gatecheck.{name}"


def imported_names(nodes):
    """Yield the line and dotted name of every import, with the dots of relative ones."""
    for node in nodes:
        match node:
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.ImportFrom(names=aliases, module=module, level=level):
                dots = "." * level
                yield from ((node.lineno, f"{dots}{module or ''}.{a.name}") for a in aliases)


def import_closure(*starts):
    """Return every module of the package that these modules import, directly or not."""
    texts = {module_name(p): text for p, text in sources("gatecheck", "properties").items()}
    seen, left = set(), list(starts)
    while left:
        name = left.pop()
        if name in seen or name == "gatecheck":
            continue
        if name not in texts:  # a name in a module
            left += [name.rpartition(".")[0]] if "." in name else []
            continue
        seen.add(name)
        left += [
            n
            for _, n in imported_names(ast.walk(ast.parse(texts[name])))
            if n.startswith("gatecheck.")
        ]
        left.append(name.rpartition(".")[0])
    return seen
