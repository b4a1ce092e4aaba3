"""Cells that the classes of a framework can be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from gatecheck.cells import Cell, as_cell
from gatecheck.errors import UsageError

AllowedValues = Mapping[str, Collection[Any] | None]


def class_cell(
    module: str,
    name: str,
    cell: str | None,
    usual_cells: Mapping[str, str],
    allowed_values: AllowedValues,
) -> Cell:
    """Return the cell as which a class of a framework is audited.

    Parameters
    ----------
    module, name
        Module and name of the class.
    cell
        The requested cell, if any.
    usual_cells
        The usual cell of each recurrent class, by class name.
    allowed_values
        The values that attributes of the cell can have in this class besides the usual ones, by
        attribute name; None is any value.

    Raises
    ------
    UsageError
        If the class is not a recurrent one, or cannot be the cell.
    """
    if name not in usual_cells:
        raise UsageError(
            f"{module}:{name} is not a recurrent class that gatecheck knows; "
            f"those are {', '.join(usual_cells)}"
        )
    usual = as_cell(usual_cells[name])
    chosen = usual if cell is None else as_cell(cell)
    for option, value in ((f.name, getattr(chosen, f.name)) for f in fields(Cell)):
        possible = allowed_values.get(option, ())
        if value != getattr(usual, option) and possible is not None and value not in possible:
            raise UsageError(f"{module}:{name} cannot be a {chosen}; by default it is a {usual}")
    return chosen
