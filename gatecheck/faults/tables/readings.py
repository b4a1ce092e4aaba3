"""What people read instead: another step's term, a term cast to another precision, sums that miss
or mix something.

A reading is a function of the scope, given to :func:`gatecheck.faults.edits.misread` in the place
of a symbol. All of them keep leading axes and the kind of array, so that a faulty cell can be run
in replicates like a correct one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edits import Edit, Reading, misread
from gatecheck.reference import Equations

Row = tuple[str, str, Edit] | tuple[str, str, Edit, str]
"""One line of a table of faults: its name, what it does, the edit, and perhaps the source."""


def earlier(name: str) -> Reading:
    """X of the step before; at the first step X itself."""
    return lambda s: (s.before or s)[name]


def later(name: str) -> Reading:
    """X of the step after; at the last step X itself."""
    return lambda s: (s.after or s)[name]


def at_first(name: str) -> Reading:
    """X of the first step, at every step."""

    def reading(s: Any) -> Any:
        while s.before:
            s = s.before
        return s[name]

    return reading


def zero(name: str) -> Reading:
    """Nothing in the place of X, in its shape."""
    return lambda s: 0 * s[name]


def complement(name: str) -> Reading:
    """1 - X."""
    return lambda s: 1 - s[name]


def only_when(name: str, holds: Callable[[Any], Any]) -> Reading:
    """X at the steps of which this holds, and zero at the others."""
    return lambda s: s[name] * (1 if holds(s) else 0)


def single(a: Array) -> Array:
    """The values rounded to single precision, in the dtype that they had."""
    narrow: Array = a.astype(np.complex64 if np.iscomplexobj(a) else np.float32).astype(a.dtype)
    return narrow


def rounded(name: str) -> Reading:
    """X rounded to single precision."""
    return lambda s: single(s[name])


def steps(name: str, keep: Callable[[int, int], bool]) -> Reading:
    """Over a whole sequence: X at the steps t of T that are kept, and zero at the others."""

    def reading(q: Any) -> Any:
        a = q[name]
        kept = np.array([keep(t, len(a)) for t in range(len(a))], a.real.dtype)
        return a * kept.reshape(-1, *[1] * (a.ndim - 1))

    return reading


def batch(name: str, keep: Callable[[int], bool]) -> Reading:
    """Over a whole sequence: X in the rows of the batch that are kept, and zero in the others."""

    def reading(q: Any) -> Any:
        a = q[name]
        return a * np.array([keep(b) for b in range(a.shape[-2])], a.real.dtype)[:, None]

    return reading


def shifted(name: str, by: int) -> Reading:
    """Over a whole sequence: X of `by` steps later, the last (or first) one repeated where there is
    none.
    """

    def reading(q: Any) -> Any:
        a = q[name]
        return a[[min(max(t + by, 0), len(a) - 1) for t in range(len(a))]]

    return reading


# ---- where a cell reads and writes what


def preactivations(cell: Cell) -> str:
    """The equations that read x."""
    return " ".join(f"a_{k}" for k in cell.gates)


def recurrence(cell: Cell, gate: str) -> str:
    """The equation in which a gate's U block is applied forward."""
    return "q" if gate == "n" and cell.reset == "after" else f"a_{gate}"


def into_dh(cell: Cell, gate: str) -> tuple[str, str]:
    """The equation in which a gate's U block is applied backward, and the delta that it multiplies
    there.
    """
    if gate == "n" and cell.reset == "before":
        return "dq", "da_n"
    return "dh_prev", "dq" if gate == "n" and cell.reset == "after" else f"da_{gate}"


def dU_from(cell: Cell, gate: str, state: Callable[[Any], Any]) -> Edit:
    """The gradient of a gate's U taken with another state than the one that the gate saw."""
    if gate == "n" and cell.reset == "before":
        return misread("dU_n", q=lambda q: q.r * state(q))
    return misread(f"dU_{gate}", h_prev=state)


def parameter_sums(equations: Equations, *prefixes: str) -> list[str]:
    """The equations that sum a parameter's gradient over the sequence, or those that begin with a
    prefix.
    """
    states = {f"d{k}0" for k in equations.cell.state}
    return [
        name
        for name in equations.total
        if name not in states and (not prefixes or name.startswith(prefixes))
    ]


def sums(how: Callable[[str], Reading], *prefixes: str) -> Edit:
    """In the sums over the sequence, read every delta in some way."""

    def edit(equations: Equations) -> Any:
        deltas = [name for name in equations.back if name.startswith("da_") or name == "dq"]
        return misread(
            " ".join(parameter_sums(equations, *prefixes)), **{d: how(d) for d in deltas}
        )(equations)

    return edit
