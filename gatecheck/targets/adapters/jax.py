"""Functions in JAX as implementations, with ``jax.vjp`` and ``jax.jvp``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.conventions import Convention
from gatecheck.errors import MissingExtraError

try:
    import jax
except ImportError as error:
    raise MissingExtraError(
        'auditing JAX needs JAX 0.8 or later: pip install "gatecheck[jax]"'
    ) from error

FAST_COMPILE_OPTIONS = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_use_fusion_emitters": False,
}
"""Options of XLA with which a small recurrence compiles in a quarter of the time.

An audit compiles about 130 programs, which is nearly all of its cost. The options affect how XLA
makes machine code, not what is computed.
"""

MAX_PROGRAMS = 300
"""Maximum number of shapes of a function that stay compiled.

Each program keeps about 25 memory mappings, and Linux ends a process that has 65,530.
"""


@cache
def _is_known_option(name: str, value: bool | int) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class JaxFunction:
    """A pure function as an implementation; see :func:`gatecheck.from_jax`.

    Parameters
    ----------
    function
        ``function(params, x, *states)``, which returns y and the final states, in the order of the
        convention.
    cell, convention, name
        Its cell, convention and name.
    compiler_options
        Options of XLA; those that this version does not know are left out, since by default they
        only save time.
    fill_absent_states
        Pass absent states as zeros to the function. Else, if all are absent, they are None, so that
        a framework takes its own path.
    packages
        Packages whose versions an audit reports.
    options, expected_failures
        See :class:`gatecheck.implementation.protocol.Implementation`.
    """

    few_shapes = True

    def __init__(
        self,
        function: Callable[..., Any],
        cell: Cell,
        convention: Convention,
        name: str,
        *,
        compiler_options: Mapping[str, Any] = FAST_COMPILE_OPTIONS,
        fill_absent_states: bool = True,
        packages: Sequence[str] = (),
        options: Mapping[str, bool] | None = None,
        expected_failures: Mapping[str, str] | None = None,
    ) -> None:
        self.cell, self.convention, self.name, self.packages = (
            cell,
            convention,
            name,
            ("jax", "jaxlib", *packages),
        )
        self.options, self.expected_failures, self.notes = (
            options or {},
            expected_failures or {},
            _device_notes(),
        )
        self._fills = fill_absent_states
        self._states = [k for k in convention.states if k in cell.state]

        def outputs(params: Any, x: Any, states: Any, lengths: Any) -> tuple[Any, ...]:
            values = function(
                params, x, *states, **({} if lengths is None else {"lengths": lengths})
            )
            # tuple() would split a single array into its steps.
            return tuple(values) if isinstance(values, tuple | list) else (values,)

        def gradients(params: Any, x: Any, states: Any, lengths: Any, cotangents: Any) -> Any:
            return jax.vjp(lambda p, x, s: outputs(p, x, s, lengths), params, x, states)[1](
                cotangents
            )

        def tangents(at: Any, along: Any) -> Any:
            return jax.jvp(lambda p, x, s: outputs(p, x, s, None), at, along)[1]

        # Compiled as a whole: outside of jit JAX compiles each operation separately, which takes
        # longer.
        chosen = {k: v for k, v in compiler_options.items() if _is_known_option(k, v)}
        self._outputs, self._gradients, self._tangents = (
            jax.jit(f, compiler_options=chosen) for f in (outputs, gradients, tangents)
        )

    def forward(
        self, params: dict[str, Array], x: Array, *states: Array | None
    ) -> tuple[Array, ...]:
        """Return (y, hT), (y, hT, cT) or (y, cT, hT)."""
        return self._forward(params, x, states, None)

    def backward(self, params: dict[str, Array], x: Array, *more: Array | None) -> dict[str, Array]:
        """Return gradients by reverse mode, without those of absent states."""
        return self._backward(params, x, more, None)

    def tangent(self, params: dict[str, Array], x: Array, *more: Any) -> tuple[Array, ...]:
        """Return the derivative of the outputs in a direction, by forward mode."""
        # The signature of a tangent has a cell state after h for every cell.
        n, half = len(self._states), len(more) // 2 - 1
        states, (d_params, d_x), d_states = (
            more[:half][:n],
            more[half : half + 2],
            more[half + 2 :][:n],
        )
        at, along = (
            (params, x, self._fill_absent(x, params, states)),
            (d_params, d_x, self._fill_absent(x, params, d_states)),
        )
        results: tuple[Array, ...] = _call(self._tangents, x, at, along)
        return results

    def _forward(
        self,
        params: dict[str, Array],
        x: Array,
        states: Sequence[Array | None],
        lengths: Array | None,
    ) -> tuple[Array, ...]:
        results: tuple[Array, ...] = _call(
            self._outputs, x, params, x, self._initial_states(params, x, states), lengths
        )
        return results

    def _backward(
        self, params: dict[str, Array], x: Array, more: Sequence[Any], lengths: Array | None
    ) -> dict[str, Array]:
        # The signature of a backward has a cell state for every cell.
        n, half = len(self._states), len(more) // 2
        states, dy, finals = more[:half][:n], more[half], more[half + 1 :][:n]
        cotangents = (
            self._zero_y(params, x) if dy is None else dy,
            *self._fill_absent(x, params, finals),
        )
        d_params, d_x, d_states = _call(
            self._gradients,
            x,
            params,
            x,
            self._initial_states(params, x, states),
            lengths,
            cotangents,
        )
        own = {
            f"{k}0": d
            for k, s, d in zip(self._states, states, d_states, strict=True)
            if s is not None
        }
        return {**d_params, "x": d_x, **own}

    def _initial_states(
        self, params: Mapping[str, Array], x: Array, states: Sequence[Array | None]
    ) -> tuple[Array | None, ...]:
        absent = all(s is None for s in states)
        return tuple(states) if absent and not self._fills else self._fill_absent(x, params, states)

    def _fill_absent(
        self, x: Array, params: Mapping[str, Array], states: Sequence[Array | None]
    ) -> tuple[Array, ...]:
        """Return the states, or their cotangents, with zeros for absent ones."""
        return tuple(
            self._zero_state(k, params, x) if s is None else s
            for k, s in zip(self._states, states, strict=True)
        )

    @property
    def _sequence_axes(self) -> str:
        return self.convention.sequence_axes(self.options.get("batch_first", False))

    def _hidden_size(self, params: Mapping[str, Array]) -> int:
        return self.convention.sizes(self.cell, params)[1]

    def _zero_state(self, state: str, params: Mapping[str, Array], x: Array) -> Array:
        return np.zeros(
            self.convention.state_shape(
                self.cell, state, x.shape[self._sequence_axes.index("B")], self._hidden_size(params)
            ),
            x.dtype,
        )

    def _zero_y(self, params: Mapping[str, Array], x: Array) -> Array:
        width = self.cell.directions * self.cell.width(self._hidden_size(params))
        return np.zeros(
            [
                width if axis == "D" else n
                for axis, n in zip(self._sequence_axes, x.shape, strict=True)
            ],
            x.dtype,
        )


class JaxFunctionWithLengths(JaxFunction):
    """A function that also takes ``lengths``, the number of steps of each row."""

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        *states: Array | None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return (y, hT), (y, hT, cT) or (y, cT, hT)."""
        return self._forward(params, x, states, _to_int32(lengths))

    def backward(
        self, params: dict[str, Array], x: Array, *more: Array | None, lengths: Array | None = None
    ) -> dict[str, Array]:
        """Return gradients by reverse mode, without those of absent states."""
        return self._backward(params, x, more, _to_int32(lengths))


def _call(function: Any, x: Array, *arguments: Any) -> Any:
    """Call a compiled function; return its results as NumPy arrays."""
    if function._cache_size() >= MAX_PROGRAMS:
        jax.clear_caches()  # not only this function's: JAX also keeps programs that it called
    # Each dtype in its own mode: in x64 mode, constants and random numbers in a function are
    # float64 too.
    with jax.enable_x64(x.dtype == np.dtype("float64")), _full_precision():
        return jax.tree.map(np.asarray, function(*arguments))


def _full_precision() -> AbstractContextManager[Any]:
    """Compute matrix products in their dtype's arithmetic, as budgets assume."""
    return (
        nullcontext() if jax.default_backend() == "cpu" else jax.default_matmul_precision("highest")
    )


def _device_notes() -> tuple[str, ...]:
    device = jax.default_backend()
    full = (
        "with matrix products in full float32: "
        "by default XLA may round their factors to TF32 or bfloat16 there"
    )
    return () if device == "cpu" else (f"it was computed on {device}, {full}",)


def _to_int32(lengths: Array | None) -> Array | None:
    # JAX has no int64 outside of x64 mode.
    return None if lengths is None else lengths.astype(np.int32)
