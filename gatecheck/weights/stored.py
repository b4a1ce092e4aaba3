"""What was read from a file: arrays by name, what the file says of them, and what was left out;
nothing in it is trusted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.errors import WeightsFileError, printable

LIMIT = 8 * 2**30
"""Bytes that the arrays of a file may take. A small file can declare any size: compressed, or by a
shape with nothing behind it.
"""

HALVES = ("float16", "bfloat16")


class Said(NamedTuple):
    """What a file says of a layer beside its arrays.

    Attributes
    ----------
    cell
        One layer in one direction of it.
    convention
        The name of the convention of its arrays.
    reverse
        Whether it runs from the last step to the first.
    """

    cell: Cell
    convention: str
    reverse: bool = False


@dataclass
class Stored:
    """The arrays of a file.

    Attributes
    ----------
    arrays
        By name. Floats of 16 bits are widened to float64, exactly; all others are as in the file.
    said
        By the name of a layer, as :func:`spelled` has it, what the file says of it; None says that
        it is no cell of a framework's.
    left_out
        By name why an array or a layer is not among them.
    size
        Bytes admitted so far.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    said: dict[str, Said | None] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def admit(self, name: str, shape: tuple[int, ...], itemsize: int) -> None:
        """Count an array before it is made.

        Raises
        ------
        WeightsFileError
            If all of them together would be larger than :data:`LIMIT`.
        """
        self.size += math.prod(shape) * max(itemsize, 8)  # in float64, which it becomes
        if self.size > LIMIT:
            raise WeightsFileError(
                f"{name} and what is before it unpack to {self.size:,} bytes, but gatecheck reads {LIMIT:,} at most"
            )

    def put(self, name: str, array: Any) -> None:
        """Add an array."""
        array = np.asarray(array)
        if array.dtype.name in HALVES:
            array = doubled(array)
        self.arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)


def doubled(array: Array) -> Array:
    """Floats in float64, which is exact; there are no warnings of what a damaged file may hold,
    signalling NaNs.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(array, np.float64)


def from_bfloat16(bits: Array) -> Array:
    """Numbers of bfloat16, given as unsigned integers, in float64. NumPy has no such dtype; they
    are the upper halves of float32.
    """
    return doubled((bits.astype(np.uint32) << 16).view(np.float32))


def spelled(name: str) -> str:
    """A name with its parts joined by dots, whatever joined them: ``params/gru/hi``,
    ``['params']['gru']['hi']`` and ``params.gru.hi``.

    TensorFlow's ``:0`` and the ``value`` of a variable of Flax NNX at its end are no part of it.
    """
    return printable(re.sub(r":\d+$|\.value$", "", ".".join(re.findall(r"[^./|\[\]'\"]+", name))))
