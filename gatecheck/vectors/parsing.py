"""Bytes of files read without trust, and the JSON and arrays that they hold.

Nothing is unpickled, no link is followed, and whatever is read or unpacked is bounded. Every defect
is one :class:`~gatecheck.errors.CaseFileError`, in one line.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util import documents
from gatecheck._util.npz import read_npz
from gatecheck._util.plain_files import Allowance, read_plain
from gatecheck._util.typing import Array
from gatecheck.errors import ArchiveError, CaseFileError, InputError, shorten

MAX_FILE_BYTES = 2**24
"""Largest size of a file; an exported case has some 100 kB."""

MAX_CASES = 1000
"""Largest number of cases in a folder."""


def read_bytes(folder: Path, name: str) -> bytes:
    """Read a file in a folder.

    Parameters
    ----------
    folder, name
        The name is one of ours, such as ``cases/lstm-1.npz``, never one that was read.

    Raises
    ------
    CaseFileError
        If it is missing, a link, not a regular file, or larger than :data:`MAX_FILE_BYTES`.
    """
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise CaseFileError(f"{path} is a symbolic link, which is not followed")
    try:
        return read_plain(path, MAX_FILE_BYTES, links=False)
    except FileNotFoundError as error:
        raise CaseFileError(f"there is no file {path}") from error
    except OSError as error:
        raise CaseFileError(f"{path} cannot be read: {error.strerror}") from error


def parse_json(data: bytes) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Raises
    ------
    CaseFileError
        If it is not JSON, nested too deeply, or not an object.
    """
    try:
        value = documents.parse_json(data, "it")
    except InputError as error:
        raise CaseFileError(str(error)) from error
    if not isinstance(value, dict):
        raise CaseFileError(f"it holds a {type(value).__name__}, but should hold an object {{…}}")
    return value


def parse_npz(data: bytes) -> dict[str, Array]:
    """Return the arrays of floats and integers in an ``.npz``.

    Raises
    ------
    CaseFileError
        If it is damaged, unpacks to more than a file of its size may, or holds objects.
    """
    try:
        arrays = read_npz(io.BytesIO(data), Allowance(len(data)))
    except ArchiveError as error:
        raise CaseFileError(shorten(str(error))) from error
    except Exception as error:  # zipfile, zlib and NumPy raise many types for a damaged file
        raise CaseFileError(
            f"it is not an .npz: {abbreviate(str(error) or type(error).__name__)}"
        ) from error
    if other := next(
        (name for name, array in arrays.items() if array.dtype.kind not in "fiu"), None
    ):
        raise CaseFileError(
            f"{abbreviate(other)} has dtype {arrays[other].dtype}, but should hold floats"
        )
    return {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}


def parse_array(name: str, value: Any) -> Array:
    """Return an array from JSON.

    It is nested lists, or an object of ``shape`` and ``values``; numbers are decimal, or strings of
    decimal or hexadecimal ones.

    Raises
    ------
    CaseFileError
        If it is something else.
    """
    if not isinstance(value, dict):
        shape = _nested_shape(name, value)
        return np.array(
            [_parse_float(name, v) for v in _flatten(name, value, shape)], float
        ).reshape(shape)
    if not {"shape", "values"} <= set(value):
        raise CaseFileError(f'{abbreviate(name)} is an object without "shape" and "values"')
    shape, values = value["shape"], value["values"]
    if (
        not isinstance(shape, list)
        or not all(type(n) is int and n >= 0 for n in shape)
        or len(shape) > 8
        or math.prod(n or 1 for n in shape) > MAX_FILE_BYTES  # of a file without values, too
    ):
        raise CaseFileError(
            f"{abbreviate(name)} has shape {abbreviate(shape)}, which is not a shape"
        )
    if not isinstance(values, list) or math.prod(shape) != len(values):
        raise CaseFileError(
            f"{abbreviate(name)} has {_describe_count(values)}, which do not fill its "
            f"shape {tuple(shape)}"
        )
    return np.array([_parse_float(name, v) for v in values], float).reshape(shape)


def _nested_shape(name: str, value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > 8:
            raise CaseFileError(f"{abbreviate(name)} is nested too deeply")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flatten(name: str, value: Any, shape: tuple[int, ...]) -> list[Any]:
    if not shape:
        return [value]
    if not isinstance(value, list) or len(value) != shape[0]:
        raise CaseFileError(f"{abbreviate(name)} is ragged: its rows are not of one length")
    return [leaf for row in value for leaf in _flatten(name, row, shape[1:])]


def _parse_float(name: str, value: Any) -> float:
    try:
        if type(value) in (int, float):
            return float(value)
        if isinstance(value, str):
            return float.fromhex(value) if "x" in value.lower() else float(value)
    except (ValueError, OverflowError):
        pass
    raise CaseFileError(f"{abbreviate(name)} holds {abbreviate(value)}, which is not a number")


def _describe_count(values: Any) -> str:
    return (
        f"{len(values)} values"
        if isinstance(values, list)
        else f"a {type(values).__name__} of values"
    )


def abbreviate(value: Any) -> str:
    """Return a value that was read, short and without control characters.

    It is for messages.
    """
    # repr of a deeply nested value would recurse too deeply.
    printed = (
        repr(value)
        if isinstance(value, str | int | float) or value is None
        else f"a {type(value).__name__}"
    )
    return printed if len(printed) <= 60 else f"{printed[:57]}…"
