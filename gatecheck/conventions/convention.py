"""Parameter conventions as data: linear maps from and to canonical parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from gatecheck._util.arguments import FLAG, MAPPING, TEXT, error_context, require_kinds
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params, as_cell
from gatecheck.conventions.layout import Layout, check_layout, part_shapes
from gatecheck.conventions.plan import Plan, Storage, Vectors, make_plan
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
    vectors: Vectors = "flat"
    reverse: str = ""
    stacked: bool = False
    axes: str = "TBD"
    columns: bool = False
    state_axes: Literal["", "NBH", "BNH"] = ""
    states: str = "hc"
    source: str = ""
    _plans: dict[tuple[Cell, int, int], Plan] = field(
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

        The inverse of :meth:`Convention.from_canonical`.

        Raises
        ------
        ConventionError
            If an array is missing, unknown or of a wrong shape; the message names it.
        """
        return self._gather(cell, arrays, halve_biases=False)

    def pull_back(
        self, cell: Cell, gradients: Mapping[str, Array], sizes: tuple[int, int] | None = None
    ) -> dict[str, Array]:
        """Convert gradients of this convention's parameters to canonical ones.

        This is the transpose of :meth:`Convention.from_canonical`. Parameters that are absent here
        get none. Gradients of these sizes, D and H, are not checked again.
        """
        plan = self._plan(cell, *(self.sizes(cell, gradients) if sizes is None else sizes))
        canonical = plan.gather(gradients, halve_biases=True)
        return {name: a for name, a in canonical.items() if name not in plan.unsupported_params}

    def gradients(self, cell: Cell, canonical: Params) -> dict[str, Array]:
        """Convert canonical gradients to those that the framework returns.

        This is the transpose of :meth:`Convention.to_canonical`.
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
        plan = self._plan(cell, params["W"].shape[0], H)
        return plan.scatter(params, halve_biases=halve_biases)

    def _gather(
        self, cell: Cell, arrays: Mapping[str, Array], *, halve_biases: bool
    ) -> dict[str, Array]:
        plan = self._plan(cell, *self.sizes(cell, arrays))
        return plan.gather(arrays, halve_biases=halve_biases)

    def _plan(self, cell: Cell, D: int, H: int) -> Plan:
        key = (cell, D, H)
        if key not in self._plans:
            self._plans[key] = make_plan(self._storage(), self.layout(cell), cell, D, H)
        return self._plans[key]

    def _storage(self) -> Storage:
        return Storage(
            self.name, self.rows, self.interleaved, self.vectors, self.reverse, self.stacked
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
        """Convert a state to the canonical axes.

        The inverse of :meth:`Convention.state_from_canonical`.
        """
        if self.state_axes:
            state = state.swapaxes(0, 1) if self.state_axes == "BNH" else state
            state = state if len(cell.param_suffixes) > 1 else state[0]
        return np.array(state.swapaxes(-1, -2) if self.columns else state, order="C")

    def sizes(self, cell: Cell, arrays: Mapping[str, Array]) -> tuple[int, int]:
        """Return D and H of parameters, after checking every name and shape.

        Raises
        ------
        ConventionError
            See :meth:`Convention.to_canonical`.
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
