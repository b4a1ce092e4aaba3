"""Layouts: the positions of a cell's parameter blocks in a framework's arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gatecheck._util.arguments import MAPPING, TEXT, ArgumentKind, require_kinds
from gatecheck.cells import Cell, as_cell
from gatecheck.errors import ConventionError

PARTS = {
    "W": "the weights of x",
    "U": "the weights of h",
    "b": "the bias",
    "c": "a second bias of every gate, added to b; for the candidate of a GRU that resets after "
    "the product it is c_n",
    "c_n": "the second bias of the candidate alone",
    "p": "the peephole weights",
    "R": "the projection",
}

VECTOR_PARTS = ("b", "c", "c_n", "p")


_TEXTS = ArgumentKind(
    "a mapping from names to texts",
    lambda value: MAPPING.accepts(value) and all(isinstance(text, str) for text in value.values()),
)


@dataclass(frozen=True)
class Layout:
    """The arrays that hold the parameters of one kind of cell.

    Attributes
    ----------
    order
        Order of the gate blocks, such as ``"ifgo"``.
    arrays
        Contents of each array by its name, from :data:`PARTS`, in MATLAB's notation: ``"W"``;
        ``"U; W"``, one matrix on [h, x]; ``"b; W; U"``, the bias as the first row; ``"b | c"``, one
        bias after the other; ``"R'"``, transposed, against the `rows` of its convention. A colon
        precedes its gates, if these are not all or in another order: ``"W; U : rz"``,
        ``"p : iof"``. In a name ``{gate}`` stands for the gate, so that each has a separate array;
        ``{layer}`` for the number of the layer, from 0; ``{reverse}`` for the convention's
        `reverse` in the reverse direction and for nothing in the other; ``{tag}`` for the
        canonical tag.
    negated
        Gates of the opposite polarity. Their blocks are negated: 1 - σ(a) = σ(-a).
    gate_names
        Names of the gates in array names, where these are not their letters.
    """

    order: str
    arrays: Mapping[str, str]
    negated: str = ""
    gate_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_kinds(vars(self), order=TEXT, arrays=_TEXTS, negated=TEXT, gate_names=_TEXTS)


class LayoutArray(NamedTuple):
    """An array of a convention, for one layer in one direction.

    Attributes
    ----------
    name
        Its name.
    parts
        Each part, with its gates in order.
    side_by_side
        True if the parts are joined along the gates' axis, not along the rows.
    transposed
        True if it is transposed, unlike the convention's other arrays.
    """

    name: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]
    side_by_side: bool
    transposed: bool

    @property
    def is_vector(self) -> bool:
        """True if it is a vector: no matrix, and no parts in separate rows."""
        return all(part in VECTOR_PARTS for part, _ in self.parts) and (
            self.side_by_side or len(self.parts) == 1
        )


class Place(NamedTuple):
    """The position of one block in an array.

    Attributes
    ----------
    part, gate
        The block; the gate is empty for c_n and R.
    rows, columns
        Its index in the matrix, where it is in canonical orientation, ``(rows, H)``.
    """

    part: str
    gate: str
    rows: slice
    columns: slice


def layout_arrays(
    layout: Layout, cell: Cell, name_fields: Mapping[str, object]
) -> Iterator[LayoutArray]:
    """Yield the arrays of a cell of one layer and direction in a layout.

    Parameters
    ----------
    layout, cell
        The layout of this kind of cell, and the cell.
    name_fields
        Values of ``{layer}``, ``{reverse}`` and ``{tag}``.
    """
    absent = {"c_n": cell.reset != "after", "p": not cell.peepholes, "R": not cell.projection}
    for template, content in layout.arrays.items():
        body, _, listed = content.replace(" ", "").partition(":")
        body, side_by_side, transposed = body.replace("'", ""), "|" in body, "'" in body
        present = [
            part for part in body.split("|" if side_by_side else ";") if not absent.get(part)
        ]
        gates = tuple(k for k in listed or layout.order if k in cell.gates)
        if not present:
            continue
        gates_of = {"p": tuple(k for k in gates if k in cell.sigmoid_gates), "c_n": (), "R": ()}
        parts = [(part, gates_of.get(part, gates)) for part in present]
        if "{gate}" not in template:
            yield LayoutArray(
                template.format(**name_fields), tuple(parts), side_by_side, transposed
            )
            continue
        for k in parts[0][1]:
            name = template.format(**name_fields, gate=layout.gate_names.get(k, k))
            yield LayoutArray(
                name, tuple((part, (k,)) for part in present), side_by_side, transposed
            )


def part_shapes(array: LayoutArray, D: int, H: int, P: int) -> list[tuple[int, int]]:
    """Return the rows and columns of each part, for D inputs, H units and P outputs."""
    rows = {"W": D, "U": P, "R": H}
    return [
        (rows.get(part, 1), P if part == "R" else max(len(gates), 1) * H)
        for part, gates in array.parts
    ]


def block_places(array: LayoutArray, D: int, H: int, P: int, interleaved: bool) -> Iterator[Place]:
    """Yield the position of each block in the matrix ``(rows, columns)`` of an array."""
    row = column = 0
    for (part, gates), (rows, columns) in zip(
        array.parts, part_shapes(array, D, H, P), strict=True
    ):
        row_slice, end = slice(row, row + rows), column + columns
        if not gates:
            yield Place(part, "", row_slice, slice(column, end))
        for k, gate in enumerate(gates):
            column_slice = (
                slice(column + k, end, len(gates))
                if interleaved
                else slice(column + k * H, column + (k + 1) * H)
            )
            yield Place(part, gate, row_slice, column_slice)
        row, column = (row, column + columns) if array.side_by_side else (row + rows, column)


def check_layout(name: str, layout: Layout, cell: Cell) -> None:
    """Check that a layout makes sense for a cell.

    Raises
    ------
    ConventionError
        If it does not; the message says why.
    """
    if not isinstance(layout, Layout):
        raise ConventionError(
            f"the convention {name} has {layout!r} for a {cell.kind}, but should have a Layout"
        )
    # A coupled LSTM has no gate i, but i still has a place in the order.
    gates = as_cell(cell.kind).gates
    if sorted(layout.order) != sorted(gates):
        raise ConventionError(
            f"the convention {name} orders a {cell.kind} as {layout.order!r}, "
            f"but should order {', '.join(gates)}"
        )
    if not set(layout.negated) <= set(cell.sigmoid_gates):
        raise ConventionError(
            f"the convention {name} negates {layout.negated!r}, "
            f"but only {', '.join(cell.sigmoid_gates)} have a polarity"
        )
    for template, content in layout.arrays.items():
        body = content.replace(" ", "").partition(":")[0]
        tokens = body.replace("|", ";").split(";")
        transposed = [part.endswith("'") for part in tokens]
        if (
            {part.removesuffix("'") for part in tokens} - {*PARTS}
            or ("|" in body and ";" in body)
            or any(transposed) != all(transposed)
        ):
            raise ConventionError(
                f"the convention {name} says that {template} holds {content!r}, "
                f"but it should hold {', '.join(PARTS)}, joined by ';' (one below the other) "
                "or by '|' (side by side), and all with ' (transposed) or none"
            )
    try:
        arrays = list(layout_arrays(layout, cell, {"layer": 0, "reverse": "", "tag": ""}))
    except (LookupError, ValueError, AttributeError) as error:
        wanted = "{gate}, {layer}, {reverse} and {tag}"
        raise ConventionError(
            f"the convention {name} has array names with something other than {wanted} in braces"
        ) from error
    parts = [part for array in arrays for part, _ in array.parts]
    needed = (
        {"W", "U"} | ({"p"} if cell.peepholes else set()) | ({"R"} if cell.projection else set())
    )
    if missing := sorted(needed - set(parts)):
        names = [PARTS[part].removeprefix("the ") for part in missing]
        raise ConventionError(f"the convention {name} has no {' and no '.join(names)}")
