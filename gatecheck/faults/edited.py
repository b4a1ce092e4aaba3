"""The reference, edited or not, as an implementation of the protocol: the subject on which faults are planted."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatecheck.cells import Array, Cell
from gatecheck.faults.edits import Edit, apply
from gatecheck.reference import backward, equations, forward, outputs


class Edited:
    """A cell's equations with some edits, computed in the dtype of the inputs.

    Parameters
    ----------
    cell
        The cell.
    *edits
        Faults; none gives a correct implementation in NumPy.
    """

    convention = "canonical"

    def __init__(self, cell: Cell, *edits: Edit) -> None:
        self.cell = cell
        self.name = f"edited {cell}"
        self.equations = apply(equations(cell), *edits)

    def forward(self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None) -> tuple[Array, ...]:
        """(y, hT) or (y, hT, cT); shapes as in :mod:`gatecheck.cells`."""
        with np.errstate(all="ignore"):
            steps = forward(self.equations, params, x, h0, c0)
            initial = {k: v for k, v in (("h0", h0), ("c0", c0)) if v is not None}
            return tuple(outputs(self.equations, steps, x, params, **initial).values())

    def backward(
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None, dy: Array | None, dhT: Array | None, dcT: Array | None
    ) -> dict[str, Any]:
        """A gradient for each parameter, x, h0 and (c0)."""
        with np.errstate(all="ignore"):
            steps = forward(self.equations, params, x, h0, c0)
            given = {k: v for k, v in (("dy", dy), ("dhT", dhT), ("dcT", dcT)) if v is not None}
            return {k[1:]: v for k, v in backward(self.equations, steps, x, params, **given).items()}
