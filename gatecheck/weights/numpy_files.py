"""Reader of NumPy's files of weights."""

from __future__ import annotations

from pathlib import Path

from gatecheck._util.npz import read_npz as arrays_of
from gatecheck.weights.stored import LIMIT, Stored


def read_npz(path: Path) -> Stored:
    """Read the arrays of an ``.npz``; errors are of :func:`gatecheck._util.npz.read_npz`."""
    stored = Stored()
    for name, array in arrays_of(path, LIMIT).items():
        stored.admit(name, array.shape, array.itemsize)
        stored.put(name, array)
    return stored
