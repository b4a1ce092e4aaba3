"""Project settings: ``[tool.gatecheck]`` in pyproject.toml and expected failures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gatecheck._util.arguments import describe_argument
from gatecheck._util.documents import read_toml
from gatecheck.cli.base import Command
from gatecheck.errors import InputError, UsageError, shorten

PROJECT_FILE = "pyproject.toml"
TOML_TABLE = "[tool.gatecheck]"

SETTING_TYPES: dict[str, tuple[type, ...]] = dict.fromkeys(
    ("target", "cell", "convention", "device", "profile", "expect"), (str,)
) | {
    "seed": (int,),
    "timeout": (int, float),
    "expected_failures": (dict,),
}
"""Keys of the table and the types of their values."""

_TYPE_NAMES = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    dict: "a table of reasons",
}


def find_settings() -> tuple[str, dict[str, Any]]:
    """Return the location of the project's audit settings, and the settings.

    They are in the nearest pyproject.toml with a ``[tool.gatecheck]`` table, from the working
    directory upwards. Its file names are relative to its folder.

    Raises
    ------
    UsageError
        If a pyproject.toml on the way cannot be read, or the table holds keys other than
        :data:`SETTING_TYPES` or values of another type.
    """
    try:
        cwd = Path.cwd()
    except OSError:  # the working directory was removed
        return "", {}
    for folder in (cwd, *cwd.parents):
        path = folder / PROJECT_FILE
        if not path.is_file():
            continue
        tools = _read_toml(path).get("tool", {})
        if not isinstance(tools, dict):
            raise UsageError(f"{path}: [tool] should be a table")
        table = tools.get("gatecheck")
        if table is not None:
            location = f"{path}: {TOML_TABLE}"
            try:
                return location, _validate_settings(table, location, path.parent)
            except UsageError as error:
                raise UsageError(shorten(f"{location} {error}")) from None
    return "", {}


def _validate_settings(table: Any, location: str, folder: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError("should be a table")
    if unknown := [key for key in table if key not in SETTING_TYPES]:
        raise UsageError(
            f"has no {' and no '.join(unknown)}; it may have {', '.join(SETTING_TYPES)}"
        )
    for key, value in table.items():
        if not isinstance(value, SETTING_TYPES[key]) or isinstance(value, bool):
            raise UsageError(
                f"{key} is {describe_argument(value)}, but should be "
                f"{_TYPE_NAMES[SETTING_TYPES[key][-1]]}"
            )
    settings = dict(table)
    if "expected_failures" in settings:
        if "expect" in settings:
            raise UsageError("has expect, a file, and expected_failures; it may have one of them")
        settings["expect"] = {
            "location": f"{location} expected_failures",
            "reasons": settings.pop("expected_failures"),
        }
    elif "expect" in settings:
        settings["expect"] = str(folder / settings["expect"])
    module, separator, name = str(settings.get("target", "")).rpartition(":")
    if separator and os.path.isfile(folder / module):
        settings["target"] = f"{os.path.relpath(folder / module)}:{name}"
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise UsageError(shorten(f"{path} {error}")) from error


class ExpectedFailures(click.ParamType):  # type: ignore[type-arg]  # a generic from click 8.4 on
    """Expected failures, as a mapping from property names to reasons.

    They come from a TOML file of ``property = "reason"``, or from a pyproject.toml.
    """

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """Return the reasons by property, after validating them."""
        source, reasons = (
            (value["location"], value["reasons"])
            if isinstance(value, Mapping)
            else (str(value), _read_toml(Path(value)))
        )
        # imports much, which a call without expectations is spared
        from gatecheck.auditing.selection import validate_reasons

        try:
            return validate_reasons(reasons)
        except UsageError as error:
            raise UsageError(shorten(f"{source}: {error}")) from error


class ProjectCommand(Command):
    """Command whose option defaults come from the project's settings."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Return a context with the project's settings as defaults.

        Raises
        ------
        UsageError
            If :func:`find_settings` fails, unless the call is for help.
        """
        location, settings, settings_error = "", dict[str, Any](), None
        try:
            location, settings = find_settings()
        except UsageError as error:
            settings_error = error
        try:
            context = super().make_context(
                info_name, args, parent, **{"default_map": settings, **extra}
            )
        except click.BadParameter as error:
            option = error.param.name if error.param is not None else None
            if (
                error.ctx is None
                or option is None
                or error.ctx.get_parameter_source(option) is not ParameterSource.DEFAULT_MAP
            ):
                raise
            raise UsageError(shorten(f"{location} {option}: {error.message}")) from error
        if settings_error is not None:
            raise settings_error
        return context


def target_options(
    ctx: click.Context, target: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options about a target, without settings for another target.

    An option is None if it comes from the project's settings and these name another target.
    """
    configured_target = (ctx.default_map or {}).get("target")
    applies = target is not None and configured_target in (None, target)
    from_settings = ParameterSource.DEFAULT_MAP
    return {
        name: value if applies or ctx.get_parameter_source(name) is not from_settings else None
        for name, value in options.items()
    }
