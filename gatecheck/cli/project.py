"""What a project says about its audits: ``[tool.gatecheck]`` in its pyproject.toml, and files of
failures that are expected.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gatecheck.cli.base import Command
from gatecheck.errors import UsageError, in_brief

FILE = "pyproject.toml"
TABLE = "[tool.gatecheck]"

KEYS: dict[str, tuple[type, ...]] = dict.fromkeys(
    ("target", "cell", "convention", "device", "profile", "expect"), (str,)
) | {
    "seed": (int,),
    "timeout": (int, float),
    "expected_failures": (dict,),
}
"""What may stand in the table, and of which type."""

_CALLED = {str: "a text", int: "a whole number", float: "a number", dict: "a table of reasons"}


def defaults() -> tuple[str, dict[str, Any]]:
    """What the nearest pyproject.toml with our table, from the working directory upwards, says
    about audits, and which one that is.

    Files that it names are looked for in its own folder.

    Raises
    ------
    UsageError
        If a pyproject.toml on the way cannot be read, or the table holds something else than
        :data:`KEYS`.
    """
    try:
        here = Path.cwd()
    except OSError:  # the working directory was removed
        return "", {}
    for folder in (here, *here.parents):
        path = folder / FILE
        if not path.is_file():
            continue
        tools = _read(path).get("tool", {})
        if not isinstance(tools, dict):
            raise UsageError(f"{path}: [tool] should be a table")
        table = tools.get("gatecheck")
        if table is not None:
            where = f"{path}: {TABLE}"
            try:
                return where, _checked(table, where, path.parent)
            except UsageError as error:
                raise UsageError(in_brief(f"{where} {error}")) from None
    return "", {}


def _checked(table: Any, where: str, folder: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError("should be a table")
    if unknown := [key for key in table if key not in KEYS]:
        raise UsageError(f"has no {' and no '.join(unknown)}; it may have {', '.join(KEYS)}")
    for key, value in table.items():
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise UsageError(f"{key} is {value!r}, but should be {_CALLED[KEYS[key][-1]]}")
    found = dict(table)
    if "expected_failures" in found:
        if "expect" in found:
            raise UsageError("has expect, a file, and expected_failures; it may have one of them")
        found["expect"] = {
            "of": f"{where} expected_failures",
            "reasons": found.pop("expected_failures"),
        }
    elif "expect" in found:
        found["expect"] = str(folder / found["expect"])
    module, separator, name = str(found.get("target", "")).rpartition(":")
    if separator and os.path.isfile(folder / module):
        found["target"] = f"{os.path.relpath(folder / module)}:{name}"
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply") from error
    except ValueError as error:  # of the TOML, or of its encoding
        raise UsageError(in_brief(f"{path} is not TOML: {error}")) from error


class Expected(click.ParamType):  # type: ignore[type-arg]  # a generic from click 8.4 on
    """A TOML file of ``property = "reason"``, or the same from a pyproject.toml: by the name of a
    property the reason.
    """

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """The reasons, once they are known to be some."""
        where, found = (
            (value["of"], value["reasons"])
            if isinstance(value, Mapping)
            else (str(value), _read(Path(value)))
        )
        # imports much, which a call without expectations is spared
        from gatecheck.auditing.audit import with_reasons

        try:
            return with_reasons(found)
        except UsageError as error:
            raise UsageError(in_brief(f"{where}: {error}")) from error


class Configured(Command):
    """A command whose options have their defaults from the project."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """With the project's defaults, which what is given on the command line replaces.

        Raises
        ------
        UsageError
            As of :func:`defaults`, unless the call is for help.
        """
        where, said, wrong = "", dict[str, Any](), None
        try:
            where, said = defaults()
        except UsageError as error:
            wrong = error
        try:
            context = super().make_context(
                info_name, args, parent, **{"default_map": said, **extra}
            )
        except click.BadParameter as error:
            name = error.param.name if error.param is not None else None
            if (
                error.ctx is None
                or name is None
                or error.ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP
            ):
                raise
            raise UsageError(in_brief(f"{where} {name}: {error.message}")) from error
        if wrong is not None:
            raise wrong
        return context


def about_the_target(
    ctx: click.Context, target: str | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Options that say something about a target, but None for what the project says about its own,
    where that is another.
    """
    theirs = (ctx.default_map or {}).get("target")
    mine = target is not None and theirs in (None, target)
    default = ParameterSource.DEFAULT_MAP
    return {
        name: value if mine or ctx.get_parameter_source(name) is not default else None
        for name, value in given.items()
    }
