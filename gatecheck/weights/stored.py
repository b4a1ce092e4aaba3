"""Arrays and metadata read from a file; nothing in it is trusted."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.plain_files import ARRAY_BYTES, Allowance
from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.errors import printable

MAX_NAME = 4096
"""Largest number of characters of a name."""

HALF_DTYPES = ("float16", "bfloat16")


class LayerMetadata(NamedTuple):
    """Metadata of a layer in a file.

    Attributes
    ----------
    cell
        Its cell, as one layer in one direction.
    convention
        The name of the convention of its arrays.
    reverse
        True if it runs from the last step to the first.
    """

    cell: Cell
    convention: str
    reverse: bool = False


@dataclass
class StoredArrays:
    """Arrays and metadata of a file.

    Attributes
    ----------
    allowance
        What reading the file may take.
    arrays
        Arrays by name. Floats of 16 bits are widened to float64, exactly; all others are as in the
        file.
    metadata
        Metadata of layers by name, as normalized by :func:`normalize_name`; None if the layer is
        not a framework's cell.
    skipped
        By name, the reason why an array or a layer is left out.
    """

    allowance: Allowance
    arrays: dict[str, Array] = field(default_factory=dict)
    metadata: dict[str, LayerMetadata | None] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def spend_array(self, name: str, shape: tuple[int, ...], itemsize: int) -> None:
        """Spend an array before it is allocated.

        Raises
        ------
        ArchiveError
            If it is more than the file may take.
        """
        size = math.prod(shape) * max(itemsize, 8)  # it becomes float64
        self.allowance.spend(name, size + len(name) + ARRAY_BYTES)

    def add(self, name: str, array: Any) -> None:
        """Add an array; one of a name that no layer has is skipped."""
        if len(name) > MAX_NAME:
            self.skipped[f"{name[:50]}…"] = f"its name has {len(name):,} characters"
            return
        array = np.asarray(array)
        if array.dtype.name in HALF_DTYPES:
            array = as_float64(array)
        self.arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)


def as_float64(array: Array) -> Array:
    """Convert floats to float64 exactly, without warnings of signaling NaNs."""
    with np.errstate(invalid="ignore"):
        return np.asarray(array, np.float64)


def from_bfloat16(bits: Array) -> Array:
    """Convert bits of bfloat16 to float64.

    NumPy has no such dtype; bfloat16 is the upper half of float32.
    """
    return as_float64((bits.astype(np.uint32) << 16).view(np.float32))


def normalize_name(name: str) -> str:
    """Normalize a name to parts joined by dots.

    ``params/gru/hi`` and ``['params']['gru']['hi']`` become ``params.gru.hi``. TensorFlow's ``:0``
    and Flax NNX's ``value`` at the end are dropped.
    """
    return printable(re.sub(r":\d+$|\.value$", "", ".".join(re.findall(r"[^./|\[\]'\"]+", name))))
