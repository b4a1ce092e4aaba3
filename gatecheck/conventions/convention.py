"""How an implementation spells a cell: a linear map between canonical parameters and its own, as
data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck._util.arguments import FLAG, MAPPING, TEXT, naming, require
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params, as_cell
from gatecheck.conventions.layout import VECTORS, Held, Layout, Place, check, extent, held, places
from gatecheck.errors import ConventionError

AXES = ("TBD", "BTD", "TDB", "DTB", "BDT", "DBT")


@dataclass(frozen=True)
class Convention:
    """The spelling of parameters and sequences in one framework.

    Attributes
    ----------
    name
        The framework.
    layouts
        By kind of cell, ``"rnn"``, ``"gru"``, ``"gru-before"`` and ``"lstm"``, its arrays. A kind
        that is missing cannot be expressed.
    rows
        Whether a gate's block is a set of rows of a matrix, W then being ``(G*H, D)``.
    interleaved
        Whether the gates of a unit lie side by side, unit by unit, rather than the units of a gate.
    vectors
        How a vector of n numbers is stored: ``"flat"`` as ``(n,)``, ``"column"`` as ``(n, 1)``,
        ``"row"`` as ``(1, n)``.
    reverse
        What marks a name of the reverse direction.
    stacked
        Whether both directions lie in one array, behind a leading axis that is there for one
        direction too.
    axes
        The axes of x and y: a permutation of T, B and D, such as ``"BTD"``.
    columns
        Whether the state is ``(H, B)``, a column an example.
    state_axes
        ``"NBH"`` or ``"BNH"`` where a state always has an axis N of layers and directions;
        otherwise it is there, first, in a network only.
    states
        The order in which states are taken and returned: ``"hc"`` or ``"ch"``.
    source
        Where this was read.
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
        require(
            vars(self), layouts=MAPPING, **dict.fromkeys(flags, FLAG), **dict.fromkeys(texts, TEXT)
        )
        if self.axes not in AXES:
            raise ConventionError(
                f"the convention {self.name} has axes {self.axes!r}, but should have one of {', '.join(AXES)}"
            )
        if self.states not in ("hc", "ch"):
            raise ConventionError(
                f"the convention {self.name} has states {self.states!r}, but should have 'hc' or 'ch'"
            )
        if self.vectors not in ("flat", "column", "row"):
            raise ConventionError(
                f"the convention {self.name} stores vectors {self.vectors!r}, but should 'flat', 'column' or 'row'"
            )
        if self.state_axes not in ("", "NBH", "BNH") or (self.state_axes and self.columns):
            wanted = "'NBH', 'BNH', or none of them, and columns only with none"
            raise ConventionError(
                f"the convention {self.name} has state_axes {self.state_axes!r}, but should have {wanted}"
            )
        for kind, layout in self.layouts.items():
            with naming("layouts"):
                check(self.name, layout, as_cell(kind))

    def shapes(self, cell: Cell, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters of a cell in this convention.

        Raises
        ------
        ConventionError
            If the convention cannot express the cell.
        """
        return dict(self._plan(cell, D, H).shapes)

    def spell(self, cell: Cell, params: Params) -> dict[str, Array]:
        """Canonical parameters in this convention, as new arrays.

        A bias that the convention writes as two is halved, which is exact.

        Raises
        ------
        ConventionError
            If it cannot express the cell, or has no place for a parameter that is not zero.
        """
        for name in self.absent(cell):
            if np.any(params[name]):
                raise ConventionError(
                    f"the convention {self.name} has no {name}, so it cannot express one that is not zero"
                )
        return self._scatter(cell, params, halved=True)

    def read(self, cell: Cell, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Canonical parameters from this convention's own, as new arrays; the inverse of
        :meth:`spell`.

        Raises
        ------
        ConventionError
            Naming the array that is missing, unknown or of a wrong shape.
        """
        return self._gather(cell, arrays, halved=False)

    def pull_back(self, cell: Cell, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients with respect to canonical parameters, by the transpose of :meth:`spell`; of
        those that are absent here, none.
        """
        canonical = self._gather(cell, gradients, halved=True)
        return {name: a for name, a in canonical.items() if name not in self.absent(cell)}

    def gradients(self, cell: Cell, canonical: Params) -> dict[str, Array]:
        """Gradients with respect to this convention's own parameters, by the transpose of
        :meth:`read`: what its framework returns.
        """
        return self._scatter(cell, canonical, halved=False)

    def absent(self, cell: Cell) -> list[str]:
        """The canonical parameters that have no place here, and so are zero: of b and c_n."""
        return list(self._plan(cell, 1, 1).absent)

    def expresses(self, cell: Cell) -> bool:
        """Whether every parameter of a cell has a place here."""
        try:
            return not self.absent(cell)
        except ConventionError:
            return False

    def without(self, *parts: str) -> Convention:
        """Itself without the arrays that hold nothing but these parts, such as a framework's cells
        that have no biases.
        """
        names = f"{self.name} without {' and '.join(parts)}"
        kept = {
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
        return replace(self, name=names, layouts=kept)

    def with_constant_input(self, cell: Cell) -> Convention:
        """Itself for this cell, but with the bias that it has no place for as the weight of one
        more input, the first, that is always one.

        Where it has a place for a bias, or the cell is several layers, of which the upper ones have
        no such input, it is as it was.
        """
        if cell.layers > 1 or not {f"b{tag}" for tag in cell.tags} <= set(self.absent(cell)):
            return self
        layout = self.layout(cell)
        # The first, since code that cuts an array short loses the last ones, and the gradient of
        # this one is not looked at.
        arrays = {name: _OF_X.sub(r"b\1; W\1", content) for name, content in layout.arrays.items()}
        return replace(self, layouts={_kind(cell): replace(layout, arrays=arrays)})

    # ---- the map

    def _scatter(self, cell: Cell, params: Params, *, halved: bool) -> dict[str, Array]:
        H = params["b"].shape[0] // len(cell.gates)
        D, dtype = params["W"].shape[0], params["W"].dtype
        plan = self._plan(cell, D, H)
        if plan.canonical:
            return {name: np.array(params[name], order="C") for name in plan.shapes}
        out = {name: np.zeros(shape, dtype) for name, shape in plan.shapes.items()}
        for array, direction, blocks in plan.arrays:
            matrix = self._matrix(array, out[array.name], direction)
            for block in blocks:
                matrix[block.here] = params[block.name][block.there] * (
                    block.sign * (0.5 if halved and block.shared else 1.0)
                )
        return out

    def _gather(self, cell: Cell, arrays: Mapping[str, Array], *, halved: bool) -> dict[str, Array]:
        D, H = self.sizes(cell, arrays)
        dtype, plan = next(iter(arrays.values())).dtype, self._plan(cell, D, H)
        if plan.canonical:
            return {name: np.array(arrays[name], dtype, order="C") for name in plan.shapes}
        out = {name: np.zeros(shape, dtype) for name, shape in cell.param_shapes(D, H).items()}
        seen: set[tuple[str, str]] = set()
        for array, direction, blocks in plan.arrays:
            matrix = self._matrix(array, np.asarray(arrays[array.name]), direction)
            for block in blocks:
                value = matrix[block.here] * (
                    block.sign * (0.5 if halved and block.shared else 1.0)
                )
                into = np.atleast_2d(out[block.name])[:, block.there[-1]]
                # Added to zero, -0 would become 0.
                into[...] = into + value if (block.name, block.gate) in seen else value
                seen.add((block.name, block.gate))
        return out

    def _plan(self, cell: Cell, D: int, H: int) -> _Plan:
        key = (cell, D, H)
        if key not in self._plans:
            self._plans[key] = self._made(cell, D, H)
        return self._plans[key]

    def _made(self, cell: Cell, D: int, H: int) -> _Plan:
        layout, P = self.layout(cell), cell.width(H)
        shapes: dict[str, tuple[int, ...]] = {}
        arrays: list[tuple[Held, int, list[_Block]]] = []
        for k, tag in enumerate(cell.tags):
            layer, direction = divmod(k, cell.directions)
            where = {"layer": layer, "reverse": self.reverse if direction else "", "tag": tag}
            sizes = (cell.directions * P if layer else D, H, P)
            found = list(held(layout, cell.one, where))
            biases = {
                (part, gate) for array in found for part, gates in array.parts for gate in gates
            }
            added = {
                gate
                for gate in cell.gates
                if {("b", gate), ("c", gate)} <= biases and (gate, cell.reset) != ("n", "after")
            }
            for array in found:
                if any(
                    array.name == other.name and (not self.stacked or direction == at)
                    for other, at, _ in arrays
                ):
                    raise ConventionError(
                        f"the convention {self.name} has no names for more than one layer in one direction"
                    )
                shapes[array.name] = ((cell.directions,) if self.stacked else ()) + self._stored(
                    array, *sizes
                )
                blocks = [
                    _block(cell, layout, place, tag, H, added)
                    for place in places(array, *sizes, interleaved=self.interleaved)
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
        """Its layout of a kind of cell.

        Raises
        ------
        ConventionError
            If it cannot express the cell.
        """
        kind = _kind(cell)
        if kind in self.layouts:
            check(self.name, self.layouts[kind], cell)
            return self.layouts[kind]
        if cell.reset and {"gru", "gru-before"} & set(self.layouts):
            raise ConventionError(
                f"the convention {self.name} cannot express a GRU that resets {cell.reset} the product h U_n"
            )
        raise ConventionError(f"the convention {self.name} has no {cell.kind}")

    # ---- one array

    def _stored(self, array: Held, D: int, H: int, P: int) -> tuple[int, ...]:
        sizes = extent(array, D, H, P)
        rows, columns = (list(v) for v in zip(*sizes, strict=True))
        shape = (rows[0], sum(columns)) if array.beside else (sum(rows), max(columns))
        if array.is_vector:
            n = shape[1]
            return {"flat": (n,), "column": (n, 1), "row": (1, n)}[self.vectors]
        return shape[::-1] if self.rows != array.turned else shape

    def _matrix(self, array: Held, stored: Array, direction: int) -> Array:
        """The view of an array in canonical orientation: inputs by gates, a vector being one row."""
        a = stored[direction] if self.stacked else stored
        if array.is_vector:
            return a.T if self.vectors == "column" else a.reshape(1, -1)
        return a.T if self.rows != array.turned else a

    # ---- sizes

    def sequence_axes(self, batch_first: bool) -> str:
        """The axes of x and y of a layer, which may be asked to take the batch first."""
        return "BTD" if batch_first else self.axes

    def state_shape(self, cell: Cell, state: str, B: int, H: int) -> tuple[int, ...]:
        """The shape of h or c, as it is taken and returned here."""
        return self.spell_state(cell, np.empty(cell.state_shape(state, B, H))).shape

    def spell_state(self, cell: Cell, state: Array) -> Array:
        """A copy of a state ``(B, H)`` or ``(N, B, H)`` as it is taken and returned here."""
        if self.state_axes:
            state = state.reshape(len(cell.tags), *state.shape[-2:])
            state = state.swapaxes(0, 1) if self.state_axes == "BNH" else state
        return np.array(state.swapaxes(-1, -2) if self.columns else state, order="C")

    def read_state(self, cell: Cell, state: Array) -> Array:
        """The inverse of :meth:`spell_state`."""
        if self.state_axes:
            state = state.swapaxes(0, 1) if self.state_axes == "BNH" else state
            state = state if len(cell.tags) > 1 else state[0]
        return np.array(state.swapaxes(-1, -2) if self.columns else state, order="C")

    def sizes(self, cell: Cell, arrays: Mapping[str, Array]) -> tuple[int, int]:
        """D and H of parameters, after every name and shape has been checked.

        Raises
        ------
        ConventionError
            As of :meth:`read`.
        """
        expected = self.shapes(cell, 1, 1)
        if set(arrays) != set(expected):
            raise ConventionError(
                f"the arrays are named {sorted(arrays)}, but in the convention {self.name} should be {sorted(expected)}"
            )
        matrices = {}
        for part in "WU":
            array = next(
                array for array, _, _ in self._plan(cell, 1, 1).arrays if part in dict(array.parts)
            )
            stored = np.asarray(arrays[array.name])
            if stored.ndim != 2 + self.stacked:
                raise ConventionError(
                    f"{array.name} has shape {stored.shape}, but should be a matrix{' a direction' * self.stacked}"
                )
            matrices[part] = array, stored.shape[-2:][:: -1 if self.rows != array.turned else 1]
        array, (_, columns) = matrices["U"]
        H = max(columns // len(dict(array.parts)["U"]), 1)
        array, (rows, _) = matrices["W"]
        D = max(rows - sum(n for n, _ in extent(array, 0, H, cell.width(H))), 0)
        for name, shape in self.shapes(cell, D, H).items():
            if np.shape(arrays[name]) != shape:
                raise ConventionError(
                    f"{name} has shape {np.shape(arrays[name])}, but should have shape {shape} (D = {D}, H = {H})"
                )
        return D, H


_OF_X = re.compile("W('?)")


def _kind(cell: Cell) -> str:
    """Under which name a convention has the layout of a cell."""
    return "gru-before" if cell.reset == "before" else cell.kind


class _Block(NamedTuple):
    """A block of a parameter here and there.

    Attributes
    ----------
    here
        Where it lies in a matrix of the convention's.
    sign
        -1 if its gate is negated.
    name, gate, there
        Of which canonical parameter it is the block of which gate, and where it lies in it.
    shared
        Whether it is one of two biases that are added.
    """

    here: tuple[slice, slice]
    sign: int
    name: str
    gate: str
    there: tuple[Any, ...]
    shared: bool


class _Plan(NamedTuple):
    """The map for one cell and its sizes: the arrays with their direction and blocks, and whether
    all are the canonical ones.
    """

    shapes: dict[str, tuple[int, ...]]
    arrays: list[tuple[Held, int, list[_Block]]]
    absent: list[str]
    canonical: bool


def _is_canonical(array: Held, blocks: list[_Block]) -> bool:
    """Whether an array of the canonical shape is one of the canonical parameters."""
    return not array.turned and all(
        block.name == array.name
        and block.sign == 1
        and not block.shared
        and (not block.gate or block.here[1] == block.there[-1])
        for block in blocks
    )


def _block(cell: Cell, layout: Layout, place: Place, tag: str, H: int, added: set[str]) -> _Block:
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
    there = (columns,) if name in VECTORS else (slice(None), columns)
    sign = -1 if gate in [*layout.negated] else 1
    return _Block(
        (place.rows, place.columns),
        sign,
        f"{name}{tag}",
        gate,
        there,
        part in ("b", "c") and gate in added,
    )
