"""How an implementation spells a cell: a linear map between canonical parameters and its own, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from gatecheck.blocks import of_tag
from gatecheck.cells import Array, Cell, Params, as_cell
from gatecheck.errors import ConventionError


@dataclass(frozen=True)
class Convention:
    """The spelling of parameters in one framework.

    Attributes
    ----------
    name
        The framework.
    order
        By kind of cell, the order of the gate blocks, such as ``{"lstm": "ifgo"}``; kinds that are missing cannot be expressed.
    names
        The names of W, U and b (and of c_n, p and R, where they are arrays of their own); ``{layer}`` stands for the number of the layer
        from 0 on, ``{reverse}`` for `reverse` in the reverse direction and nothing in the other, ``{tag}`` for the canonical tag.
    rows
        Whether a gate's block is a set of rows, W then being ``(G*H, D)``.
    reverse
        What marks a name of the reverse direction.
    second_bias
        The name of a bias that is added to b, or None; in a reset-after GRU its candidate block is c_n.
    negated
        By kind, the gates whose polarity is the opposite one, reached by negating their blocks: 1 - σ(a) = σ(-a).
    resets
        The reset placements that a GRU can have here.
    source
        Where this was read.
    """

    name: str
    order: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=lambda: {k: f"{k}{{tag}}" for k in ("W", "U", "b", "c_n", "p", "R")})
    rows: bool = False
    reverse: str = ""
    second_bias: str | None = None
    negated: Mapping[str, str] = field(default_factory=dict)
    resets: tuple[str, ...] = ("after", "before")
    source: str = ""

    def __post_init__(self) -> None:
        for kind, order in self.order.items():
            gates = as_cell(kind).gates
            if sorted(order) != sorted(gates):
                raise ConventionError(f"the convention {self.name} orders a {kind} as {order!r}, but should order {', '.join(gates)}")

    def shapes(self, cell: Cell, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters of a cell in this convention.

        Raises
        ------
        ConventionError
            If the convention cannot express the cell.
        """
        self._check(cell)
        shapes: dict[str, tuple[int, ...]] = {}
        for canonical, own in self._names(cell).items():
            shape = cell.param_shapes(D, H)[canonical]
            shapes |= dict.fromkeys(own, shape[::-1] if self.rows else shape)
        return shapes

    def spell(self, cell: Cell, params: Params) -> dict[str, Array]:
        """Canonical parameters in this convention, as new arrays.

        A bias that the convention writes as two is halved, which is exact.
        """
        self._check(cell)
        out: dict[str, Array] = {}
        for tag, names in self._by_tag(cell):
            own = of_tag(cell, params, tag)
            out |= {names[k][0]: self._layout(self._reorder(cell, own[k])) for k in ("W", "U")}
            out |= {names["p"][0]: own["p"].copy()} if cell.peepholes else {}
            out |= {names["R"][0]: self._layout(own["R"])} if cell.projection else {}
            bias = self._reorder(cell, own["b"])
            if self.second_bias is None:
                out |= {names["b"][0]: bias} | ({names["c_n"][0]: own["c_n"].copy()} if "c_n" in own else {})
                continue
            first, second = bias / 2, bias / 2
            if "c_n" in own:
                n = self._slice(cell, "n", bias)
                first[n], second[n] = bias[n], own["c_n"]
            out |= dict(zip(names["b"], (first, second), strict=True))
        return out

    def read(self, cell: Cell, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Canonical parameters from this convention's own, as new arrays; the inverse of :meth:`spell`.

        Raises
        ------
        ConventionError
            Naming the array that is missing, unknown or of a wrong shape.
        """
        return self._canonical(cell, arrays, 1.0)

    def pull_back(self, cell: Cell, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients with respect to canonical parameters, by the transpose of :meth:`spell`."""
        return self._canonical(cell, gradients, 0.5)

    def _canonical(self, cell: Cell, arrays: Mapping[str, Array], share: float) -> dict[str, Array]:
        self._check_arrays(cell, arrays)
        out: dict[str, Array] = {}
        for tag, names in self._by_tag(cell):
            out |= {f"{k}{tag}": v for k, v in self._canonical_one(cell, arrays, names, share).items()}
        return out

    def _canonical_one(
        self, cell: Cell, arrays: Mapping[str, Array], names: Mapping[str, tuple[str, ...]], share: float
    ) -> dict[str, Array]:
        out = {k: self._restore(cell, self._layout(arrays[names[k][0]])) for k in ("W", "U")}
        out |= {"p": arrays[names["p"][0]].copy()} if cell.peepholes else {}
        out |= {"R": self._layout(arrays[names["R"][0]])} if cell.projection else {}
        if self.second_bias is None:
            out["b"] = self._restore(cell, arrays[names["b"][0]])
            return out | ({"c_n": arrays[names["c_n"][0]].copy()} if cell.reset == "after" else {})
        first, second = (arrays[name] for name in names["b"])
        bias = first * share + second * share
        if cell.reset == "after":
            n = self._slice(cell, "n", bias)
            bias[n] = first[n]
            out["c_n"] = second[n].copy()
        return out | {"b": self._restore(cell, bias)}

    # ---- names

    def _by_tag(self, cell: Cell) -> Iterator[tuple[str, dict[str, tuple[str, ...]]]]:
        """For each layer and direction its tag, and the names that each of its parameters has here: one, or two of a double bias."""
        for k, tag in enumerate(cell.tags):
            layer, direction = divmod(k, cell.directions)
            where = {"layer": layer, "reverse": self.reverse if direction else "", "tag": tag}
            names: dict[str, tuple[str, ...]] = {}
            names |= {name: (self.names[name].format(**where),) for name in cell.one.param_shapes(1, 1) if name in self.names}
            if self.second_bias:
                names["b"] += (self.second_bias.format(**where),)
                names.pop("c_n", None)
            yield tag, names

    def _names(self, cell: Cell) -> dict[str, tuple[str, ...]]:
        """The names here of each canonical parameter that has any."""
        return {f"{k}{tag}": own for tag, names in self._by_tag(cell) for k, own in names.items()}

    # ---- one array

    def _layout(self, a: Array) -> Array:
        return np.array(a.T, order="C") if self.rows else np.array(a, order="C")

    def _order(self, cell: Cell) -> list[str]:
        return [k for k in self.order[cell.kind] if k in cell.gates]

    def _sign(self, cell: Cell, gate: str) -> int:
        return -1 if gate in self.negated.get(cell.kind, "") else 1

    def _slice(self, cell: Cell, gate: str, a: Array) -> slice:
        H = a.shape[-1] // len(cell.gates)
        k = self._order(cell).index(gate)
        return slice(k * H, (k + 1) * H)

    def _reorder(self, cell: Cell, a: Array) -> Array:
        blocks = dict(zip(cell.gates, np.split(a, len(cell.gates), axis=-1), strict=True))
        return np.concatenate([self._sign(cell, k) * blocks[k] for k in self._order(cell)], axis=-1)

    def _restore(self, cell: Cell, a: Array) -> Array:
        return np.concatenate([self._sign(cell, k) * a[..., self._slice(cell, k, a)] for k in cell.gates], axis=-1)

    # ---- errors

    def _check(self, cell: Cell) -> None:
        if cell.kind not in self.order:
            raise ConventionError(f"the convention {self.name} has no {cell.kind}")
        if cell.reset is not None and cell.reset not in self.resets:
            raise ConventionError(f"the convention {self.name} cannot express a GRU that resets {cell.reset} the product h U_n")
        for name, what, asked in (("p", "peepholes", cell.peepholes), ("R", "projection", cell.projection)):
            if asked and name not in self.names:
                raise ConventionError(f"the convention {self.name} has no {what}")
        all_names = [name for own in self._names(cell).values() for name in own]
        if len(set(all_names)) < len(all_names):
            raise ConventionError(f"the convention {self.name} has no names for more than one layer in one direction")

    def _check_arrays(self, cell: Cell, arrays: Mapping[str, Array]) -> None:
        self._check(cell)
        expected = self.shapes(cell, 1, 1)
        if set(arrays) != set(expected):
            raise ConventionError(f"the arrays are named {sorted(arrays)}, but in the convention {self.name} should be {sorted(expected)}")
        names = self._names(cell)
        (w,), (u,) = names["W"], names["U"]
        W, U = np.asarray(arrays[w]), np.asarray(arrays[u])
        if U.ndim != 2 or W.ndim != 2:
            raise ConventionError(f"{w} and {u} have shapes {W.shape} and {U.shape}, but should be matrices")
        (D, columns), (states, _) = (W.T if self.rows else W).shape, (U.T if self.rows else U).shape
        H = columns // len(cell.gates) if cell.projection else states
        for name, shape in self.shapes(cell, D, H).items():
            if np.shape(arrays[name]) != shape:
                raise ConventionError(f"{name} has shape {np.shape(arrays[name])}, but should have shape {shape} (D = {D}, H = {H})")
