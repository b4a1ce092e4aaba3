"""NumPy's files, ``.npy`` and ``.npz``, without pickles and with every size held against what is
there before anything is made.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import ArchiveError

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

MOST_MEMBERS = 10**5


def read_npz(file: IO[bytes] | Path, most: int, members: int = MOST_MEMBERS) -> dict[str, Array]:
    """The arrays of an ``.npz`` by name, as they are there.

    Parameters
    ----------
    file
        Open, or its path.
    most
        How many bytes it may unpack to.
    members
        How many arrays it may hold.

    Raises
    ------
    ArchiveError
        If it would be more, two have one name, or one is none: Python objects, or not of the size
        that it declares. zipfile and NumPy raise what they like for other damage.
    """
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(file) as archive:
        for info in bounded(archive, most, members):
            name = info.filename.removesuffix(".npy")
            if name in arrays:
                raise ArchiveError(f"it holds {name} twice")
            with archive.open(info) as member:
                arrays[name] = read_npy(name, member, info.file_size)
    return arrays


def bounded(
    archive: zipfile.ZipFile, most: int, members: int = MOST_MEMBERS
) -> Iterator[zipfile.ZipInfo]:
    """The files in an archive, if they are no more than that. None yields more bytes than its entry
    in the directory says.

    Raises
    ------
    ArchiveError
        If they are.
    """
    infos = archive.infolist()
    if len(infos) > members:
        raise ArchiveError(f"it has {len(infos):,} members, which is more than {members:,}")
    if (size := sum(info.file_size for info in infos)) > most:
        raise ArchiveError(f"it unpacks to {size:,} bytes, but gatecheck reads {most:,} at most")
    return (info for info in infos if not info.is_dir())


def read_npy(name: str, file: IO[bytes], size: int) -> Array:
    """The array in a file of `size` bytes.

    Raises
    ------
    ArchiveError
        As :func:`read_npz`.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ArchiveError(
            f"{name} is of version {version} of NumPy's format, but should be an array of plain numbers"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 2's spelling
        shape, columns_first, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.names:
        raise ArchiveError(
            f"{name} holds {dtype}, but should hold numbers; pickled objects are not read, because that runs code"
        )
    if min(shape, default=0) < 0:
        raise ArchiveError(f"{name} is damaged: its shape {shape} is none")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != there:
        raise ArchiveError(
            f"{name} is cut off or damaged: its shape {shape} is {declared:,} bytes, but {there:,} follow"
        )
    return np.ndarray(
        shape, dtype, bytearray(file.read(declared)), order="F" if columns_first else "C"
    )
