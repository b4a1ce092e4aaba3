"""Parameter conventions as data: linear maps from and to canonical parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck._util.arguments import FLAG, MAPPING, TEXT, error_context, require_kinds
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params, as_cell
from gatecheck.conventions.layout import (
    VECTOR_PARTS,
    Layout,
    LayoutArray,
    Place,
    block_places,
    check_layout,
    layout_arrays,
    part_shapes,
)
from gatecheck.errors import ConventionError

AXES = ("TBD", "BTD", "TDB", "DTB", "BDT", "DBT")


@dataclass(frozen=True)
class Convention:
    """A framework's names, shapes and order of parameters and sequences.

    Attributes
    ----------
    name
        The framework.
    layouts
        Its arrays by kind of cell: ``"rnn"``, ``"gru"``, ``"gru-before"`` and ``"lstm"``. A kind
        that is missing cannot be expressed.
    rows
        True if a gate's block is a set of rows of a matrix: W is then ``(G*H, D)``.
    interleaved
        True if the gates of a unit are adjacent, unit by unit, rather than the units of a gate.
    vectors
        Shape of a vector of n numbers: ``"flat"`` as ``(n,)``, ``"column"`` as ``(n, 1)``,
        ``"row"`` as ``(1, n)``.
    reverse
        Text that marks the names of the reverse direction.
    stacked
        True if one array holds both directions along a leading axis, which one direction has too.
    axes
        The axes of x and y: a permutation of T, B and D, such as ``"BTD"``.
    columns
        True if a state is ``(H, B)``, with one column per example.
    state_axes
        ``"NBH"`` or ``"BNH"`` if a state always has an axis N of layers and directions.
        Otherwise only a network's states have it, as the first axis.
    states
        Order in which states are taken and returned: ``"hc"`` or ``"ch"``.
    source
        Origin of these facts.
    """

    name: str
    layouts: Mapping[str, Layout]
    rows: bool = False
    interleaved: bool = False
    vectors: Literal["flat", "column", "row"] = "flat"
    reverse: str = ""
    stacked: bool = False
    axes: str = "TBD"
    columns: bool = False
    state_axes: Literal["", "NBH", "BNH"] = ""
    states: str = "hc"
    source: str = ""
    _plans: dict[tuple[Cell, int, int], _Plan] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        flags, texts = (
            ("rows", "interleaved", "stacked", "columns"),
            ("name", "vectors", "reverse", "axes", "state_axes", "states", "source"),
        )
        require_kinds(
            vars(self), layouts=MAPPING, **dict.fromkeys(flags, FLAG), **dict.fromkeys(texts, TEXT)
        )
        if self.axes not in AXES:
            raise ConventionError(
                f"the convention {self.name} has axes {self.axes!r}, "
                f"but should have one of {', '.join(AXES)}"
            )
        if self.states not in ("hc", "ch"):
            raise ConventionError(
                f"the convention {self.name} has states {self.states!r}, "
                "but should have 'hc' or 'ch'"
            )
        if self.vectors not in ("flat", "column", "row"):
            raise ConventionError(
                f"the convention {self.name} has vectors {self.vectors!r}, "
                "but should have 'flat', 'column' or 'row'"
            )
        if self.state_axes not in ("", "NBH", "BNH") or (self.state_axes and self.columns):
            wanted = "'NBH', 'BNH' or '', and columns only with ''"
            raise ConventionError(
                f"the convention {self.name} has state_axes {self.state_axes!r}, "
                f"but should have {wanted}"
            )
        for kind, layout in self.layouts.items():
            with error_context("layouts"):
                check_layout(self.name, layout, as_cell(kind))

    def shapes(self, cell: Cell, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of a cell's parameters in this convention.

        Raises
        ------
        ConventionError
            If the convention cannot express the cell.
        """
        return dict(self._plan(cell, D, H).shapes)

    def from_canonical(self, cell: Cell, params: Params) -> dict[str, Array]:
        """Convert canonical parameters to this convention, as new arrays.

        A bias that the convention stores as a sum of two is halved, which is exact.

        Raises
        ------
        ConventionError
            If it cannot express the cell, or has no array for a parameter that is not zero.
        """
        for name in self.unsupported_params(cell):
            if np.any(params[name]):
                raise ConventionError(
                    f"the convention {self.name} has no {name}, "
                    "so it cannot express one that is not zero"
                )
        return self._scatter(cell, params, halve_biases=True)

    def to_canonical(self, cell: Cell, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Convert parameters of this convention to canonical ones, as new arrays.

        The inverse of :meth:`spell`.

        Raises
        ------
        ConventionError
            If an array is missing, unknown or of a wrong shape; the message names it.
        """
        return self._gather(cell, arrays, halve_biases=False)

    def pull_back(self, cell: Cell, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Convert gradients of this convention's parameters to canonical ones.

        This is the transpose of :meth:`spell`. Parameters that are absent here get none.
        """
        canonical = self._gather(cell, gradients, halve_biases=True)
        return {
            name: a for name, a in canonical.items() if name not in self.unsupported_params(cell)
        }

    def gradients(self, cell: Cell, canonical: Params) -> dict[str, Array]:
        """Convert canonical gradients to those that the framework returns.

        This is the transpose of :meth:`read`.
        """
        return self._scatter(cell, canonical, halve_biases=False)

    def unsupported_params(self, cell: Cell) -> list[str]:
        """Return those of b and c_n that the convention lacks, so that they are zero."""
        return list(self._plan(cell, 1, 1).unsupported_params)

    def expresses(self, cell: Cell) -> bool:
        """Return whether the convention has an array for every parameter of a cell."""
        try:
            return not self.unsupported_params(cell)
        except ConventionError:
            return False

    def drop_parts(self, *parts: str) -> Convention:
        """Return the convention without the arrays that hold nothing but these parts.

        Cells without biases need this.
        """
        names = f"{self.name} without {' and '.join(parts)}"
        layouts = {
            kind: replace(
                layout,
                arrays={
                    k: v
                    for k, v in layout.arrays.items()
                    if v.partition(":")[0].strip(" '") not in parts
                },
            )
            for kind, layout in self.layouts.items()
        }
        return replace(self, name=names, layouts=layouts)

    def with_constant_input(self, cell: Cell) -> Convention:
        """Return the convention with the missing bias as the weight of a constant input.

        That input is the first, and always one. The convention is returned unchanged if it has a
        bias, or if the cell has several layers: the upper ones have no such input.
        """
        if cell.layers > 1 or not {f"b{tag}" for tag in cell.param_suffixes} <= set(
            self.unsupported_params(cell)
        ):
            return self
        layout = self.layout(cell)
        # The first input, since code that truncates an array loses the last ones, and the gradient
        # of this one is not checked.
        arrays = {
            name: _X_WEIGHTS.sub(r"b\1; W\1", content) for name, content in layout.arrays.items()
        }
        return replace(self, layouts={_layout_key(cell): replace(layout, arrays=arrays)})

    # ---- the map

    def _scatter(self, cell: Cell, params: Params, *, halve_biases: bool) -> dict[str, Array]:
        H = params["b"].shape[0] // len(cell.gates)
        D, dtype = params["W"].shape[0], params["W"].dtype
        plan = self._plan(cell, D, H)
        if plan.canonical:
            return {name: np.array(params[name], order="C") for name in plan.shapes}
        out = {name: np.zeros(shape, dtype) for name, shape in plan.shapes.items()}
        for array, direction, blocks in plan.arrays:
            matrix = self._canonical_view(array, out[array.name], direction)
            for block in blocks:
                matrix[block.stored_index] = params[block.name][block.canonical_index] * (
                    block.sign * (0.5 if halve_biases and block.is_summed else 1.0)
                )
        return out

    def _gather(
        self, cell: Cell, arrays: Mapping[str, Array], *, halve_biases: bool
    ) -> dict[str, Array]:
        D, H = self.sizes(cell, arrays)
        dtype, plan = next(iter(arrays.values())).dtype, self._plan(cell, D, H)
        if plan.canonical:
            return {name: np.array(arrays[name], dtype, order="C") for name in plan.shapes}
        out = {name: np.zeros(shape, dtype) for name, shape in cell.param_shapes(D, H).items()}
        filled: set[tuple[str, str]] = set()
        for array, direction, blocks in plan.arrays:
            matrix = self._canonical_view(array, np.asarray(arrays[array.name]), direction)
            for block in blocks:
                value = matrix[block.stored_index] * (
                    block.sign * (0.5 if halve_biases and block.is_summed else 1.0)
                )
                destination = np.atleast_2d(out[block.name])[:, block.canonical_index[-1]]
                # Assigned first, not added: 0 + -0 is 0.
                destination[...] = (
                    destination + value if (block.name, block.gate) in filled else value
                )
                filled.add((block.name, block.gate))
        return out

    def _plan(self, cell: Cell, D: int, H: int) -> _Plan:
        key = (cell, D, H)
        if key not in self._plans:
            self._plans[key] = self._build_plan(cell, D, H)
        return self._plans[key]

    def _build_plan(self, cell: Cell, D: int, H: int) -> _Plan:
        layout, P = self.layout(cell), cell.width(H)
        shapes: dict[str, tuple[int, ...]] = {}
        arrays: list[tuple[LayoutArray, int, list[_Block]]] = []
        for k, tag in enumerate(cell.param_suffixes):
            layer, direction = divmod(k, cell.directions)
            fields = {"layer": layer, "reverse": self.reverse if direction else "", "tag": tag}
            sizes = (cell.directions * P if layer else D, H, P)
            specs = list(layout_arrays(layout, cell.layer_cell, fields))
            biases = {
                (part, gate) for array in specs for part, gates in array.parts for gate in gates
            }
            summed = {
                gate
                for gate in cell.gates
                if {("b", gate), ("c", gate)} <= biases and (gate, cell.reset) != ("n", "after")
            }
            for array in specs:
                if any(
                    array.name == other.name and (not self.stacked or direction == used)
                    for other, used, _ in arrays
                ):
                    raise ConventionError(
                        f"the convention {self.name} has no names for more than one layer "
                        "in one direction"
                    )
                shapes[array.name] = (
                    (cell.directions,) if self.stacked else ()
                ) + self._stored_shape(array, *sizes)
                blocks = [
                    _make_block(cell, layout, place, tag, H, summed)
                    for place in block_places(array, *sizes, interleaved=self.interleaved)
                ]
                arrays.append((array, direction, blocks))
        placed = {block.name for _, _, blocks in arrays for block in blocks}
        canonical = (
            shapes == cell.param_shapes(D, H)
            and not self.rows
            and all(_is_canonical(array, blocks) for array, _, blocks in arrays)
        )
        return _Plan(
            shapes,
            arrays,
            [name for name in cell.param_shapes(1, 1) if name not in placed],
            canonical,
        )

    def layout(self, cell: Cell) -> Layout:
        """Return the layout of a kind of cell.

        Raises
        ------
        ConventionError
            If it cannot express the cell.
        """
        kind = _layout_key(cell)
        if kind in self.layouts:
            check_layout(self.name, self.layouts[kind], cell)
            return self.layouts[kind]
        if cell.reset and {"gru", "gru-before"} & set(self.layouts):
            raise ConventionError(
                f"the convention {self.name} cannot express a GRU that resets {cell.reset} "
                "the product h U_n"
            )
        raise ConventionError(f"the convention {self.name} has no {cell.kind}")

    # ---- one array

    def _stored_shape(self, array: LayoutArray, D: int, H: int, P: int) -> tuple[int, ...]:
        sizes = part_shapes(array, D, H, P)
        rows, columns = (list(v) for v in zip(*sizes, strict=True))
        shape = (rows[0], sum(columns)) if array.side_by_side else (sum(rows), max(columns))
        if array.is_vector:
            n = shape[1]
            return {"flat": (n,), "column": (n, 1), "row": (1, n)}[self.vectors]
        return shape[::-1] if self.rows != array.transposed else shape

    def _canonical_view(self, array: LayoutArray, stored: Array, direction: int) -> Array:
        """View an array as a matrix, inputs by gates; a vector is one row."""
        a = stored[direction] if self.stacked else stored
        if array.is_vector:
            return a.T if self.vectors == "column" else a.reshape(1, -1)
        return a.T if self.rows != array.transposed else a

    # ---- sizes

    def sequence_axes(self, batch_first: bool) -> str:
        """Return the axes of x and y of a layer, with the batch first if so requested."""
        return "BTD" if batch_first else self.axes

    def state_shape(self, cell: Cell, state: str, B: int, H: int) -> tuple[int, ...]:
        """Return the shape of h or c in this convention."""
        return self.state_from_canonical(cell, np.empty(cell.state_shape(state, B, H))).shape

    def state_from_canonical(self, cell: Cell, state: Array) -> Array:
        """Convert a state ``(B, H)`` or ``(N, B, H)`` to this convention, as a copy."""
        if self.state_axes:
            state = state.reshape(len(cell.param_suffixes), *state.shape[-2:])
            state = state.swapaxes(0, 1) if self.state_axes == "BNH" else state
        return np.array(state.swapaxes(-1, -2) if self.columns else state, order="C")

    def state_to_canonical(self, cell: Cell, state: Array) -> Array:
        """Convert a state to the canonical axes; the inverse of :meth:`spell_state`."""
        if self.state_axes:
            state = state.swapaxes(0, 1) if self.state_axes == "BNH" else state
            state = state if len(cell.param_suffixes) > 1 else state[0]
        return np.array(state.swapaxes(-1, -2) if self.columns else state, order="C")

    def sizes(self, cell: Cell, arrays: Mapping[str, Array]) -> tuple[int, int]:
        """Return D and H of parameters, after checking every name and shape.

        Raises
        ------
        ConventionError
            See :meth:`read`.
        """
        expected = self.shapes(cell, 1, 1)
        if set(arrays) != set(expected):
            raise ConventionError(
                f"the arrays are named {sorted(arrays)}, "
                f"but in the convention {self.name} should be {sorted(expected)}"
            )
        matrices = {}
        for part in "WU":
            array = next(
                array for array, _, _ in self._plan(cell, 1, 1).arrays if part in dict(array.parts)
            )
            stored = np.asarray(arrays[array.name])
            if stored.ndim != 2 + self.stacked:
                raise ConventionError(
                    f"{array.name} has shape {stored.shape}, "
                    f"but should be a matrix{' per direction' * self.stacked}"
                )
            matrices[part] = array, stored.shape[-2:][:: -1 if self.rows != array.transposed else 1]
        array, (_, columns) = matrices["U"]
        H = max(columns // len(dict(array.parts)["U"]), 1)
        array, (rows, _) = matrices["W"]
        D = max(rows - sum(n for n, _ in part_shapes(array, 0, H, cell.width(H))), 0)
        for name, shape in self.shapes(cell, D, H).items():
            if np.shape(arrays[name]) != shape:
                raise ConventionError(
                    f"{name} has shape {np.shape(arrays[name])}, "
                    f"but should have shape {shape} (D = {D}, H = {H})"
                )
        return D, H


_X_WEIGHTS = re.compile("W('?)")


def _layout_key(cell: Cell) -> str:
    """Return the key of a cell in a convention's layouts."""
    return "gru-before" if cell.reset == "before" else cell.kind


class _Block(NamedTuple):
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
    shared
        True if it is one of two biases that are added.
    """

    stored_index: tuple[slice, slice]
    sign: int
    name: str
    gate: str
    canonical_index: tuple[Any, ...]
    is_summed: bool


class _Plan(NamedTuple):
    """The linear map for one cell and its sizes.

    Attributes
    ----------
    shapes
        Shapes of the convention's arrays.
    arrays
        The arrays, each with its direction and blocks.
    absent
        Canonical parameters that no array holds.
    canonical
        True if the arrays are the canonical parameters.
    """

    shapes: dict[str, tuple[int, ...]]
    arrays: list[tuple[LayoutArray, int, list[_Block]]]
    unsupported_params: list[str]
    canonical: bool


def _is_canonical(array: LayoutArray, blocks: list[_Block]) -> bool:
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
) -> _Block:
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
    return _Block(
        (place.rows, place.columns),
        sign,
        f"{name}{tag}",
        gate,
        there,
        part in ("b", "c") and gate in summed_gates,
    )
