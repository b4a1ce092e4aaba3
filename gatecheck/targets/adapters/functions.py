"""Functions as implementations: one step, or a whole sequence in JAX."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatecheck._util.arguments import FUNCTION, MAPPING, optional, validate_args
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import Convention, as_convention
from gatecheck.errors import ContractError, UsageError

Step = Callable[..., Any]


class SteppedImplementation:
    """An implementation that runs a step over the sequence; see :func:`from_step`."""

    def __init__(self, step: Step, cell: Cell, convention: Convention, name: str) -> None:
        self.step, self.cell, self.convention, self.name = step, cell, convention, name

    def forward(
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT)."""
        B = x.shape[1]
        _, H = self.convention.sizes(self.cell, params)
        initial = {"h": h0, "c": c0}
        zeros = {k: np.zeros(self.cell.state_shape(k, B, H), x.dtype) for k in self.cell.state}
        states: list[Any] = [
            zero if initial[k] is None else initial[k] for k, zero in zeros.items()
        ]
        y = np.zeros((len(x), *np.shape(states[0])), x.dtype)
        for t in range(len(x)):
            states = self._validate_states(self.step(params, x[t], *states))
            # The assignment below would silently broadcast a state of another shape.
            if np.shape(states[0]) != y.shape[1:]:
                raise ContractError(
                    f"the step returned h' of shape {np.shape(states[0])}, "
                    f"but should return shape {y.shape[1:]}"
                )
            y[t] = states[0]
        return (y, *states)

    def _validate_states(self, result: Any) -> list[Any]:
        states = list(result) if isinstance(result, tuple | list) else [result]
        names = ", ".join(f"{k}'" for k in self.cell.state)
        if len(states) != len(self.cell.state):
            raise ContractError(
                f"the step returned {len(states)} states, but should return {names}"
            )
        return states


@validate_args(step=FUNCTION)
def from_step(
    step: Step, *, cell: str | Cell, convention: str | Convention | None = None
) -> SteppedImplementation:
    """Return a single-step cell as an implementation that can be audited.

    Parameters
    ----------
    step
        ``step(params, x, h)``, which returns h', or ``step(params, x, h, c)``, which returns (h',
        c'): arrays ``(B, D)`` and ``(B, H)``.
    cell
        The cell that it computes.
    convention
        The convention of its parameters; by default canonical arrays.

    Raises
    ------
    UsageError
        If there is no such cell or convention.

    Examples
    --------
    >>> import numpy as np, gatecheck as gk
    >>> def step(params, x, h):
    ...     return np.tanh(x @ params["W"] + h @ params["U"] + params["b"])
    >>> gk.audit(gk.from_step(step, cell="rnn"), profile="quick").verdict
    'pass'
    """
    return SteppedImplementation(
        step, as_cell(cell), as_convention(convention), getattr(step, "__name__", "step")
    )


@validate_args(function=FUNCTION, compiler_options=optional(MAPPING))
def from_jax(
    function: Step,
    *,
    cell: str | Cell,
    convention: str | Convention | None = None,
    compiler_options: Mapping[str, Any] | None = None,
) -> Any:
    """Return a pure function in JAX as an implementation that can be audited.

    Gradients are taken by ``jax.vjp``, and tangents by ``jax.jvp``.

    Parameters
    ----------
    function
        ``function(params, x, h0)``, which returns (y, hT), or ``function(params, x, h0, c0)``,
        which returns (y, hT, cT); in the order of the convention, where that has the cell state
        first. It is compiled by ``jax.jit``, for float64 in x64 mode, on the default device. If it
        takes ``lengths``, rows of different lengths are audited too.
    cell
        The cell that it computes.
    convention
        The convention of its parameters; by default canonical arrays.
    compiler_options
        Options of XLA for ``jax.jit``; by default those with which it compiles fastest. ``{}`` is
        XLA's own choice, and takes three times as long.

    Raises
    ------
    UsageError
        If there is no such cell or convention.
    MissingExtraError
        If JAX is not installed.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, gatecheck as gk
    >>> def forward(params, x, h0):
    ...     def step(h, x_t):
    ...         h = jnp.tanh(x_t @ params["W"] + h @ params["U"] + params["b"])
    ...         return h, h
    ...     hT, y = jax.lax.scan(step, h0, x)
    ...     return y, hT
    >>> only = ["forward_within_budget", "gradients_within_budget"]
    >>> gk.audit(gk.from_jax(forward, cell="rnn"), profile="quick", only=only).verdict
    'pass'
    """
    # Imported here so that this module does not need JAX.
    from gatecheck.targets.adapters import jax as adapter

    try:
        takes_lengths = "lengths" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions in C have no signature
        takes_lengths = False
    options = adapter.FAST_COMPILE_OPTIONS if compiler_options is None else compiler_options
    name = getattr(function, "__name__", "function")
    make = adapter.JaxFunctionWithLengths if takes_lengths else adapter.JaxFunction
    its_cell, its_convention = as_cell(cell), as_convention(convention)
    try:
        return make(function, its_cell, its_convention, name, compiler_options=options)
    except TypeError as error:  # a long message of JAX's bindings on a value of a wrong type
        raise UsageError(
            f"compiler_options is {dict(options)!r}, but should have values that XLA takes"
        ) from error
