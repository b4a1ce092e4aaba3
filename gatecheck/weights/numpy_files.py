"""Reader of NumPy's files of weights."""

from __future__ import annotations

from typing import IO

from gatecheck._util.npz import read_npz as arrays_of
from gatecheck._util.plain_files import Allowance, file_size
from gatecheck.weights.stored import StoredArrays


def read_npz(file: IO[bytes]) -> StoredArrays:
    """Read the arrays of an ``.npz``, by :func:`gatecheck._util.npz.read_npz`."""
    stored = StoredArrays(Allowance(file_size(file)))
    for name, array in arrays_of(file, stored.allowance).items():
        stored.add(name, array)
    return stored
