"""One recurrent layer in one direction, with its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.weights.stored import as_float64

REVERSE_NAMES = {"backward", "backward_layer", "backward_rnn", "reverse"}
"""Names of the reverse direction in Keras and Flax, where it is a separate layer."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One recurrent layer in one direction, with its weights.

    Attributes
    ----------
    name
        The prefix of the names of its arrays, joined by dots; may be empty.
    number
        Its number in a stack that shares the name, from 0; None if the convention's names have no
        numbers.
    reverse
        True if it runs from the last step to the first.
    cell
        Its cell: one layer in one direction. A forget bias added at run time is already in b.
    convention
        The name of the convention in which it was found.
    D, H
        Input size and hidden size.
    arrays
        Its arrays, as in the file.
    notes
        Assumptions about it, in sentences.
    """

    name: str
    number: int | None
    reverse: bool
    cell: Cell
    convention: str
    D: int
    H: int
    arrays: Mapping[str, Array]
    notes: tuple[str, ...]
    _read: Callable[[Mapping[str, Array]], dict[str, Array]]

    @cached_property
    def params(self) -> dict[str, Array]:
        """Canonical parameters, float64."""
        return self._read({k: as_float64(a) for k, a in self.arrays.items()})

    @property
    def label(self) -> str:
        """Label that selects this layer, such as ``encoder.lstm.l1.reverse``.

        It is ``.`` for a layer without a name.
        """
        suffix = [] if self.number is None else [f"l{self.number}"]
        turned = ["reverse"] if self.reverse and not REVERSE_NAMES & {*self.name.split(".")} else []
        return ".".join([*([self.name] if self.name else []), *suffix, *turned]) or "."

    def __str__(self) -> str:
        return f"{self.label} ({self.cell}, D={self.D}, H={self.H}, as in {self.convention})"
