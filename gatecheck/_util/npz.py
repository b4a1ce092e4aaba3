"""Bounded readers of ``.npy`` and ``.npz`` files, without pickles.

Every declared size is checked against the file, and spent from its allowance, before memory is
allocated.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from typing import IO

import numpy as np

from gatecheck._util.plain_files import ARRAY_BYTES, Allowance
from gatecheck._util.typing import Array
from gatecheck.errors import ArchiveError

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Kinds of compression: zipfile bounds what others unpack to by nothing."""


def read_npz(file: IO[bytes], allowance: Allowance) -> dict[str, Array]:
    """Read the arrays of an ``.npz``, by name.

    Parameters
    ----------
    file
        Open file.
    allowance
        What reading it may take.

    Raises
    ------
    ArchiveError
        If it takes more, two arrays have one name, or one holds Python objects or has another
        size than it declares. zipfile and NumPy raise other errors for other damage.
    """
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(file) as archive:
        for info in bounded_members(archive, allowance):
            name = info.filename.removesuffix(".npy")
            if name in arrays:
                raise ArchiveError(f"it holds {name} twice")
            with archive.open(info) as member:
                arrays[name] = read_npy(name, member, info.file_size)
    return arrays


def bounded_members(archive: zipfile.ZipFile, allowance: Allowance) -> Iterator[zipfile.ZipInfo]:
    """Return the files in an archive, if they are within the allowance.

    None yields more bytes than its entry in the directory declares.

    Raises
    ------
    ArchiveError
        If they are not.
    """
    infos = archive.infolist()
    for info in infos:
        allowance.spend(info.filename, info.file_size + ARRAY_BYTES)
        if info.compress_type not in _METHODS:
            raise ArchiveError(f"{info.filename} is packed by another method than deflate")
    return (info for info in infos if not info.is_dir())


def read_npy(name: str, file: IO[bytes], size: int) -> Array:
    """Read the array in a file of `size` bytes.

    Raises
    ------
    ArchiveError
        As for :func:`read_npz`.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ArchiveError(
            f"{name} has version {version} of NumPy's format, "
            "but should be an array of plain numbers"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers written by Python 2
        shape, columns_first, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.names:
        raise ArchiveError(
            f"{name} holds {dtype}, but should hold numbers; "
            "pickled objects are not read, because that runs code"
        )
    if min(shape, default=0) < 0:
        raise ArchiveError(f"{name} is damaged: its shape {shape} is negative")
    declared, available = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != available:
        raise ArchiveError(
            f"{name} is cut off or damaged: "
            f"its shape {shape} is {declared:,} bytes, but {available:,} follow"
        )
    return np.ndarray(
        shape, dtype, bytearray(file.read(declared)), order="F" if columns_first else "C"
    )
