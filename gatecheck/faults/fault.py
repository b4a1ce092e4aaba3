"""A fault: a bug that people really write, as an edit of a cell's equations or a wrapper around an
implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatecheck.cells import Cell, as_cell
from gatecheck.errors import UsageError
from gatecheck.faults.edited_cell import Edited
from gatecheck.faults.edits import Edit
from gatecheck.kernels.builtin import COMPUTED, Builtin

Wrapper = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Fault:
    """One bug in one cell.

    Attributes
    ----------
    name
        Unique among the faults of its cell, such as ``dc not carried``.
    cell
        The name of the cell.
    says
        What it does, in one sentence.
    edit
        The equations that it changes, or None.
    wrap
        What it does around a correct implementation, or None.
    source
        Where somebody wrote it, if that is known: a repository and an issue.
    equivalent
        Why no test can tell it from the truth; such a fault is listed and not counted.
    reference_needed
        Why it can be told only by comparing with another implementation, if that is so.
    """

    name: str
    cell: str
    says: str
    edit: Edit | None = None
    wrap: Wrapper | None = None
    source: str = ""
    equivalent: str = ""
    reference_needed: str = ""

    @property
    def label(self) -> str:
        """Its name among all faults: ``lstm: dc not carried``."""
        return f"{self.cell}: {self.name}"

    def side(self, cell: Cell) -> str:
        """``forward`` if it changes what forward computes, ``backward`` if only gradients,
        ``around`` if it is a wrapper.
        """
        if self.edit is None:
            return "around"
        plain = Edited(cell).equations
        return "forward" if set(self.edit(plain)) & set(plain.step) else "backward"

    def plant(self) -> Any:
        """The reference, or our kernels, with this fault, as an implementation.

        An edit needs equations; a wrapper goes around whatever is right, and kernels are the
        fastest of that.

        Raises
        ------
        UsageError
            If it is neither an edit nor a wrapper.
        """
        cell = as_cell(self.cell)
        if self.edit is not None:
            return Edited(cell, self.edit)
        if self.wrap is None:
            raise UsageError(f"the fault {self.label} changes nothing")
        return self.wrap(Builtin(cell) if cell.one in COMPUTED else Edited(cell))
