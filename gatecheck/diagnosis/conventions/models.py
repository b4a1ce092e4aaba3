"""Models of what a target computes: equations and the layout of their arrays.

Each maps gradients back by the transpose of the map of its arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.diagnosis.conventions.arrangements import Arrangement, Arrays, parameter_map
from gatecheck.reference import Equations, Results, equations


def _copy(arrays: Arrays) -> dict[str, Array]:
    return dict(arrays)


@dataclass(frozen=True, eq=False)
class Model:
    """Equations and array layout on which faults are tried.

    They are those that the target declares, or differ by a convention.

    Attributes
    ----------
    name, description
        Name and description of the convention, for reports; empty for the declared one.
    equations
        The equations that are computed.
    to_equations
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


def rearranged_model(cell: Cell, arrangement: Arrangement) -> Model:
    """Return the cell on parameters in another arrangement."""
    return Model(
        arrangement.name(cell),
        arrangement.describe(cell),
        equations(cell),
        parameter_map(cell, arrangement),
        parameter_map(cell, arrangement, transpose=True),
    )
