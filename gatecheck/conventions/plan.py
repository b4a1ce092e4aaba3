"""The linear map of a convention for one cell and its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.conventions.layout import (
    VECTOR_PARTS,
    Layout,
    LayoutArray,
    Place,
    block_places,
    layout_arrays,
    part_shapes,
)
from gatecheck.errors import ConventionError

Vectors = Literal["flat", "column", "row"]


class Storage(NamedTuple):
    """Storage of the arrays of a convention, whatever their layout.

    The attributes are those of :class:`~gatecheck.conventions.convention.Convention`.
    """

    name: str
    rows: bool
    interleaved: bool
    vectors: Vectors
    reverse: str
    stacked: bool

    def shape(self, array: LayoutArray, D: int, H: int, P: int) -> tuple[int, ...]:
        """Return the shape of an array of one direction."""
        sizes = part_shapes(array, D, H, P)
        rows, columns = (list(v) for v in zip(*sizes, strict=True))
        shape = (rows[0], sum(columns)) if array.side_by_side else (sum(rows), max(columns))
        if array.is_vector:
            n = shape[1]
            return {"flat": (n,), "column": (n, 1), "row": (1, n)}[self.vectors]
        return shape[::-1] if self.rows != array.transposed else shape

    def canonical_view(self, array: LayoutArray, stored: Array, direction: int) -> Array:
        """View an array as a matrix, inputs by gates; a vector is one row."""
        a = stored[direction] if self.stacked else stored
        if array.is_vector:
            return a.T if self.vectors == "column" else a.reshape(1, -1)
        return a.T if self.rows != array.transposed else a


class Block(NamedTuple):
    """One gate's block of a parameter, in the convention and in canonical form.

    Attributes
    ----------
    stored_index
        Its index in the convention's matrix.
    sign
        -1 if its gate is negated, else 1.
    name, gate
        The canonical parameter and its gate.
    canonical_index
        Its index in that parameter.
    is_summed
        True if it is one of two biases that are added.
    is_second
        True if an earlier block is added to the same one.
    """

    stored_index: tuple[slice, slice]
    sign: int
    name: str
    gate: str
    canonical_index: tuple[Any, ...]
    is_summed: bool
    is_second: bool = False

    def scaled(self, value: Array, halve_biases: bool) -> Array:
        """Return a value of one form in the other; a bias that is a sum of two is halved."""
        factor = self.sign * (0.5 if halve_biases and self.is_summed else 1.0)
        return value if factor == 1 else value * factor


class Plan(NamedTuple):
    """The linear map for one cell and its sizes.

    Attributes
    ----------
    storage
        How the convention stores its arrays.
    shapes
        Shapes of the convention's arrays.
    canonical_shapes
        Shapes of the canonical parameters.
    arrays
        The arrays, each with its direction and blocks.
    unsupported_params
        Canonical parameters that no array holds.
    canonical
        True if the arrays are the canonical parameters.
    """

    storage: Storage
    shapes: dict[str, tuple[int, ...]]
    canonical_shapes: dict[str, tuple[int, ...]]
    arrays: list[tuple[LayoutArray, int, list[Block]]]
    unsupported_params: list[str]
    canonical: bool

    def scatter(self, params: Params, *, halve_biases: bool) -> dict[str, Array]:
        """Return arrays of the convention from canonical parameters."""
        dtype = params["W"].dtype
        if self.canonical:
            return {name: np.array(params[name], order="C") for name in self.shapes}
        out = {name: np.zeros(shape, dtype) for name, shape in self.shapes.items()}
        for array, direction, blocks in self.arrays:
            matrix = self.storage.canonical_view(array, out[array.name], direction)
            for block in blocks:
                value = params[block.name][block.canonical_index]
                matrix[block.stored_index] = block.scaled(value, halve_biases)
        return out

    def gather(self, arrays: Mapping[str, Array], *, halve_biases: bool) -> dict[str, Array]:
        """Return canonical parameters from arrays of the convention."""
        dtype = next(iter(arrays.values())).dtype
        if self.canonical:
            return {name: np.array(arrays[name], dtype, order="C") for name in self.shapes}
        out = {name: np.zeros(shape, dtype) for name, shape in self.canonical_shapes.items()}
        for array, direction, blocks in self.arrays:
            matrix = self.storage.canonical_view(array, np.asarray(arrays[array.name]), direction)
            for block in blocks:
                value = block.scaled(matrix[block.stored_index], halve_biases)
                destination = out[block.name][..., block.canonical_index[-1]]
                # Assigned first, not added: 0 + -0 is 0.
                destination[...] = destination + value if block.is_second else value
        return out


def make_plan(storage: Storage, layout: Layout, cell: Cell, D: int, H: int) -> Plan:
    """Return the map of a cell of these sizes.

    Raises
    ------
    ConventionError
        If two layers or directions have arrays of one name.
    """
    P = cell.width(H)
    shapes: dict[str, tuple[int, ...]] = {}
    arrays: list[tuple[LayoutArray, int, list[Block]]] = []
    filled: set[tuple[str, str]] = set()
    for k, tag in enumerate(cell.param_suffixes):
        layer, direction = divmod(k, cell.directions)
        fields = {"layer": layer, "reverse": storage.reverse if direction else "", "tag": tag}
        sizes = (cell.directions * P if layer else D, H, P)
        specs = list(layout_arrays(layout, cell.layer_cell, fields))
        biases = {(part, gate) for array in specs for part, gates in array.parts for gate in gates}
        summed = {
            gate
            for gate in cell.gates
            if {("b", gate), ("c", gate)} <= biases and (gate, cell.reset) != ("n", "after")
        }
        for array in specs:
            if any(
                array.name == other.name and (not storage.stacked or direction == used)
                for other, used, _ in arrays
            ):
                raise ConventionError(
                    f"the convention {storage.name} has no names for more than one layer "
                    "in one direction"
                )
            shapes[array.name] = ((cell.directions,) if storage.stacked else ()) + storage.shape(
                array, *sizes
            )
            blocks = []
            for place in block_places(array, *sizes, interleaved=storage.interleaved):
                block = _make_block(cell, layout, place, tag, H, summed)
                blocks.append(block._replace(is_second=(block.name, block.gate) in filled))
                filled.add((block.name, block.gate))
            arrays.append((array, direction, blocks))
    canonical_shapes = cell.param_shapes(D, H)
    placed = {block.name for _, _, blocks in arrays for block in blocks}
    canonical = (
        shapes == canonical_shapes
        and not storage.rows
        and all(_is_canonical(array, blocks) for array, _, blocks in arrays)
    )
    unsupported_params = [name for name in canonical_shapes if name not in placed]
    return Plan(storage, shapes, canonical_shapes, arrays, unsupported_params, canonical)


def _is_canonical(array: LayoutArray, blocks: list[Block]) -> bool:
    """Return whether an array of the canonical shape is a canonical parameter."""
    return not array.transposed and all(
        block.name == array.name
        and block.sign == 1
        and not block.is_summed
        and (not block.gate or block.stored_index[1] == block.canonical_index[-1])
        for block in blocks
    )


def _make_block(
    cell: Cell, layout: Layout, place: Place, tag: str, H: int, summed_gates: set[str]
) -> Block:
    part, gate = place.part, place.gate
    order: tuple[str, ...]
    if part == "c_n" or (part == "c" and gate == "n" and cell.reset == "after"):
        name, order = "c_n", ("n",)
    else:
        name, order = (
            ("b" if part == "c" else part),
            (cell.sigmoid_gates if part == "p" else cell.gates),
        )
    columns = (
        slice(order.index(gate) * H, (order.index(gate) + 1) * H) if gate in order else slice(None)
    )
    there = (columns,) if name in VECTOR_PARTS else (slice(None), columns)
    sign = -1 if gate in [*layout.negated] else 1
    return Block(
        (place.rows, place.columns),
        sign,
        f"{name}{tag}",
        gate,
        there,
        part in ("b", "c") and gate in summed_gates,
    )
