"""Faults: bugs that people really write.

A fault is an edit of a cell's equations or a wrapper around an implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatecheck.cells import Cell, as_cell
from gatecheck.errors import UsageError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import Edit
from gatecheck.kernels.builtin import KERNEL_CELLS, Builtin

Wrapper = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Fault:
    """One bug in one cell.

    Attributes
    ----------
    name
        Name, unique among the faults of its cell, such as ``dc not carried``.
    cell
        Name of the cell.
    description
        Description, in one sentence.
    edit
        Edit of the equations, or None.
    wrap
        Wrapper around a correct implementation, or None.
    source
        Where somebody wrote it, if that is known: a repository and an issue.
    equivalent
        Why no test can distinguish it from correct code; such a fault is listed and not counted.
    reference_needed
        Why only a comparison with another implementation detects it, if that is so.
    """

    name: str
    cell: str
    description: str
    edit: Edit | None = None
    wrap: Wrapper | None = None
    source: str = ""
    equivalent: str = ""
    reference_needed: str = ""

    @property
    def label(self) -> str:
        """Name among all faults, such as ``lstm: dc not carried``."""
        return f"{self.cell}: {self.name}"

    def side(self, cell: Cell) -> str:
        """Return the side of the cell on which the fault is.

        ``forward`` if it changes what forward computes, ``backward`` if only gradients, ``around``
        if it is a wrapper.
        """
        if self.edit is None:
            return "around"
        plain = EditedCell(cell).equations
        return "forward" if set(self.edit(plain)) & set(plain.step) else "backward"

    def inject(self) -> Any:
        """Return an implementation with this fault.

        An edit needs equations, so it is made in the reference. A wrapper goes around our kernels,
        the fastest correct implementation, where they compute the cell.

        Raises
        ------
        UsageError
            If it is neither an edit nor a wrapper.
        """
        cell = as_cell(self.cell)
        if self.edit is not None:
            return EditedCell(cell, self.edit)
        if self.wrap is None:
            raise UsageError(f"the fault {self.label} changes nothing")
        return self.wrap(Builtin(cell) if cell.layer_cell in KERNEL_CELLS else EditedCell(cell))
