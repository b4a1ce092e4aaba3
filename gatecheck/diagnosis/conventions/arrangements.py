"""Arrangements of the gate blocks in a cell's parameters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, layer_params, split
from gatecheck.reference.equations import T

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Arrangement:
    """Arrangement of the gate blocks in the parameters.

    Attributes
    ----------
    sources
        For each gate, in the cell's order, the gate whose declared block it reads.
    negated
        Gates whose block has the opposite sign.
    interleaved
        True if the columns lie unit by unit, and in each unit gate by gate.
    transposed
        True if each gate's U is transposed.
    """

    sources: tuple[str, ...]
    negated: str = ""
    interleaved: bool = False
    transposed: bool = False

    def describe(self, cell: Cell) -> str:
        """Return a description of the arrangement."""
        order = " ".join(cell.gates[self.sources.index(k)] for k in cell.gates)
        parts = (
            []
            if self.sources == cell.gates
            else [
                f"the gate blocks of W, U and b lie in the order {order}, "
                f"not {' '.join(cell.gates)}"
            ]
        )
        for k in self.negated:
            polarity = f"{k} is 1 - {k}: " if k in cell.sigmoid_gates else ""
            parts.append(f"{polarity}the block of {k} has the opposite sign in W, U and b")
        if self.interleaved:
            parts.append(
                "the columns of W, U and b lie unit by unit, and in each unit gate by gate"
            )
        if self.transposed:
            parts.append("each gate's U is transposed")
        return "; ".join(parts)

    def distance(self, cell: Cell) -> int:
        """Return how far the arrangement is from the declared one."""
        n_moved = sum(j != k for j, k in zip(self.sources, cell.gates, strict=True))
        return n_moved + 2 * (len(self.negated) + self.interleaved + self.transposed)

    def name(self, cell: Cell) -> str:
        """Return a short name, such as ``order ifog, z negated``."""
        order = "".join(cell.gates[self.sources.index(k)] for k in cell.gates)
        parts = [f"order {order}"] if self.sources != cell.gates else []
        parts += [f"{k} negated" for k in self.negated]
        return ", ".join(
            parts + ["interleaved"] * self.interleaved + ["U transposed"] * self.transposed
        )


def arrangements(cell: Cell) -> Iterator[Arrangement]:
    """Return every arrangement but the declared one, the nearest first.

    They combine every order of the gates, polarity and layout.
    """
    gates = cell.gates
    signs = ["".join(s) for n in range(len(gates) + 1) for s in itertools.combinations(gates, n)]
    square = cell.projection is None
    combinations = [
        Arrangement(order, sign, interleaved, transposed)
        for order in itertools.permutations(gates)
        for sign in signs
        for interleaved in ((False, True) if len(gates) > 1 else (False,))
        for transposed in ((False, True) if square else (False,))
    ]
    return iter(
        sorted((a for a in combinations if a != Arrangement(gates)), key=lambda a: a.distance(cell))
    )


def parameter_map(
    cell: Cell, arrangement: Arrangement, *, transpose: bool = False
) -> Callable[[Arrays], dict[str, Array]]:
    """Return the map of parameters to those of the equations, or its transpose."""
    a, gates = arrangement, cell.gates
    prefix = "d" if transpose else ""

    def one(params: Arrays) -> dict[str, Array]:
        if not transpose and a.interleaved:
            params = {
                k: _to_gate_major(v, len(gates)) if k in ("W", "U", "b") else v
                for k, v in params.items()
            }
        blocks = split(cell.layer_cell, params)
        out = dict(blocks)
        for gate, source in zip(gates, a.sources, strict=True):
            sign = -1.0 if gate in a.negated else 1.0
            for part in "WUb":
                here, there = (source, gate) if transpose else (gate, source)
                block = blocks[f"{part}_{there}"]
                block = T(block) if part == "U" and a.transposed else block
                out[f"{part}_{here}"] = sign * block if sign < 0 else block
            if gate == "n" and "c_n" in blocks:
                out["c_n"] = sign * blocks["c_n"]
        joined = join(cell.layer_cell, out)
        if transpose and a.interleaved:
            joined = {
                k: _to_unit_major(v, len(gates)) if k in ("W", "U", "b") else v
                for k, v in joined.items()
            }
        return joined

    def given(arrays: Arrays) -> dict[str, Array]:
        if f"{prefix}W" not in arrays:
            return dict(arrays)  # outputs only
        named = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        new = {
            f"{prefix}{name}{tag}": v
            for tag in cell.param_suffixes
            for name, v in one(layer_params(cell, named, tag)).items()
        }
        return {**arrays, **new}

    return given


def _to_gate_major(a: Array, gates: int) -> Array:
    """Return columns that lie unit by unit in the order gate by gate."""
    return a.reshape(*a.shape[:-1], -1, gates).swapaxes(-1, -2).reshape(a.shape)


def _to_unit_major(a: Array, gates: int) -> Array:
    return a.reshape(*a.shape[:-1], gates, -1).swapaxes(-1, -2).reshape(a.shape)
