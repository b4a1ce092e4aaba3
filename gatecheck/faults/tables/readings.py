"""Readings: functions of the scope that stand for a misread symbol.

Among them are another step's term, a term cast to another precision, and sums that miss or mix
something; see :func:`gatecheck.faults.edits.misread`. All of them keep leading axes and the kind of
array, so that a faulty cell can be run in replicates like a correct one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edits import Edit, Reading, misread
from gatecheck.reference import Equations

EditRow = tuple[str, str, Edit] | tuple[str, str, Edit, str]
"""Row of a table of faults: name, description, edit, and optionally the source."""


def earlier(name: str) -> Reading:
    """Return the reading as X of the step before; at the first step X itself."""
    return lambda s: (s.before or s)[name]


def later(name: str) -> Reading:
    """Return the reading as X of the step after; at the last step X itself."""
    return lambda s: (s.after or s)[name]


def at_first(name: str) -> Reading:
    """Return the reading as X of the first step, at every step."""

    def reading(s: Any) -> Any:
        while s.before:
            s = s.before
        return s[name]

    return reading


def zero(name: str) -> Reading:
    """Return the reading as zeros in the shape of X."""
    return lambda s: 0 * s[name]


def complement(name: str) -> Reading:
    """Return the reading as 1 - X."""
    return lambda s: 1 - s[name]


def only_when(name: str, holds: Callable[[Any], Any]) -> Reading:
    """Return the reading as X at the steps where this holds, and zero elsewhere."""
    return lambda s: s[name] * (1 if holds(s) else 0)


def to_single(a: Array) -> Array:
    """Return the values rounded to single precision, in the same dtype."""
    narrow: Array = a.astype(np.complex64 if np.iscomplexobj(a) else np.float32).astype(a.dtype)
    return narrow


def rounded(name: str) -> Reading:
    """Return the reading as X rounded to single precision."""
    return lambda s: to_single(s[name])


def steps(name: str, keep: Callable[[int, int], bool]) -> Reading:
    """Return the reading of a sequence as X at some steps t of T, zero elsewhere."""

    def reading(q: Any) -> Any:
        a = q[name]
        kept = np.array([keep(t, len(a)) for t in range(len(a))], a.real.dtype)
        return a * kept.reshape(-1, *[1] * (a.ndim - 1))

    return reading


def batch(name: str, keep: Callable[[int], bool]) -> Reading:
    """Return the reading of a sequence as X in some batch rows, zero elsewhere."""

    def reading(q: Any) -> Any:
        a = q[name]
        return a * np.array([keep(b) for b in range(a.shape[-2])], a.real.dtype)[:, None]

    return reading


def shifted(name: str, by: int) -> Reading:
    """Return the reading of a sequence as X of `by` steps later.

    The last (or first) one is repeated where there is none.
    """

    def reading(q: Any) -> Any:
        a = q[name]
        return a[[min(max(t + by, 0), len(a) - 1) for t in range(len(a))]]

    return reading


# ---- the equations that read or write a quantity


def preactivation_equations(cell: Cell) -> str:
    """Return the names of the equations that read x."""
    return " ".join(f"a_{k}" for k in cell.gates)


def recurrence_equation(cell: Cell, gate: str) -> str:
    """Return the equation in which a gate's U block is applied forward."""
    return "q" if gate == "n" and cell.reset == "after" else f"a_{gate}"


def recurrence_backward(cell: Cell, gate: str) -> tuple[str, str]:
    """Return the equation in which a gate's U block is applied backward.

    The second value is the delta that it multiplies there.
    """
    if gate == "n" and cell.reset == "before":
        return "dq", "da_n"
    return "dh_prev", "dq" if gate == "n" and cell.reset == "after" else f"da_{gate}"


def misread_dU_state(cell: Cell, gate: str, state: Callable[[Any], Any]) -> Edit:
    """Return the edit that takes the gradient of a gate's U with another state."""
    if gate == "n" and cell.reset == "before":
        return misread("dU_n", q=lambda q: q.r * state(q))
    return misread(f"dU_{gate}", h_prev=state)


def parameter_sums(equations: Equations, *prefixes: str) -> list[str]:
    """Return the equations that sum a parameter's gradient over the sequence.

    With `prefixes`, only those that begin with one.
    """
    states = {f"d{k}0" for k in equations.cell.state}
    return [
        name
        for name in equations.total
        if name not in states and (not prefixes or name.startswith(prefixes))
    ]


def misread_sums(reading: Callable[[str], Reading], *prefixes: str) -> Edit:
    """Return the edit that changes every delta in the sums over the sequence."""

    def edit(equations: Equations) -> Any:
        deltas = [name for name in equations.back if name.startswith("da_") or name == "dq"]
        return misread(
            " ".join(parameter_sums(equations, *prefixes)), **{d: reading(d) for d in deltas}
        )(equations)

    return edit
