"""Implementations in other languages: their description, and the calls.

Libraries and programs describe themselves with the same lines of text, each a key and its words::

    gatecheck 1                       the version of this format; always the first line
    cell lstm                         or --cell
    convention pytorch                or --convention; canonical if neither is given
    dtypes float32 float64            both by default
    abilities lengths bitwise         besides forward; a program with a backward says backward here
    options batch_first reverse       the layout of a sequence
    size B 1                          a size that it requires
    expected_failure NAME REASON      a property that it is documented not to have

Only the first line is required. See :mod:`gatecheck.implementation` for the meaning of the words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Sizes, as_cell
from gatecheck.conventions import as_convention
from gatecheck.errors import TargetError, UsageError

FORMAT = "gatecheck 1"
"""First line of a description.

The number is that of the C ABI and of the messages, which change together.
"""

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Description:
    """The description that foreign code gives of itself; see the module."""

    cell: str | None = None
    convention: str | None = None
    dtypes: tuple[str, ...] = DTYPES
    abilities: frozenset[str] = frozenset()
    options: dict[str, bool] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)
    expected_failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One call, in the convention and the layout of the code that is called.

    Attributes
    ----------
    method
        ``"forward"`` or ``"backward"``.
    sizes
        T, B, D and H.
    params
        Parameters by their names in the convention, in its order.
    arrays
        x, and those of h0, c0, lengths, dy, dhT and dcT that are present; lengths are int64, all
        others have the dtype of x.
    results
        Shapes of the results: of y, hT and cT, or of dx, dh0, dc0 and, as ``dNAME``, of the
        gradient of each parameter.
    """

    method: str
    sizes: Sizes
    params: dict[str, Array]
    arrays: dict[str, Array]
    results: dict[str, tuple[int, ...]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of every array but lengths."""
        return self.arrays["x"].dtype


CallFunction = Callable[[Call], dict[str, Array]]


class ForeignImplementation:
    """An implementation in another language.

    Parameters
    ----------
    label
        Name for messages.
    description
        Its description.
    run
        Makes one call and returns every one of its results, in any order.
    cell, convention
        Override what it describes.

    Raises
    ------
    UsageError
        If there is no such cell or convention.
    TargetError
        If it describes a cell or a convention that does not exist, or no cell at all.
    """

    def __init__(
        self,
        label: str,
        description: Description,
        run: CallFunction,
        cell: str | None,
        convention: str | None,
    ) -> None:
        chosen_cell = None if cell is None else as_cell(cell)
        chosen_convention = None if convention is None else as_convention(convention)
        if chosen_cell is None and description.cell is None:
            raise TargetError(
                f"{label} does not say which cell it is: give --cell, or let it describe itself"
            )
        try:
            self.cell = chosen_cell or as_cell(description.cell or "")
            self.convention = chosen_convention or as_convention(description.convention)
        except UsageError as error:
            raise TargetError(f"{label}: {error}") from error
        self.dtypes, self.sizes, self.options, self.expected_failures = (
            description.dtypes,
            description.sizes,
            description.options,
            description.expected_failures,
        )
        self.bitwise = "bitwise" in description.abilities
        # The signature determines whether lengths are taken, as with any implementation.
        self.forward = (
            self._forward if "lengths" in description.abilities else self._without_lengths
        )
        self.backward = self._backward if "backward" in description.abilities else None
        self._label, self._run = label, run

    def _forward(
        self,
        params: dict[str, Array],
        x: Array,
        first: Array | None,
        second: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        sizes, order = self._sizes(params, x), self._state_order()
        along = {"T": sizes.T, "B": sizes.B, "D": self.cell.directions * self.cell.width(sizes.H)}
        shapes = {"y": tuple(along[axis] for axis in self._sequence_axes())}
        shapes |= {
            f"{k}T": self.convention.state_shape(self.cell, k, sizes.B, sizes.H)
            for k in order
            if k in self.cell.state
        }
        states = dict(zip((f"{k}0" for k in order), (first, second), strict=True))
        results = self._run(
            Call(
                "forward",
                sizes,
                params,
                _present_arrays(x=x, h0=states["h0"], c0=states["c0"], lengths=lengths),
                shapes,
            )
        )
        return tuple(results[name] for name in shapes)

    def _without_lengths(
        self, params: dict[str, Array], x: Array, first: Array | None, second: Array | None = None
    ) -> tuple[Array, ...]:
        return self._forward(params, x, first, second)

    def _backward(
        self,
        params: dict[str, Array],
        x: Array,
        first: Array | None,
        second: Array | None,
        dy: Array | None,
        d_first: Array | None,
        d_second: Array | None,
        lengths: Array | None = None,
    ) -> dict[str, Array]:
        sizes, order = self._sizes(params, x), self._state_order()
        shapes = {name: a.shape for name, a in params.items()} | {"x": x.shape}
        shapes |= {
            f"{k}0": self.convention.state_shape(self.cell, k, sizes.B, sizes.H)
            for k in self.cell.state
        }
        states = dict(zip((f"{k}0" for k in order), (first, second), strict=True))
        final = dict(zip((f"d{k}T" for k in order), (d_first, d_second), strict=True))
        arrays = _present_arrays(
            x=x,
            h0=states["h0"],
            c0=states["c0"],
            lengths=lengths,
            dy=dy,
            dhT=final["dhT"],
            dcT=final["dcT"],
        )
        gradients = self._run(
            Call(
                "backward",
                sizes,
                params,
                arrays,
                {f"d{name}": shape for name, shape in shapes.items()},
            )
        )
        return {name: gradients[f"d{name}"] for name in shapes}

    def _sequence_axes(self) -> str:
        return self.convention.sequence_axes(self.options.get("batch_first", False))

    def _state_order(self) -> str:
        """Return the order of the states, which matters only with a cell state."""
        return self.convention.states if "c" in self.cell.state else "hc"

    def _sizes(self, params: dict[str, Array], x: Array) -> Sizes:
        dtypes = {a.dtype.name for a in (*params.values(), x)}
        # An oracle may try complex numbers on any code; other languages would misread them.
        if len(dtypes) > 1 or not dtypes <= set(self.dtypes):
            raise TypeError(
                f"{self._label} takes arrays of one dtype, {' or '.join(self.dtypes)}, "
                f"not {' and '.join(sorted(dtypes))}"
            )
        along = dict(zip(self._sequence_axes(), x.shape, strict=True))
        return Sizes(along["T"], along["B"], *self.convention.sizes(self.cell, params))


def _present_arrays(**arrays: Array | None) -> dict[str, Array]:
    return {
        name: a.astype(np.int64) if name == "lengths" else a
        for name, a in arrays.items()
        if a is not None
    }


def parse_description(text: str, label: str, abilities: Collection[str]) -> Description:
    """Parse the description of foreign code.

    Parameters
    ----------
    text
        Lines in the format of the module's docstring.
    label
        Name for messages.
    abilities
        Abilities that it may name.

    Raises
    ------
    TargetError
        If the first line is another one, or a line is not known.
    """
    first, *lines = [line for line in text.splitlines() if line.strip()] or [""]
    if first.split() != FORMAT.split():
        raise TargetError(
            f"{label} describes itself by {first[:80]!r}, but should begin with the line {FORMAT!r}"
        )
    fields: dict[str, Any] = {}
    sizes: dict[str, Any] = {}
    expected: dict[str, str] = {}
    for line in lines:
        match line.split():
            case ["cell" | "convention" as key, word]:
                fields[key] = word
            case ["dtypes", *words] if words and set(words) <= set(DTYPES):
                fields["dtypes"] = tuple(words)
            case ["abilities", *words] if set(words) <= set(abilities):
                fields["abilities"] = frozenset(words)
            case ["options", *words]:
                fields["options"] = dict.fromkeys(words, True)
            case ["size", size, word]:
                sizes[size] = int(word) if word.isdecimal() else word
            case ["expected_failure", name, *reason] if reason:
                expected[name] = " ".join(reason)
            case _:
                known = (
                    f"cell, convention, dtypes ({', '.join(DTYPES)}), "
                    f"abilities ({', '.join(abilities)}), options, size, expected_failure"
                )
                raise TargetError(
                    f"{label} describes itself by {line[:80]!r}, but should use {known}"
                )
    return Description(**fields, sizes=sizes, expected_failures=expected)
