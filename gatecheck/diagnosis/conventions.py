"""Conventions that a target may follow without saying so: the same mathematics on rearranged
arrays, or that of a neighbouring cell.

Each carries gradients back by its own transpose, so whoever follows it is right in every number,
but for another declaration.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, of_tag, split
from gatecheck.reference import Equations, Results, equations
from gatecheck.reference.equations import T

Arrays = Mapping[str, Array]


def _same(arrays: Arrays) -> dict[str, Array]:
    return dict(arrays)


@dataclass(frozen=True, eq=False)
class Base:
    """The mathematics on which faults are tried: the truth, or a convention that differs from what
    the target declares.

    Attributes
    ----------
    name, says
        For reports; empty for the truth.
    equations
        What is computed.
    given
        From the arrays of a case to those that the equations take.
    returned
        From the results and gradients of the equations to those of the target; on gradients the
        transpose of `given`.
    """

    name: str
    says: str
    equations: Equations
    given: Callable[[Arrays], dict[str, Array]] = _same
    returned: Callable[[Results], Results] = _same


def truth(cell: Cell, negated: str = "") -> Base:
    """What the target should compute, with the blocks of some gates negated as its convention has
    them.

    A fault that takes one gate's weights for another's then does so in the target's own arrays:
    exchanged blocks keep their signs.
    """
    plain = equations(cell)
    if not negated:
        return Base("", "", plain)
    turned = {name: plain[name] for k in negated for name in (f"a_{k}", f"da_{k}")}
    own = Arrangement(cell.gates, negated)
    edited = plain.edited(
        {name: lambda s, equation=equation: -equation(s) for name, equation in turned.items()}
    )  # type: ignore[misc]
    return Base("", "", edited, arranged(cell, own), arranged(cell, own, transpose=True))


# ---- the same equations on rearranged parameters


@dataclass(frozen=True)
class Arrangement:
    """Where each gate finds its weights.

    Attributes
    ----------
    source
        For each gate, in the cell's order, the gate whose declared block it reads.
    negated
        Gates whose block has the opposite sign.
    interleaved
        Whether the columns lie unit by unit, and in each gate by gate.
    transposed
        Whether each gate's U is transposed.
    """

    source: tuple[str, ...]
    negated: str = ""
    interleaved: bool = False
    transposed: bool = False

    def words(self, cell: Cell) -> str:
        """What a target does that has this arrangement."""
        order = " ".join(cell.gates[self.source.index(k)] for k in cell.gates)
        said = (
            []
            if self.source == cell.gates
            else [
                f"the gate blocks of W, U and b lie in the order {order}, not {' '.join(cell.gates)}"
            ]
        )
        for k in self.negated:
            polarity = f"{k} is 1 - {k}: " if k in cell.sigmoid_gates else ""
            said.append(f"{polarity}the block of {k} has the opposite sign in W, U and b")
        if self.interleaved:
            said.append("the columns of W, U and b lie unit by unit, and in each unit gate by gate")
        if self.transposed:
            said.append("each gate's U is transposed")
        return "; ".join(said)

    def distance(self, cell: Cell) -> int:
        """How much of it is not as declared."""
        moved = sum(j != k for j, k in zip(self.source, cell.gates, strict=True))
        return moved + 2 * (len(self.negated) + self.interleaved + self.transposed)

    def name(self, cell: Cell) -> str:
        """In short, such as ``order ifog, z negated``."""
        order = "".join(cell.gates[self.source.index(k)] for k in cell.gates)
        parts = [f"order {order}"] if self.source != cell.gates else []
        parts += [f"{k} negated" for k in self.negated]
        return ", ".join(
            parts + ["interleaved"] * self.interleaved + ["U transposed"] * self.transposed
        )


def arrangements(cell: Cell) -> Iterator[Arrangement]:
    """Every order of the gates, polarity and layout but the declared one, the nearest first."""
    gates = cell.gates
    signs = ["".join(s) for n in range(len(gates) + 1) for s in itertools.combinations(gates, n)]
    square = cell.projection is None
    found = [
        Arrangement(order, sign, interleaved, transposed)
        for order in itertools.permutations(gates)
        for sign in signs
        for interleaved in ((False, True) if len(gates) > 1 else (False,))
        for transposed in ((False, True) if square else (False,))
    ]
    return iter(
        sorted((a for a in found if a != Arrangement(gates)), key=lambda a: a.distance(cell))
    )


def arranged(
    cell: Cell, arrangement: Arrangement, *, transpose: bool = False
) -> Callable[[Arrays], dict[str, Array]]:
    """The map of parameters to those that the equations take; or, of gradients, its transpose."""
    a, gates = arrangement, cell.gates
    prefix = "d" if transpose else ""

    def one(params: Arrays) -> dict[str, Array]:
        if not transpose and a.interleaved:
            params = {
                k: _by_gate(v, len(gates)) if k in ("W", "U", "b") else v for k, v in params.items()
            }
        blocks = split(cell.one, params)
        out = dict(blocks)
        for gate, source in zip(gates, a.source, strict=True):
            sign = -1.0 if gate in a.negated else 1.0
            for part in "WUb":
                here, there = (source, gate) if transpose else (gate, source)
                block = blocks[f"{part}_{there}"]
                block = T(block) if part == "U" and a.transposed else block
                out[f"{part}_{here}"] = sign * block if sign < 0 else block
            if gate == "n" and "c_n" in blocks:
                out["c_n"] = sign * blocks["c_n"]
        joined = join(cell.one, out)
        if transpose and a.interleaved:
            joined = {
                k: _by_unit(v, len(gates)) if k in ("W", "U", "b") else v for k, v in joined.items()
            }
        return joined

    def given(arrays: Arrays) -> dict[str, Array]:
        if f"{prefix}W" not in arrays:
            return dict(arrays)  # the outputs alone
        named = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        new = {
            f"{prefix}{name}{tag}": v
            for tag in cell.tags
            for name, v in one(of_tag(cell, named, tag)).items()
        }
        return {**arrays, **new}

    return given


def _by_gate(a: Array, gates: int) -> Array:
    """Columns that lie unit by unit, gate by gate."""
    return a.reshape(*a.shape[:-1], -1, gates).swapaxes(-1, -2).reshape(a.shape)


def _by_unit(a: Array, gates: int) -> Array:
    return a.reshape(*a.shape[:-1], gates, -1).swapaxes(-1, -2).reshape(a.shape)


def rearranged(cell: Cell, arrangement: Arrangement) -> Base:
    """The cell on parameters in another arrangement."""
    return Base(
        arrangement.name(cell),
        arrangement.words(cell),
        equations(cell),
        arranged(cell, arrangement),
        arranged(cell, arrangement, transpose=True),
    )


# ---- a neighbouring cell, or other sequences and states


def neighbours(cell: Cell) -> Iterator[Base]:
    """Conventions that are not arrangements of the parameters."""
    yield from _cells(cell)
    yield from _memory(cell)
    if cell.reset == "after":
        yield from _inner_bias(cell)
    if "c" in cell.state and cell.projection is None:
        yield from _states(cell)
    yield Base(
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


def _cells(cell: Cell) -> Iterator[Base]:
    if cell.kind == "rnn":
        for activation in ("tanh", "relu", "sigmoid"):
            if activation != cell.activation:
                made: Any = replace(cell, activation=activation)
                yield Base(
                    f"{activation} activation",
                    f"the activation is {activation}, not {cell.activation}",
                    equations(made),
                )
        return
    if cell.hard is None:
        for width in (5, 6):
            hard: Any = replace(cell, hard=width)
            yield Base(
                f"hard sigmoids /{width}",
                f"the gates are hard sigmoids min(max(a/{width} + 1/2, 0), 1)",
                equations(hard),
            )
    elif cell.hard is not None:
        yield Base(
            "logistic gates",
            "the gates are logistic sigmoids, not hard ones",
            equations(replace(cell, hard=None)),
        )
    if cell.kind == "lstm":
        for bias in (0.0, 1.0):
            if bias != cell.forget_bias:
                says = f"{bias:g} is added to the forget gate's bias at run time, not {cell.forget_bias:g}"
                yield Base(
                    f"forget bias {bias:g} at run time",
                    says,
                    equations(replace(cell, forget_bias=bias)),
                )
    if cell.reset == "after":
        yield Base(
            "reset before the product",
            "the reset gate multiplies the old state before the product with U_n, and c_n is one more bias of n",
            equations(replace(cell, reset="before")),
            _each_tag(cell, lambda p: {"b": _plus(cell, p["b"], p["c_n"])}),
            _each_tag(cell, lambda g: {"c_n": _candidate(cell, g["b"])}, "d"),
        )
    elif cell.reset == "before":
        yield Base(
            "reset after the product",
            "the reset gate multiplies the product with U_n",
            equations(replace(cell, reset="after")),
            _each_tag(cell, lambda p: {"c_n": 0 * _candidate(cell, p["b"])}),
            lambda results: {k: v for k, v in results.items() if not k.startswith("dc_n")},
        )


def _memory(cell: Cell) -> Iterator[Base]:
    """Matrices of which the memory is read with rows and columns exchanged."""
    for names in ("WU", "W", "U"):
        read = {k: lambda a: T(a.reshape(*a.shape[:-2], a.shape[-1], a.shape[-2])) for k in names}
        written = {k: lambda a: T(a).reshape(a.shape) for k in names}
        yield Base(
            f"{' and '.join(names)} by rows",
            f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} read as if in memory the gates' blocks were rows",
            equations(cell),
            _each_tag(cell, lambda p, read=read: {k: f(p[k]) for k, f in read.items()}),  # type: ignore[misc]
            _each_tag(
                cell, lambda g, written=written: {k: f(g[k]) for k, f in written.items()}, "d"
            ),  # type: ignore[misc]
        )


def _inner_bias(cell: Cell) -> Iterator[Base]:
    yield Base(
        "c_n outside the reset",
        "c_n is added to the bias of n, outside the reset",
        equations(cell),
        _each_tag(cell, lambda p: {"b": _plus(cell, p["b"], p["c_n"]), "c_n": 0 * p["c_n"]}),
        _each_tag(cell, lambda g: {"c_n": _candidate(cell, g["b"])}, "d"),
    )
    yield Base(
        "c_n ignored",
        "there is no inner bias c_n",
        equations(cell),
        _each_tag(cell, lambda p: {"c_n": 0 * p["c_n"]}),
        _each_tag(cell, lambda g: {"c_n": 0 * g["c_n"]}, "d"),
    )

    def exchanged(p: Arrays) -> dict[str, Array]:
        blocks = split(cell.one, p)
        return join(cell.one, blocks | {"b_n": blocks["c_n"], "c_n": blocks["b_n"]})

    yield Base(
        "b_n and c_n exchanged",
        "the candidate's outer and inner bias are exchanged",
        equations(cell),
        _each_tag(cell, exchanged),
        _each_tag(cell, exchanged, "d"),
    )


def _states(cell: Cell) -> Iterator[Base]:
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
    yield Base(
        "states as (c, h)", says, equations(cell), swapped("h0", "c0", "dhT", "dcT"), swapped("hT", "cT", "dh0", "dc0")
    )  # fmt: skip
    says = "the final states are returned as (c, h), not (h, c)"
    yield Base(
        "final states as (c, h)", says, equations(cell), swapped("dhT", "dcT"), swapped("hT", "cT")
    )
    says = "the initial states are taken as (c, h), not (h, c)"
    yield Base(
        "initial states as (c, h)",
        says,
        equations(cell),
        swapped("h0", "c0"),
        swapped("dh0", "dc0"),
    )


def _each_tag(
    cell: Cell, change: Callable[[Arrays], dict[str, Array]], prefix: str = ""
) -> Callable[[Arrays], dict[str, Array]]:
    """A change of the parameters of one layer and direction (or, with the prefix d, of their
    gradients) made in every one.
    """

    def map_all(arrays: Arrays) -> dict[str, Array]:
        if f"{prefix}W" not in arrays:
            return dict(arrays)
        new = dict(arrays)
        for tag in cell.tags:
            own = {
                k[len(prefix) : len(k) - len(tag)]: v
                for k, v in arrays.items()
                if k.startswith(prefix) and k.endswith(tag)
            }
            new |= {f"{prefix}{k}{tag}": v for k, v in change(own).items()}
        return new

    return map_all


def _candidate(cell: Cell, b: Array) -> Array:
    H = b.shape[-1] // len(cell.gates)
    return b[..., -H:]


def _plus(cell: Cell, b: Array, c_n: Array) -> Array:
    new = b.copy()
    H = c_n.shape[-1]
    new[..., -H:] = b[..., -H:] + c_n
    return new
