"""Reader of NumPy's files of weights."""

from __future__ import annotations

from pathlib import Path

from gatecheck._util.npz import read_npz as arrays_of
from gatecheck.weights.stored import LIMIT, StoredArrays


def read_npz(path: Path) -> StoredArrays:
    """Read the arrays of an ``.npz``, by :func:`gatecheck._util.npz.read_npz`."""
    stored = StoredArrays()
    for name, array in arrays_of(path, LIMIT).items():
        stored.count_bytes(name, array.shape, array.itemsize)
        stored.add(name, array)
    return stored
