"""How an implementation spells a cell: a linear map between canonical parameters and its own, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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
        The names of W, U and b (and of c_n and p, where they are arrays of their own).
    rows
        Whether a gate's block is a set of rows, W then being ``(G*H, D)``.
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
    names: Mapping[str, str] = field(default_factory=lambda: {k: k for k in ("W", "U", "b", "c_n", "p")})
    rows: bool = False
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
        canonical = cell.param_shapes(D, H)
        if self.second_bias:
            canonical.pop("c_n", None)
        shapes = {self.names[k]: shape[::-1] if self.rows else shape for k, shape in canonical.items()}
        return shapes | ({self.second_bias: canonical["b"]} if self.second_bias else {})

    def spell(self, cell: Cell, params: Params) -> dict[str, Array]:
        """Canonical parameters in this convention, as new arrays.

        A bias that the convention writes as two is halved, which is exact.
        """
        self._check(cell)
        out = {self.names[k]: self._layout(self._reorder(cell, params[k])) for k in ("W", "U")}
        out |= {self.names["p"]: params["p"].copy()} if cell.peepholes else {}
        bias = self._reorder(cell, params["b"])
        if self.second_bias is None:
            return out | {self.names["b"]: bias} | ({self.names["c_n"]: params["c_n"].copy()} if "c_n" in params else {})
        first, second = bias / 2, bias / 2
        if "c_n" in params:
            n = self._slice(cell, "n", bias)
            first[n], second[n] = bias[n], params["c_n"]
        return out | {self.names["b"]: first, self.second_bias: second}

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
        out = {k: self._restore(cell, self._layout(arrays[self.names[k]])) for k in ("W", "U")}
        out |= {"p": arrays[self.names["p"]].copy()} if cell.peepholes else {}
        if self.second_bias is None:
            out["b"] = self._restore(cell, arrays[self.names["b"]])
            return out | ({"c_n": arrays[self.names["c_n"]].copy()} if cell.reset == "after" else {})
        first, second = arrays[self.names["b"]], arrays[self.second_bias]
        bias = first * share + second * share
        if cell.reset == "after":
            n = self._slice(cell, "n", bias)
            bias[n] = first[n]
            out["c_n"] = second[n].copy()
        return out | {"b": self._restore(cell, bias)}

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
        if cell.peepholes and "p" not in self.names:
            raise ConventionError(f"the convention {self.name} has no peepholes")

    def _check_arrays(self, cell: Cell, arrays: Mapping[str, Array]) -> None:
        self._check(cell)
        expected = self.shapes(cell, 1, 1)
        if set(arrays) != set(expected):
            raise ConventionError(f"the arrays are named {sorted(arrays)}, but in the convention {self.name} should be {sorted(expected)}")
        U = np.asarray(arrays[self.names["U"]])
        W = np.asarray(arrays[self.names["W"]])
        if U.ndim != 2 or W.ndim != 2:
            raise ConventionError(f"{self.names['W']} and {self.names['U']} have shapes {W.shape} and {U.shape}, but should be matrices")
        D, H = (W.shape[1], U.shape[1]) if self.rows else (W.shape[0], U.shape[0])
        for name, shape in self.shapes(cell, D, H).items():
            if np.shape(arrays[name]) != shape:
                raise ConventionError(f"{name} has shape {np.shape(arrays[name])}, but should have shape {shape} (D = {D}, H = {H})")
