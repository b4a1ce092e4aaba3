"""Implementation of the protocol by the reference equations, edited or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edits import Edit, apply
from gatecheck.reference import Results, Tape, equations, masked, network_backward, network_forward


def _replicate(arrays: Mapping[str, Array], count: int) -> dict[str, Array]:
    return {k: np.broadcast_to(v, (count, *v.shape)) for k, v in arrays.items()}


class EditedCell:
    """A cell's equations with some edits, computed in the dtype of the inputs.

    Parameters
    ----------
    cell
        The cell.
    *edits
        Faults; without any it is a correct implementation in NumPy.
    mask_edit
        Edit of the masked equations: a fault in how the state is held past the end of a row.
    """

    convention = "canonical"

    def __init__(self, cell: Cell, *edits: Edit, mask_edit: Edit | None = None) -> None:
        self.cell = cell
        self.name = f"edited {cell}"
        self.equations = apply(equations(cell), *edits)
        self._masks = [mask_edit] if mask_edit else []

    def _run_forward(self, arrays: dict[str, Array]) -> tuple[Results, Tape]:
        return network_forward(
            self.equations, arrays, lambda plain: apply(masked(plain), *self._masks)
        )

    def _outputs(self, arrays: dict[str, Array]) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return tuple(self._run_forward(arrays)[0].values())

    def _gradients(self, arrays: dict[str, Array]) -> dict[str, Any]:
        with np.errstate(all="ignore"):
            _, tape = self._run_forward(arrays)
            return {k[1:]: v for k, v in network_backward(self.equations, arrays, tape).items()}

    def _arrays(self, params: dict[str, Array], x: Array, **rest: Array | None) -> dict[str, Array]:
        return {**params, "x": x} | {k: v for k, v in rest.items() if v is not None}

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT); shapes as in :mod:`gatecheck.cells`."""
        return self._outputs(self._arrays(params, x, h0=h0, c0=c0, lengths=lengths))

    def forward_each(
        self,
        name: str,
        entries: Array,
        values: Array,
        params: dict[str, Array],
        x: Array,
        h0: Array,
        c0: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return :meth:`forward` for many inputs that differ in one entry.

        Entry ``entries[k]`` in C order of the input `name` is ``values[k]``. The outputs have one
        more leading axis.
        """
        arrays = _replicate(self._arrays(params, x, h0=h0, c0=c0), len(entries))
        changed = arrays[name].astype(values.dtype)
        changed.reshape(len(entries), -1)[np.arange(len(entries)), entries] = values
        return self._outputs(arrays | {name: changed})

    def backward_each(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array,
        c0: Array | None = None,
        *,
        dy: Array,
        dhT: Array,
        dcT: Array | None = None,
    ) -> dict[str, Any]:
        """Return :meth:`backward` for many cotangents.

        These and the gradients have one more leading axis.
        """
        arrays = _replicate(self._arrays(params, x, h0=h0, c0=c0), len(dy))
        return self._gradients(self._arrays(arrays, arrays["x"], dy=dy, dhT=dhT, dcT=dcT))

    def backward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        dy: Array | None,
        dhT: Array | None,
        dcT: Array | None,
        lengths: Array | None = None,
    ) -> dict[str, Any]:
        """Return a gradient for each parameter, x, h0 and (c0)."""
        return self._gradients(
            self._arrays(params, x, h0=h0, c0=c0, lengths=lengths, dy=dy, dhT=dhT, dcT=dcT)
        )
