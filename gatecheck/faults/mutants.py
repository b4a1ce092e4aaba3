"""Systematic misreadings of a cell's equations.

In each equation each symbol that it reads is read as each thing that a person could take for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gatecheck.cells import Cell, as_cell
from gatecheck.faults.edits import Reading, misread, other, times, transposed
from gatecheck.faults.fault import Fault
from gatecheck.faults.tables.readings import batch, complement, earlier, later, steps, zero
from gatecheck.reference import Equations, backward, equations, forward
from gatecheck.reference.equations import Equation
from gatecheck.reference.scope import Scope, Whole

NEIGHBOR_NAMES = ("t", "T", "before", "after", "all_x", "all_dy", "steps", "first")
"""Names that an equation reads to find its neighbors.

They are not quantities, so they are not misread.
"""

CONFUSABLE = {
    "h_prev": ("h",),
    "c_prev": ("c",),
    "h": ("h_prev",),
    "c": ("c_prev", "m"),
    "m": ("c",),
    "q": ("h_prev",),
    "dh": ("dy", "dh_next"),
}
"""Terms that are easily taken for one another.

Those that differ by their gate only are not listed.
"""

GATE_PREFIXES = ("W_", "U_", "b_", "a_", "", "d", "da_")
"""Prefixes of terms that exist once for every gate."""


def symbols_read(cell: Cell) -> dict[str, list[str]]:
    """Return the quantities that each equation reads, in order.

    They are recorded while it runs over three steps.
    """
    plain = equations(cell)
    params = {k: np.ones(shape) for k, shape in cell.param_shapes(2, 3).items()}
    x = np.ones((3, 2, 2))
    scopes = forward(plain, params, x)
    backward(plain, scopes, x, params)
    each_step = {
        name: _record_reads(equation, *scopes)
        for part in (plain.step, plain.back)
        for name, equation in part.items()
    }
    return each_step | {
        name: _record_reads(equation, Whole(steps=scopes)) for name, equation in plain.total.items()
    }


def _record_reads(equation: Equation, *scopes: Scope) -> list[str]:
    names: dict[str, None] = {}

    class Spy:
        """A scope that records what is read from it."""

        def __init__(self, scope: Scope) -> None:
            self._scope = scope

        def __getattr__(self, name: str) -> Any:
            if name not in NEIGHBOR_NAMES:
                names[name] = None
            return getattr(self._scope, name)

        def __getitem__(self, name: str) -> Any:
            return getattr(self, name)

    for scope in scopes:
        equation(Spy(scope))
    return list(names)


def _available_terms(plain: Equations, where: str) -> set[str]:
    """Return the terms and blocks that an equation could read by mistake.

    They exist by the time it is evaluated.
    """
    order = [*plain.step, *plain.back, *plain.total]
    blocks = {f"{part}_{k}" for part in "WUb" for k in plain.cell.gates} | (
        {"c_n"} if plain.cell.reset == "after" else set()
    )
    return {"dy"} | (set(order[: order.index(where)]) | blocks)


def _misreadings(plain: Equations, where: str, x: str) -> Iterator[tuple[str, str, Reading]]:
    """Yield the wrong readings of `x` in the equation `where`.

    Each is a name, a phrase for a sentence, and the reading.
    """
    cell, known = plain.cell, _available_terms(plain, where)
    yield "0", "zero", zero(x)
    yield "1", "one", lambda s: 0 * s[x] + 1
    yield "doubled", f"2 {x}", times(2, x)
    yield "negated", f"-{x}", times(-1, x)
    yield "complement", f"1 - {x}", complement(x)
    family = next((f for f in GATE_PREFIXES if x in {f"{f}{k}" for k in cell.gates}), None)
    siblings = [] if family is None else [f"{family}{k}" for k in cell.gates]
    for y in dict.fromkeys((*siblings, *CONFUSABLE.get(x, ()), f"a_{x}")):
        if y != x and y in known:
            yield y, y, other(y)
    if x.startswith("U_"):
        yield "transposed", "its transpose", transposed(x)
    if where in plain.total:
        yield "last step", "that of the last step only", steps(x, lambda t, n: t == n - 1)
        yield "not first step", "that of all steps but the first", steps(x, lambda t, n: t > 0)
        yield "first row", "that of the first row only", batch(x, lambda b: b == 0)
        return
    if x in plain.step or x == "x":
        yield "t - 1", "that of the step before", earlier(x)
    if where in plain.back and (x in plain.step or x in plain.back or x == "x"):
        yield "t + 1", "that of the step after", later(x)


def _why_equivalent(plain: Equations, where: str, x: str, way: str) -> str:
    """Return why this misreading changes nothing, or an empty string."""
    cell = plain.cell
    gate = where.removeprefix("da_")
    squashed = "h" if cell.kind == "rnn" else gate
    if (
        where.startswith("da_")
        and x == squashed
        and way == "complement"
        and (gate in cell.sigmoid_gates or cell.activation == "sigmoid")
    ):
        return f"The slope of a sigmoid is {x} (1 - {x}), which is the same for 1 - {x}."
    if (
        (where, x) in {("da_n", squashed), ("da_g", "g"), ("dc", "m")}
        and way == "negated"
        and cell.activation == "tanh"
    ):
        return f"The slope of tanh is 1 - {x}², which is even in {x}."
    if cell.activation == "relu" and (where, x) == ("da_n", "a_n") and way == "doubled":
        return "The slope of relu depends on the sign of its argument only, which doubling keeps."
    return ""


def mutants(cell: str | Cell) -> Iterator[Fault]:
    """Yield every systematic misreading of a cell's equations, one at a time.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    plain = equations(as_cell(cell))
    for where, symbols in symbols_read(plain.cell).items():
        for x in symbols:
            for way, phrase, reading in _misreadings(plain, where, x):
                yield Fault(
                    f"in {where}: {x} as {way}",
                    plain.cell.name,
                    f"In the equation of {where}, {x} is read as {phrase}.",
                    edit=misread(where, **{x: reading}),
                    equivalent=_why_equivalent(plain, where, x, way),
                )
