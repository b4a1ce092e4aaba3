"""TOML and JSON of users' files: bounded in size, depth, and the size of numbers."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatecheck._util.plain_files import read_plain
from gatecheck.errors import InputError, shorten

MAX_TOML_BYTES = 2**18
"""Largest size of a TOML file: a spec or a project file has some kB."""

MAX_JSON_BYTES = 2**24
"""Largest size of a JSON text."""

MAX_VALUES = 10**6
"""Largest number of values in a JSON text; each takes up to a hundred bytes."""

MAX_DOTS = 32
"""Most dots in a key of TOML: the time of tomllib grows with their square."""

MAX_BITS = 63
"""Size of a whole number.

TOML has no larger one, and Python cannot print some thousand digits.
"""

_STRINGS_AND_COMMENTS = re.compile(
    r'"""(?:[^\\]|\\.|\\\Z)*?(?:"""|\Z)|'
    r"'''.*?(?:'''|\Z)|"
    r'"(?:[^"\\\n]|\\.)*"?|'
    r"'[^'\n]*'?|"
    r"#[^\n]*",
    re.DOTALL,
)
# It begins only where a key does, so that the search is linear.
_LONG_KEY = re.compile(rf"(?<![\w\-\"\t .])(?:[\w\-\"\t ]*\.){{{MAX_DOTS + 1}}}")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file.

    Raises
    ------
    OSError
        As :func:`gatecheck._util.plain_files.open_plain`.
    InputError
        As :func:`parse_toml`, also if it is not UTF-8.
    """
    return parse_toml(read_text(path))


def read_text(path: Path) -> str:
    """Return the text of a TOML file, with line ends as ``\\n``.

    Raises
    ------
    OSError
        As :func:`gatecheck._util.plain_files.open_plain`.
    InputError
        If it is not UTF-8.
    """
    try:
        text = read_plain(path, MAX_TOML_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text: {error}") from error
    return text.replace("\r\n", "\n")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the values of a TOML text.

    Raises
    ------
    InputError
        If it is not TOML, too long, nested too deeply, or holds a number that is too large. The
        message says what the text is.
    """
    if len(text) > MAX_TOML_BYTES:
        raise InputError(
            f"has {len(text):,} characters, but gatecheck reads {MAX_TOML_BYTES:,} at most"
        )
    if _LONG_KEY.search(_STRINGS_AND_COMMENTS.sub('""', text)):
        raise InputError(f"is nested too deeply: a key has more than {MAX_DOTS} dots")
    try:
        values = tomllib.loads(text)
        large = next((way for way, v in _numbers(values, ()) if v.bit_length() > MAX_BITS), None)
    except RecursionError as error:
        raise InputError("is nested too deeply") from error
    except ValueError as error:  # a number of too many digits is one, too
        raise InputError(shorten(f"is not TOML: {error}")) from error
    if large is not None:
        raise InputError(
            shorten(f"has {'.'.join(large)}, a number that should be below 2**{MAX_BITS}")
        )
    return values


def _numbers(value: Any, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(value, int):
        yield way, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _numbers(entry, (*way, key))
    elif isinstance(value, list):
        for entry in value:
            yield from _numbers(entry, way)


def parse_json(data: bytes | str, name: str, most: int = MAX_JSON_BYTES) -> Any:
    """Return the value of a JSON text.

    Parameters
    ----------
    data
        The text, or its bytes in UTF-8.
    name
        Name of the text, for errors.
    most
        Its largest size.

    Raises
    ------
    InputError
        If it is not JSON, too long, of too many values, or nested too deeply.
    """
    if len(data) > most:
        raise InputError(f"{name} has {len(data):,} bytes, but gatecheck reads {most:,} at most")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        # Each value but the first follows one of these; in strings they count too.
        values = 1 + sum(map(text.count, ",[{"))
        if values > MAX_VALUES:
            raise InputError(
                f"{name} has some {values:,} values, but gatecheck reads {MAX_VALUES:,} at most"
            )
        return json.loads(text)
    except RecursionError as error:
        raise InputError(f"{name} is nested too deeply") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(shorten(f"{name} is not JSON: {error}")) from error
