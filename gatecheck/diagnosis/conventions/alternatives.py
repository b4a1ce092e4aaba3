"""Undeclared conventions that are not arrangements of the gate blocks.

They are a neighboring cell, or the same mathematics on other sequences and states. Each maps
gradients back by its transpose, so a target that follows it is right in every number and needs
another declaration only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, split
from gatecheck.diagnosis.conventions.arrangements import Arrays
from gatecheck.diagnosis.conventions.models import Model
from gatecheck.reference import equations
from gatecheck.reference.equations import T


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
