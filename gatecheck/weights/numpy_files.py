"""NumPy's files, ``.npy`` and ``.npz``, without pickles and with every size held against what is there."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from gatecheck.cells import Array
from gatecheck.errors import WeightsFileError
from gatecheck.weights.stored import LIMIT, Stored

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path) -> Stored:
    """The arrays of an ``.npz``.

    Raises
    ------
    WeightsFileError
        If one holds Python objects, or is not of the size that it declares; zipfile and NumPy raise what they like for other damage.
    """
    check_archive(path)
    stored = Stored()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as member:
                    stored.put(name, read_npy(name, member, info.file_size, stored))
    return stored


def read_npy(name: str, file: IO[bytes], size: int, stored: Stored | None = None) -> Array:
    """The array in a file of `size` bytes; the limit is that of all arrays in `stored`.

    Raises
    ------
    WeightsFileError
        As :func:`read_npz`.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise WeightsFileError(f"{name} is of version {version} of NumPy's format, but should be an array of plain numbers")
    shape, columns_first, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.names:
        raise WeightsFileError(f"{name} holds {dtype}, but should hold numbers; pickled objects are not read, because that runs code")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != there:
        raise WeightsFileError(f"{name} is cut off or damaged: its shape {shape} is {declared:,} bytes, but {there:,} follow")
    (stored or Stored()).admit(name, shape, dtype.itemsize)
    return np.frombuffer(file.read(declared), dtype).reshape(shape, order="F" if columns_first else "C")


def check_archive(path: Path) -> None:
    """That the members of a zip archive unpack to no more than gatecheck reads. No member yields more bytes than the directory says.

    Raises
    ------
    WeightsFileError
        If they do not.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > LIMIT:
        raise WeightsFileError(f"it unpacks to {size:,} bytes, but gatecheck reads {LIMIT:,} at most")
