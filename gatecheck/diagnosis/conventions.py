"""Undeclared conventions that a target may follow.

They are the same mathematics on rearranged arrays, or that of a neighboring cell. Each maps
gradients back by its transpose, so a target that follows it is right in every number and needs
another declaration only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, layer_params, split
from gatecheck.reference import Equations, Results, equations
from gatecheck.reference.equations import T

Arrays = Mapping[str, Array]


def _copy(arrays: Arrays) -> dict[str, Array]:
    return dict(arrays)


@dataclass(frozen=True, eq=False)
class Model:
    """Equations and array layout on which faults are tried.

    They are those that the target declares, or differ by a convention.

    Attributes
    ----------
    name, says
        Name and description of the convention, for reports; empty for the declared one.
    equations
        The equations that are computed.
    given
        Map from the arrays of a case to those that the equations take.
    to_target
        Map from the results and gradients of the equations to those of the target; on gradients
        the transpose of `given`.
    """

    name: str
    description: str
    equations: Equations
    to_equations: Callable[[Arrays], dict[str, Array]] = _copy
    to_target: Callable[[Results], Results] = _copy


def reference_model(cell: Cell, negated: str = "") -> Model:
    """Return what the target should compute.

    The blocks of the `negated` gates are negated, as in the target's convention. A fault that takes
    one gate's weights for another's then does so in the target's own arrays: exchanged blocks keep
    their signs.
    """
    plain = equations(cell)
    if not negated:
        return Model("", "", plain)
    to_negate = {name: plain[name] for k in negated for name in (f"a_{k}", f"da_{k}")}
    arrangement = Arrangement(cell.gates, negated)
    edited = plain.edited({name: _negative(equation) for name, equation in to_negate.items()})
    return Model(
        "",
        "",
        edited,
        parameter_map(cell, arrangement),
        parameter_map(cell, arrangement, transpose=True),
    )


def _negative(equation: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda s: -equation(s)


# ---- the same equations on rearranged parameters


@dataclass(frozen=True)
class Arrangement:
    """Arrangement of the gate blocks in the parameters.

    Attributes
    ----------
    source
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


def rearranged_model(cell: Cell, arrangement: Arrangement) -> Model:
    """Return the cell on parameters in another arrangement."""
    return Model(
        arrangement.name(cell),
        arrangement.describe(cell),
        equations(cell),
        parameter_map(cell, arrangement),
        parameter_map(cell, arrangement, transpose=True),
    )


# ---- a neighboring cell, or other sequences and states


def alternative_models(cell: Cell) -> Iterator[Model]:
    """Yield the conventions that are not arrangements of the parameters."""
    yield from _cell_variants(cell)
    yield from _memory_orders(cell)
    if cell.reset == "after":
        yield from _inner_bias_variants(cell)
    if "c" in cell.state and cell.projection is None:
        yield from _state_orders(cell)
    yield Model(
        "backwards in time",
        "it runs from the last step to the first",
        equations(cell),
        lambda arrays: {
            k: v[..., ::-1, :, :] if k in ("x", "dy") else v for k, v in arrays.items()
        },
        lambda results: {
            k: v[..., ::-1, :, :] if k in ("y", "dx") else v for k, v in results.items()
        },
    )


def _cell_variants(cell: Cell) -> Iterator[Model]:
    if cell.kind == "rnn":
        for activation in ("tanh", "relu", "sigmoid"):
            if activation != cell.activation:
                variant: Any = replace(cell, activation=activation)
                yield Model(
                    f"{activation} activation",
                    f"the activation is {activation}, not {cell.activation}",
                    equations(variant),
                )
        return
    if cell.hard is None:
        for width in (5, 6):
            hard: Any = replace(cell, hard=width)
            yield Model(
                f"hard sigmoids /{width}",
                f"the gates are hard sigmoids min(max(a/{width} + 1/2, 0), 1)",
                equations(hard),
            )
    elif cell.hard is not None:
        yield Model(
            "logistic gates",
            "the gates are logistic sigmoids, not hard ones",
            equations(replace(cell, hard=None)),
        )
    if cell.kind == "lstm":
        for bias in (0.0, 1.0):
            if bias != cell.forget_bias:
                says = (
                    f"{bias:g} is added to the forget gate's bias at run time, "
                    f"not {cell.forget_bias:g}"
                )
                yield Model(
                    f"forget bias {bias:g} at run time",
                    says,
                    equations(replace(cell, forget_bias=bias)),
                )
    if cell.reset == "after":
        yield Model(
            "reset before the product",
            "the reset gate multiplies the old state before the product with U_n, "
            "and c_n is one more bias of n",
            equations(replace(cell, reset="before")),
            _in_every_tag(cell, lambda p: {"b": _add_to_candidate(cell, p["b"], p["c_n"])}),
            _in_every_tag(cell, lambda g: {"c_n": _candidate_block(cell, g["b"])}, "d"),
        )
    elif cell.reset == "before":
        yield Model(
            "reset after the product",
            "the reset gate multiplies the product with U_n",
            equations(replace(cell, reset="after")),
            _in_every_tag(cell, lambda p: {"c_n": 0 * _candidate_block(cell, p["b"])}),
            lambda results: {k: v for k, v in results.items() if not k.startswith("dc_n")},
        )


def _memory_orders(cell: Cell) -> Iterator[Model]:
    """Yield conventions that read the memory of matrices by rows."""
    for names in ("WU", "W", "U"):
        read = {k: lambda a: T(a.reshape(*a.shape[:-2], a.shape[-1], a.shape[-2])) for k in names}
        written = {k: lambda a: T(a).reshape(a.shape) for k in names}
        yield Model(
            f"{' and '.join(names)} by rows",
            f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} read as if in memory the "
            "gates' blocks were rows",
            equations(cell),
            _in_every_tag(cell, _by_name(read)),
            _in_every_tag(cell, _by_name(written), "d"),
        )


def _by_name(
    changes: Mapping[str, Callable[[Array], Array]],
) -> Callable[[Arrays], dict[str, Array]]:
    return lambda arrays: {k: change(arrays[k]) for k, change in changes.items()}


def _inner_bias_variants(cell: Cell) -> Iterator[Model]:
    yield Model(
        "c_n outside the reset",
        "c_n is added to the bias of n, outside the reset",
        equations(cell),
        _in_every_tag(
            cell, lambda p: {"b": _add_to_candidate(cell, p["b"], p["c_n"]), "c_n": 0 * p["c_n"]}
        ),
        _in_every_tag(cell, lambda g: {"c_n": _candidate_block(cell, g["b"])}, "d"),
    )
    yield Model(
        "c_n ignored",
        "there is no inner bias c_n",
        equations(cell),
        _in_every_tag(cell, lambda p: {"c_n": 0 * p["c_n"]}),
        _in_every_tag(cell, lambda g: {"c_n": 0 * g["c_n"]}, "d"),
    )

    def exchanged(p: Arrays) -> dict[str, Array]:
        blocks = split(cell.layer_cell, p)
        return join(cell.layer_cell, blocks | {"b_n": blocks["c_n"], "c_n": blocks["b_n"]})

    yield Model(
        "b_n and c_n exchanged",
        "the candidate's outer and inner bias are exchanged",
        equations(cell),
        _in_every_tag(cell, exchanged),
        _in_every_tag(cell, exchanged, "d"),
    )


def _state_orders(cell: Cell) -> Iterator[Model]:
    pairs = {
        "h0": "c0",
        "c0": "h0",
        "hT": "cT",
        "cT": "hT",
        "dh0": "dc0",
        "dc0": "dh0",
        "dhT": "dcT",
        "dcT": "dhT",
    }

    def swapped(*names: str) -> Callable[[Arrays], dict[str, Array]]:
        return lambda arrays: {
            k: arrays[pairs[k]] if k in names and pairs[k] in arrays else v
            for k, v in arrays.items()
        }

    says = "states come as (c, h), not (h, c)"
    yield Model(
        "states as (c, h)",
        says,
        equations(cell),
        swapped("h0", "c0", "dhT", "dcT"),
        swapped("hT", "cT", "dh0", "dc0"),
    )
    says = "the final states are returned as (c, h), not (h, c)"
    yield Model(
        "final states as (c, h)", says, equations(cell), swapped("dhT", "dcT"), swapped("hT", "cT")
    )
    says = "the initial states are taken as (c, h), not (h, c)"
    yield Model(
        "initial states as (c, h)",
        says,
        equations(cell),
        swapped("h0", "c0"),
        swapped("dh0", "dc0"),
    )


def _in_every_tag(
    cell: Cell, change: Callable[[Arrays], dict[str, Array]], prefix: str = ""
) -> Callable[[Arrays], dict[str, Array]]:
    """Return a change of parameters that is made in every layer and direction.

    With the prefix ``d`` it changes their gradients.
    """

    def map_all(arrays: Arrays) -> dict[str, Array]:
        if f"{prefix}W" not in arrays:
            return dict(arrays)
        new = dict(arrays)
        for tag in cell.param_suffixes:
            params = {
                k[len(prefix) : len(k) - len(tag)]: v
                for k, v in arrays.items()
                if k.startswith(prefix) and k.endswith(tag)
            }
            new |= {f"{prefix}{k}{tag}": v for k, v in change(params).items()}
        return new

    return map_all


def _candidate_block(cell: Cell, b: Array) -> Array:
    H = b.shape[-1] // len(cell.gates)
    return b[..., -H:]


def _add_to_candidate(cell: Cell, b: Array, c_n: Array) -> Array:
    new = b.copy()
    H = c_n.shape[-1]
    new[..., -H:] = b[..., -H:] + c_n
    return new
