"""Where the blocks of a cell's parameters lie in the arrays of somebody else's, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gatecheck._util.arguments import MAPPING, TEXT, Kind, require
from gatecheck.cells import Cell, as_cell
from gatecheck.errors import ConventionError

PARTS = {
    "W": "the weights of x",
    "U": "the weights of h",
    "b": "the bias",
    "c": "a second bias of every gate, added to b; of the candidate of a GRU that resets after the product it is c_n",
    "c_n": "the second bias of the candidate alone",
    "p": "the peephole weights",
    "R": "the projection",
}

VECTORS = ("b", "c", "c_n", "p")


_TEXTS = Kind(
    "a mapping from names to texts",
    lambda value: MAPPING.fits(value) and all(isinstance(text, str) for text in value.values()),
)


@dataclass(frozen=True)
class Layout:
    """Which arrays hold the parameters of one kind of cell, and how.

    Attributes
    ----------
    order
        The order of the gate blocks, such as ``"ifgo"``.
    arrays
        By the name of an array what it holds, from :data:`PARTS`, in MATLAB's notation: ``"W"``;
        ``"U; W"``, one matrix on [h, x]; ``"b; W; U"``, the bias as its first row; ``"b | c"``, one
        bias behind the other; ``"R'"``, transposed, against the `rows` of its convention. Behind a
        colon the gates it has, if not all or in an order of its own: ``"W; U : rz"``, ``"p :
        iof"``. In a name ``{gate}`` stands for the gate, each then having an array of its own;
        ``{layer}`` for the number of the layer from 0 on; ``{reverse}`` for the convention's
        `reverse` in the reverse direction and nothing in the other; ``{tag}`` for the canonical
        tag.
    negated
        The gates whose polarity is the opposite one, reached by negating their blocks: 1 - σ(a) =
        σ(-a).
    gate_names
        How gates are spelled in names, where not by their letters.
    """

    order: str
    arrays: Mapping[str, str]
    negated: str = ""
    gate_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(vars(self), order=TEXT, arrays=_TEXTS, negated=TEXT, gate_names=_TEXTS)


class Held(NamedTuple):
    """An array of a convention, for one layer in one direction."""

    name: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]  # each part, and its gates in order
    beside: bool  # along the gates' axis rather than below one another
    turned: bool  # transposed, against the convention's other arrays

    @property
    def is_vector(self) -> bool:
        """Whether it is a vector: no weights, and nothing below anything."""
        return all(part in VECTORS for part, _ in self.parts) and (
            self.beside or len(self.parts) == 1
        )


class Place(NamedTuple):
    """Where one block lies.

    Attributes
    ----------
    part, gate
        Which block; the gate is empty for c_n and R.
    rows, columns
        Where in the matrix; there the block is in canonical orientation, ``(rows, H)``.
    """

    part: str
    gate: str
    rows: slice
    columns: slice


def held(layout: Layout, cell: Cell, where: Mapping[str, object]) -> Iterator[Held]:
    """The arrays that a cell of one layer and direction has in a layout.

    Parameters
    ----------
    layout, cell
        The layout of this kind of cell, and the cell.
    where
        What ``{layer}``, ``{reverse}`` and ``{tag}`` stand for.
    """
    lacks = {"c_n": cell.reset != "after", "p": not cell.peepholes, "R": not cell.projection}
    for template, content in layout.arrays.items():
        body, _, some = content.replace(" ", "").partition(":")
        body, beside, turned = body.replace("'", ""), "|" in body, "'" in body
        present = [part for part in body.split("|" if beside else ";") if not lacks.get(part)]
        gates = tuple(k for k in some or layout.order if k in cell.gates)
        if not present:
            continue
        own = {"p": tuple(k for k in gates if k in cell.sigmoid_gates), "c_n": (), "R": ()}
        parts = [(part, own.get(part, gates)) for part in present]
        if "{gate}" not in template:
            yield Held(template.format(**where), tuple(parts), beside, turned)
            continue
        for k in parts[0][1]:
            name = template.format(**where, gate=layout.gate_names.get(k, k))
            yield Held(name, tuple((part, (k,)) for part in present), beside, turned)


def extent(array: Held, D: int, H: int, P: int) -> list[tuple[int, int]]:
    """The rows and columns of each of its parts, for D inputs, H units and P outputs a unit's step."""
    rows = {"W": D, "U": P, "R": H}
    return [
        (rows.get(part, 1), P if part == "R" else max(len(gates), 1) * H)
        for part, gates in array.parts
    ]


def places(array: Held, D: int, H: int, P: int, interleaved: bool) -> Iterator[Place]:
    """Where each block lies in the matrix ``(rows, columns)`` that an array is."""
    row = column = 0
    for (part, gates), (rows, columns) in zip(array.parts, extent(array, D, H, P), strict=True):
        here, end = slice(row, row + rows), column + columns
        if not gates:
            yield Place(part, "", here, slice(column, end))
        for k, gate in enumerate(gates):
            own = (
                slice(column + k, end, len(gates))
                if interleaved
                else slice(column + k * H, column + (k + 1) * H)
            )
            yield Place(part, gate, here, own)
        row, column = (row, column + columns) if array.beside else (row + rows, column)


def check(name: str, layout: Layout, cell: Cell) -> None:
    """That a layout makes sense for a cell.

    Raises
    ------
    ConventionError
        Saying what does not.
    """
    if not isinstance(layout, Layout):
        raise ConventionError(
            f"the convention {name} has {layout!r} for a {cell.kind}, but should have a Layout"
        )
    # a coupled LSTM has no i of its own, but a place in the order all the same
    gates = as_cell(cell.kind).gates
    if sorted(layout.order) != sorted(gates):
        raise ConventionError(
            f"the convention {name} orders a {cell.kind} as {layout.order!r}, but should order {', '.join(gates)}"
        )
    if not set(layout.negated) <= set(cell.sigmoid_gates):
        raise ConventionError(
            f"the convention {name} negates {layout.negated!r}, but only {', '.join(cell.sigmoid_gates)} have a polarity"
        )
    for template, content in layout.arrays.items():
        body = content.replace(" ", "").partition(":")[0]
        parts_ = body.replace("|", ";").split(";")
        turned = [part.endswith("'") for part in parts_]
        if (
            {part.removesuffix("'") for part in parts_} - {*PARTS}
            or ("|" in body and ";" in body)
            or any(turned) != all(turned)
        ):
            raise ConventionError(
                f"the convention {name} says that {template} holds {content!r}, but it should hold {', '.join(PARTS)}, "
                "joined by ';' (below one another) or by '|' (beside one another), and all with ' (transposed) or none"
            )
    try:
        arrays = list(held(layout, cell, {"layer": 0, "reverse": "", "tag": ""}))
    except (LookupError, ValueError, AttributeError) as error:
        wanted = "{gate}, {layer}, {reverse} and {tag}"
        raise ConventionError(
            f"the convention {name} has arrays with names in which more than {wanted} stands in braces"
        ) from error
    parts = [part for array in arrays for part, _ in array.parts]
    needed = (
        {"W", "U"} | ({"p"} if cell.peepholes else set()) | ({"R"} if cell.projection else set())
    )
    if missing := sorted(needed - set(parts)):
        raise ConventionError(
            f"the convention {name} has no {' and no '.join(PARTS[part].removeprefix('the ') for part in missing)}"
        )
