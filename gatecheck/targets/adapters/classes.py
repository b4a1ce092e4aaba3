"""Which cells the classes of a framework can be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from gatecheck.cells import Cell, as_cell
from gatecheck.errors import UsageError

Options = Mapping[str, Collection[Any] | None]


def chosen_cell(
    module: str, name: str, cell: str | None, known: Mapping[str, str], options: Options
) -> Cell:
    """The cell that a class of a framework is to be.

    Parameters
    ----------
    module, name
        Of the class.
    cell
        The cell that is asked for, if one is.
    known
        By the name of each recurrent class the cell that it usually is.
    options
        By the name of an attribute of a cell, in which this class can differ from its usual one,
        the values that it can have; None is any.

    Raises
    ------
    UsageError
        If the class is not a recurrent one, or cannot be the cell.
    """
    if name not in known:
        raise UsageError(
            f"{module}:{name} is not a recurrent class that gatecheck knows; those are {', '.join(known)}"
        )
    usual = as_cell(known[name])
    chosen = usual if cell is None else as_cell(cell)
    for option, asked in ((f.name, getattr(chosen, f.name)) for f in fields(Cell)):
        possible = options.get(option, ())
        if asked != getattr(usual, option) and possible is not None and asked not in possible:
            raise UsageError(f"{module}:{name} cannot be a {chosen}; by default it is a {usual}")
    return chosen
