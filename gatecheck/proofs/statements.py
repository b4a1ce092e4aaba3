"""Statements about terms of a cell's equations, with their boxes of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.reference.scope import Scope

MAX_VALUE = 4.0
"""Bound on inputs, parameters and initial states in the bounded box.

Weights of trained networks seldom reach it.
"""

MAX_SIZE = 16
"""Bound on D and H in the bounded box; weights of zero include smaller sizes."""

MAX_STEPS = 1000
"""Number of steps in the bounded box; an LSTM's memory may grow by one a step."""


class Box(NamedTuple):
    """Bounds on the absolute values of a step's inputs; infinity admits all reals."""

    description: str
    value_bound: float
    units: int
    h_bound: float
    c_bound: float


class Bound(NamedTuple):
    """Term of a step and its stated bounds."""

    label: str
    term: Array
    low: Any
    high: Any


Bounds = Callable[[Scope, Mapping[str, Array]], Iterator[Bound]]
"""Function from a step and the states before it to bounds."""


class Mix(NamedTuple):
    """State that is a sum of its old and a new value, weighted by shares from gates."""

    state: str
    new_term: str
    shares: Callable[[Scope], tuple[Array, Array]]


class Statement(NamedTuple):
    """Statement about a step: bounds, strict or not, or that a state is a mix."""

    description: str
    bounds: Bounds
    strict: bool = False
    mix: Mix | None = None


UNBOUNDED_BOX = Box(
    "all real inputs, states and parameters, of any sizes, after any number of steps",
    np.inf,
    2,
    np.inf,
    np.inf,
)
"""Box of all real numbers.

Sums of two real numbers reach every real number, so two inputs and two units stand for any sizes.
"""


def bounded_box(cell: Cell) -> Box:
    """Return a box so small that no gate saturates at 0 or 1."""
    growth = MAX_STEPS if cell.kind == "lstm" else 0
    # Outputs below one, projected, are bounded by the weights of the projection alone.
    h = max(MAX_VALUE, MAX_SIZE * MAX_VALUE) if cell.projection else MAX_VALUE
    steps = f"after up to {MAX_STEPS:,} steps" if growth else "after any number of steps"
    description = (
        f"all inputs, initial states and parameters in [-{MAX_VALUE:g}, {MAX_VALUE:g}], "
        f"up to {MAX_SIZE} inputs and {MAX_SIZE} units, {steps}"
    )
    return Box(description, MAX_VALUE, MAX_SIZE, h, MAX_VALUE + growth)


def statements(cell: Cell) -> Iterator[tuple[Statement, Box]]:
    """Yield the statements about a cell's equations with their boxes, from its traits."""
    every, limited = UNBOUNDED_BOX, bounded_box(cell)
    gated, candidates = cell.sigmoid_gates, [k for k in "ng" if k in cell.gates]
    if gated:
        yield Statement(f"{', '.join(gated)} in [0, 1]", partial(_term_bounds, gated, 0, 1)), every
        if cell.hard is None:
            yield (
                Statement(
                    f"{', '.join(gated)} in (0, 1)", partial(_term_bounds, gated, 0, 1), True
                ),
                limited,
            )
        yield Statement(f"|{candidates[0]}| ≤ 1", partial(_term_bounds, candidates, -1, 1)), every
    if cell.kind == "gru":
        description = "h' is (1 - z) h + z n, so it lies between h and n, and |h_t| ≤ max(|h_0|, 1)"
        yield _mix_statement(description, Mix("h", "n", lambda s: (1 - s.z, s.z))), every
    elif cell.kind == "lstm":
        yield from ((s, every) for s in _memory_statements(cell))
        out = "v" if cell.projection else "h"
        what = "|o tanh(c')|" if cell.projection else "|h'|"
        yield Statement(f"{what} ≤ 1", partial(_term_bounds, [out], -1, 1)), every
        yield Statement(f"{what} < 1", partial(_term_bounds, [out], -1, 1), True), limited
    elif cell.activation != "relu":
        low = -1 if cell.activation == "tanh" else 0
        yield Statement(f"{low} ≤ h' ≤ 1", partial(_term_bounds, ["h"], low, 1)), every
        yield Statement(f"{low} < h' < 1", partial(_term_bounds, ["h"], low, 1), True), limited
    else:
        yield Statement("h' ≥ 0", partial(_term_bounds, ["h"], 0, np.inf)), every


def _memory_statements(cell: Cell) -> Iterator[Statement]:
    if cell.clip is not None:
        yield Statement(
            f"|c'| ≤ {cell.clip:g}", partial(_term_bounds, ["c"], -cell.clip, cell.clip)
        )
    elif cell.coupled:
        description = "c' is f c + (1 - f) g, so it lies between c and g, and |c_t| ≤ max(|c_0|, 1)"
        yield _mix_statement(description, Mix("c", "g", lambda s: (s.f, 1 - s.f)))
    else:
        description = (
            "c' is f c + i g with f and i in [0, 1], so |c'| ≤ |c| + 1, and |c_t| ≤ |c_0| + t"
        )
        yield _mix_statement(description, Mix("c", "g", lambda s: (s.f, s.i)))


def _mix_statement(description: str, mix: Mix) -> Statement:
    return Statement(description, partial(_mix_bounds, mix), mix=mix)


def _term_bounds(
    names: Any, low: float, high: float, s: Scope, before: Mapping[str, Array]
) -> Iterator[Bound]:
    yield from (Bound(name, s[name], low, high) for name in names)


def _mix_bounds(mix: Mix, s: Scope, before: Mapping[str, Array]) -> Iterator[Bound]:
    old, new = mix.shares(s)
    value = old * before[mix.state] + new * s[mix.new_term]
    yield Bound(mix.state, s[mix.state], value, value)
