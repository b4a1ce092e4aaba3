"""The package's cells as an implementation, with validated inputs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.arguments import FLAG, MAPPING, error_context, optional, validate_args
from gatecheck._util.typing import Array
from gatecheck.cells import CELLS, LSTM, Cell, Sizes, as_cell
from gatecheck.cells.validation import check_cotangents, check_inputs, check_lengths
from gatecheck.errors import InputError, UsageError

REAL_DTYPES = ("float32", "float64")
KERNEL_CELLS = (*CELLS.values(), LSTM(peepholes=True))
"""Cells with kernels; their layers may be stacked and bidirectional."""


class _KernelModules(NamedTuple):
    """The modules of kernels."""

    activations: Any
    batched: Any
    network: Any


@cache
def _kernel_modules() -> _KernelModules:
    # Numba takes a third of a second to import, and the audit of another cell does not need it.
    from gatecheck.kernels import activations, network
    from gatecheck.kernels.cells import batched as each

    return _KernelModules(activations, each, network)


class Builtin:
    """A cell of this package as an implementation that can be audited.

    Every call takes `lengths`, integers ``(B,)`` from 0 to T, by keyword or as last argument: row b
    then runs only its first ``lengths[b]`` steps. Its hT and cT are the states after them, y and
    the gradient of x are zero beyond, and x, dy and dx are ignored there.

    Parameters
    ----------
    cell
        The cell or its name.
    reverse
        True to run each row from its last step to its first; y stays in the order of x.
    batch_first
        True if x, y and their gradients have the batch as first axis.

    Attributes
    ----------
    cell : Cell
        The cell.
    convention : str
        ``"canonical"``: arrays are taken and returned as :mod:`gatecheck.cells` describes them.
    dtypes : tuple of str
        Supported dtypes. The forward of an analytic cell also takes complex128, for complex steps.
    activations : dict
        Its σ and tanh, functions of arrays, by name; see :mod:`gatecheck.kernels.activations`.
    activation_ulps : int
        Their largest error in units in the last place.
    bitwise : bool
        True: the reductions that are exact on paper (z = 1, z = 0, f = 1 with i = 0) are exact to
        the bit.

    Raises
    ------
    UsageError
        If there is no such cell, or the kernels do not compute its options.
    """

    convention = "canonical"
    bitwise = True
    activation_ulps = 2

    @validate_args(reverse=FLAG, batch_first=FLAG)
    def __init__(
        self, cell: str | Cell, *, reverse: bool = False, batch_first: bool = False
    ) -> None:
        self.options = {"reverse": bool(reverse), "batch_first": bool(batch_first)}
        self.cell = as_cell(cell)
        if self.cell.layer_cell not in KERNEL_CELLS:
            names = ", ".join(c.name for c in KERNEL_CELLS)
            raise UsageError(
                f"there are no kernels for {self.cell}; there are kernels for {names}, "
                "also stacked and bidirectional"
            )
        uses = {
            "sigmoid": "gated" in self.cell.traits or self.cell.activation == "sigmoid",
            "tanh": self.cell.activation == "tanh",
        }
        self.activations = {
            name: getattr(_kernel_modules().activations, name)
            for name, is_used in uses.items()
            if is_used
        }
        self.dtypes = (
            (*REAL_DTYPES, "complex128") if "analytic" in self.cell.traits else REAL_DTYPES
        )

    def forward(
        self,
        params: Mapping[str, Array],
        x: Array,
        h0: Array | None = None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, Array] | tuple[Array, Array, Array]:
        """Return y, hT and, if the cell has a cell state, cT.

        They are ``(T, B, H)``, ``(B, H)`` and ``(B, H)``. A network's y is as wide as all its
        directions, and its states have an axis of layers; see :mod:`gatecheck.cells`.

        Raises
        ------
        InputError
            If the arrays do not fit; see :func:`gatecheck.cells.validation.check_inputs` and
            :func:`gatecheck.cells.validation.check_lengths`.
        """
        x = self._to_time_major(x)
        self._check(self.dtypes, params, x, h0, c0, lengths)
        y, hT, cT, _ = _kernel_modules().network.forward(
            self.cell, params, self._reverse_time(x, lengths), h0, c0, lengths, keep_tape=False
        )
        y = self._to_layout(y, lengths)
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
        lengths: Array | None = None,
    ) -> dict[str, Array]:
        """Return the gradients of <dy, y> + <dhT, hT> + <dcT, cT>.

        There is one for each parameter, ``x``, ``h0`` and, if there is a cell state, ``c0``.

        Raises
        ------
        InputError
            If the arrays do not fit.
        """
        x, dy = self._to_time_major(x), self._to_time_major(dy)
        sizes = self._check(REAL_DTYPES, params, x, h0, c0, lengths)
        check_cotangents(self.cell, sizes, x.dtype, dy, dhT, dcT)
        tapes = _kernel_modules().network.forward(
            self.cell, params, self._reverse_time(x, lengths), h0, c0, lengths
        )[3]
        grads: dict[str, Array] = _kernel_modules().network.backward(
            self.cell, params, tapes, self._reverse_time(dy, lengths), dhT, dcT, lengths
        )
        return grads | {"x": self._to_layout(grads["x"], lengths)}

    def forward_each(
        self,
        name: str,
        entries: Array,
        values: Array,
        params: Mapping[str, Array],
        x: Array,
        h0: Array,
        c0: Array | None = None,
    ) -> tuple[Array, ...]:
        """Call :meth:`forward` for many inputs that differ in one entry.

        Entry ``entries[k]`` in C order of the input `name` is ``values[k]``. The outputs have one
        more leading axis, and equal those of :meth:`forward` to the bit.

        Raises
        ------
        InputError
            If the arrays do not fit, or there is no such input or entry.
        """
        inputs = {**params, "x": x, "h0": h0} | ({} if c0 is None else {"c0": c0})
        self._check(self.dtypes, params, self._to_time_major(x), h0, c0, None)
        self._check_entries(inputs, name, entries, values)
        if self._is_plain_layer:
            y, hT, cT = _kernel_modules().batched.forward_each(
                self.cell, params, x, h0, c0, name, entries, values
            )
            return (y, hT) if cT is None else (y, hT, cT)
        results = []
        for entry, value in zip(entries, values, strict=True):
            changed = {**inputs, name: inputs[name].copy()}
            changed[name].reshape(-1)[entry] = value
            states = [changed[f"{s}0"] for s in self.cell.state]
            results.append(self.forward({k: changed[k] for k in params}, changed["x"], *states))
        return tuple(np.stack(parts) for parts in zip(*results, strict=True))

    def backward_each(
        self,
        params: Mapping[str, Array],
        x: Array,
        h0: Array,
        c0: Array | None = None,
        *,
        dy: Array,
        dhT: Array,
        dcT: Array | None = None,
    ) -> dict[str, Array]:
        """Call :meth:`backward` for many cotangents.

        These and the gradients have one more leading axis.

        Raises
        ------
        InputError
            If the arrays do not fit.
        """
        sizes = self._check(REAL_DTYPES, params, self._to_time_major(x), h0, c0, None)
        given = [d for d in (dy, dhT, dcT) if d is not None]
        if any(
            not isinstance(d, np.ndarray) or d.ndim == 0 or len(d) != len(given[0]) or len(d) == 0
            for d in given
        ):
            raise InputError(
                "dy, dhT and dcT should be arrays with one more leading axis, "
                "of the same length of at least 1"
            )
        check_cotangents(
            self.cell,
            sizes,
            x.dtype,
            self._to_time_major(dy[0]),
            dhT[0],
            None if dcT is None else dcT[0],
        )
        if self._is_plain_layer:
            tape = _kernel_modules().network.forward(self.cell, params, x, h0, c0)[3][0]
            gradients: dict[str, Array] = _kernel_modules().batched.backward_each(
                self.cell, params, tape, dy, dhT, dcT
            )
            return gradients
        per_cotangent = [
            self.backward(params, x, h0, c0, *(None if d is None else d[k] for d in (dy, dhT, dcT)))
            for k in range(len(dy))
        ]
        return {
            name: np.stack([grads[name] for grads in per_cotangent]) for name in per_cotangent[0]
        }

    @property
    def _is_plain_layer(self) -> bool:
        return len(self.cell.param_suffixes) == 1 and not any(self.options.values())

    @validate_args(dparams=optional(MAPPING))
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
        lengths: Array | None = None,
    ) -> tuple[Array, Array] | tuple[Array, Array, Array]:
        """Return the derivatives of y, hT and, if there is one, cT in a direction.

        Parts of the direction that are absent or None are zero.

        Raises
        ------
        InputError
            If the arrays do not fit.
        """
        x, dx = self._to_time_major(x), self._to_time_major(dx)
        T, B, D, H = self._check(REAL_DTYPES, params, x, h0, c0, lengths)
        states = {f"{s}0": self.cell.state_shape(s, B, H) for s in self.cell.state}
        with error_context("dparams"):
            self._check_direction(self.cell.param_shapes(D, H), x.dtype, dparams or {})
        self._check_direction({"x": (T, B, D), **states}, x.dtype, {"x": dx, "h0": dh0, "c0": dc0})
        tapes = _kernel_modules().network.forward(
            self.cell, params, self._reverse_time(x, lengths), h0, c0, lengths
        )[3]
        dy, dhT, dcT = _kernel_modules().network.tangent(
            self.cell, params, tapes, dparams, self._reverse_time(dx, lengths), dh0, dc0, lengths
        )
        dy = self._to_layout(dy, lengths)
        return (dy, dhT) if dcT is None else (dy, dhT, dcT)

    def _to_time_major(self, sequence: Any) -> Any:
        return (
            sequence.swapaxes(0, 1)
            if self.options["batch_first"] and np.ndim(sequence) == 3
            else sequence
        )

    def _reverse_time(self, sequence: Any, lengths: Array | None) -> Any:
        is_reversed = self.options["reverse"] and sequence is not None
        return (
            _kernel_modules().network.time_reversal(len(sequence), lengths)(sequence)
            if is_reversed
            else sequence
        )

    def _to_layout(self, sequence: Array, lengths: Array | None) -> Array:
        """Convert a time-major sequence to the layout of the caller."""
        return np.ascontiguousarray(self._to_time_major(self._reverse_time(sequence, lengths)))

    def _check(
        self,
        dtypes: tuple[str, ...],
        params: Mapping[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None,
    ) -> Sizes:
        sizes = check_inputs(self.cell, params, x, h0, c0, dtypes=dtypes)
        if lengths is not None:
            check_lengths(sizes, lengths)
        return sizes

    def _check_direction(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        dtype: np.dtype[Any],
        given: Mapping[str, Array | None],
    ) -> None:
        for name, array in given.items():
            if array is None:
                continue
            if name not in shapes:
                raise InputError(
                    f"d{name} was given, but a {self.cell} has only {', '.join(shapes)} there"
                )
            if (
                not isinstance(array, np.ndarray)
                or array.shape != shapes[name]
                or array.dtype != dtype
            ):
                description = (
                    f"{array.dtype} array of shape {array.shape}"
                    if isinstance(array, np.ndarray)
                    else type(array).__name__
                )
                raise InputError(
                    f"d{name} is a {description}, "
                    f"but should be a {dtype} array of shape {shapes[name]}, like {name}"
                )

    def _check_entries(
        self, inputs: Mapping[str, Array], name: str, entries: Any, values: Any
    ) -> None:
        if name not in inputs:
            raise InputError(
                f"there is no input {name!r} of a {self.cell}; there are {', '.join(inputs)}"
            )
        if (
            not isinstance(entries, np.ndarray)
            or entries.dtype.kind not in "iu"
            or entries.ndim != 1
            or not entries.size
        ):
            raise InputError(
                "entries should be a NumPy array of integers of shape (n,), n at least 1"
            )
        if entries.min() < 0 or entries.max() >= inputs[name].size:
            raise InputError(
                f"entries go from {entries.min()} to {entries.max()}, "
                f"but {name} has {inputs[name].size}"
            )
        dtype = inputs[name].dtype
        if (
            not isinstance(values, np.ndarray)
            or values.shape != entries.shape
            or values.dtype != dtype
        ):
            raise InputError(
                f"values should be a NumPy array of dtype {dtype} and shape {entries.shape}, "
                "one for each entry"
            )
