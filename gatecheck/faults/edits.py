"""Faults as edits of a cell's equations.

Nearly every fault is a misreading: in equation E, symbol X is read as something else (a constant,
another gate's X, X at another time, its transpose). The rest replace an equation outright.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatecheck.reference import Equations
from gatecheck.reference.equations import Equation, T

Edit = Callable[[Equations], Mapping[str, Equation]]
Reading = Callable[[Any], Any]


def misread(where: str, **instead: Any) -> Edit:
    """Return the edit that reads some symbols of these equations as something else.

    `where` names the equations, separated by spaces; a symbol is read as a constant, or as a
    function of the scope.
    """

    def edit(equations: Equations) -> Mapping[str, Equation]:
        def wrong(right: Equation) -> Equation:
            return lambda s: right(
                s.reading(**{k: v(s) if callable(v) else v for k, v in instead.items()})
            )

        return {name: wrong(equations[name]) for name in where.split()}

    return edit


def replaced(**equations: Equation) -> Edit:
    """Return the edit that replaces these equations by others."""
    return lambda _: equations


def both(*edits: Edit) -> Edit:
    """Return the edit that makes several edits, one after the other."""

    def edit(equations: Equations) -> Mapping[str, Equation]:
        out: dict[str, Equation] = {}
        for e in edits:
            out |= e(equations.edited(out))
        return out

    return edit


def other(name: str) -> Reading:
    """Return the reading of X as another term."""
    return lambda s: s[name]


def times(factor: float, name: str) -> Reading:
    """Return the reading of X as a multiple of itself."""
    return lambda s: factor * s[name]


def transposed(name: str) -> Reading:
    """Return the reading of a matrix as its transpose."""
    return lambda s: T(s[name])


def exchanged(parts: str, j: str, k: str) -> Edit:
    """Return the edit by which gates j and k read each other's blocks of W, U or b."""

    def equation_of(part: str, gate: str, equations: Equations) -> str:
        return (
            "q" if part == "U" and gate == "n" and equations.cell.reset == "after" else f"a_{gate}"
        )

    def swap(part: str) -> Edit:
        def edit(equations: Equations) -> Mapping[str, Equation]:
            first = misread(
                equation_of(part, j, equations), **{f"{part}_{j}": other(f"{part}_{k}")}
            )
            second = misread(
                equation_of(part, k, equations), **{f"{part}_{k}": other(f"{part}_{j}")}
            )
            return both(first, second)(equations)

        return edit

    return both(*(swap(part) for part in parts))


def apply(equations: Equations, *edits: Edit) -> Equations:
    """Return the equations with these edits made, in order."""
    for edit in edits:
        equations = equations.edited(edit(equations))
    return equations
