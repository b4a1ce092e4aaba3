"""Our cells as an implementation, with validated inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell, as_cell, without_options
from gatecheck.errors import InputError
from gatecheck.kernels import run
from gatecheck.validation import check_cotangents, check_inputs

Array = NDArray[Any]

REAL = ("float32", "float64")


class Builtin:
    """A cell of this package as an implementation that can be audited.

    Parameters
    ----------
    cell
        The cell or its name.

    Attributes
    ----------
    cell : Cell
        The cell.
    convention : str
        ``"canonical"``: arrays are taken and returned as :mod:`gatecheck.cells` describes them.
    dtypes : tuple of str
        What it computes in; the forward of an analytic cell also in complex128, for complex steps.
    bitwise : bool
        That the reductions which are exact on paper (z = 1, z = 0, f = 1 with i = 0) are exact to the bit.

    Raises
    ------
    UsageError
        If there is no such cell, or the kernels do not compute its options.
    """

    convention = "canonical"
    bitwise = True

    def __init__(self, cell: str | Cell) -> None:
        self.cell = without_options(as_cell(cell), "the kernels compute")
        self.dtypes = (*REAL, "complex128") if "analytic" in self.cell.traits else REAL

    def forward(
        self, params: Mapping[str, Array], x: Array, h0: Array | None = None, c0: Array | None = None
    ) -> tuple[Array, Array] | tuple[Array, Array, Array]:
        """Outputs ``y (T, B, H)``, ``hT (B, H)`` and, where the cell has a cell state, ``cT (B, H)``.

        Raises
        ------
        InputError
            If the arrays do not fit; see :func:`gatecheck.validation.check_inputs`.
        """
        check_inputs(self.cell, params, x, h0, c0, dtypes=self.dtypes)
        y, hT, cT, _ = run.forward(self.cell, params, x, h0, c0)
        return (y, hT) if cT is None else (y, hT, cT)

    def backward(
        self,
        params: Mapping[str, Array],
        x: Array,
        h0: Array | None = None,
        c0: Array | None = None,
        dy: Array | None = None,
        dhT: Array | None = None,
        dcT: Array | None = None,
    ) -> dict[str, Array]:
        """Gradients of <dy, y> + <dhT, hT> + <dcT, cT>: one for each parameter, ``x``, ``h0`` and, where there is a cell state, ``c0``.

        Raises
        ------
        InputError
            If the arrays do not fit.
        """
        sizes = check_inputs(self.cell, params, x, h0, c0, dtypes=REAL)
        check_cotangents(self.cell, sizes, x.dtype, dy, dhT, dcT)
        tape = run.forward(self.cell, params, x, h0, c0)[3]
        return run.backward(self.cell, params, tape, dy, dhT, dcT)

    def tangent(
        self,
        params: Mapping[str, Array],
        x: Array,
        h0: Array | None = None,
        c0: Array | None = None,
        dparams: Mapping[str, Array | None] | None = None,
        dx: Array | None = None,
        dh0: Array | None = None,
        dc0: Array | None = None,
    ) -> tuple[Array, Array] | tuple[Array, Array, Array]:
        """Derivatives of y, hT and, where there is one, cT in a direction, of which whatever is absent or None is zero.

        Raises
        ------
        InputError
            If the arrays do not fit.
        """
        sizes = check_inputs(self.cell, params, x, h0, c0, dtypes=REAL)
        T, B, D, H = sizes
        self._check_direction(self.cell.param_shapes(D, H), x.dtype, dparams or {})
        self._check_direction({"x": (T, B, D), **{f"{s}0": (B, H) for s in self.cell.state}}, x.dtype, {"x": dx, "h0": dh0, "c0": dc0})
        tape = run.forward(self.cell, params, x, h0, c0)[3]
        dy, dhT, dcT = run.tangent(self.cell, params, tape, dparams, dx, dh0, dc0)
        return (dy, dhT) if dcT is None else (dy, dhT, dcT)

    def _check_direction(self, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], given: Mapping[str, Array | None]) -> None:
        for name, array in given.items():
            if array is None:
                continue
            if name not in shapes:
                raise InputError(f"d{name} was given, but a {self.cell} has only {', '.join(shapes)} there")
            if not isinstance(array, np.ndarray) or array.shape != shapes[name] or array.dtype != dtype:
                found = f"{array.dtype} array of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise InputError(f"d{name} is a {found}, but should be a {dtype} array of shape {shapes[name]}, like {name}")
