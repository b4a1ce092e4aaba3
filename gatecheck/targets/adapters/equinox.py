"""Equinox's cells, mapped over the batch and scanned over time.

They take one example and one step each; the loop is that of Equinox's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.classes import class_cell
from gatecheck.targets.adapters.jax import JaxFunction

try:
    import equinox
    import jax
except ImportError as error:
    raise MissingExtraError(
        'auditing Equinox needs Equinox: pip install "gatecheck[jax]"'
    ) from error

_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm"}

TARGETS: list[tuple[str, str | None]] = [(name, None) for name in _CELLS]
"""Class names; each is one cell."""


def adapt(name: str, cell: str | None = None) -> JaxFunction:
    """Return a class of ``equinox.nn``, by its name, as an implementation.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the requested cell.
    """
    chosen = class_cell("equinox.nn", name, cell, _CELLS, {})

    def run(params: Mapping[str, Any], x: Any, *states: Any) -> tuple[Any, ...]:
        make = getattr(equinox.nn, name)
        empty = equinox.filter_eval_shape(
            make, x.shape[-1], states[0].shape[-1], dtype=x.dtype, key=jax.random.key(0)
        )
        module = equinox.tree_at(
            lambda m: [getattr(m, k) for k in params], empty, list(params.values())
        )

        def step(state: Any, x_t: Any) -> tuple[Any, Any]:
            new = jax.vmap(module)(x_t, state)
            return new, new[0] if len(states) == 2 else new

        final, y = jax.lax.scan(step, states if len(states) == 2 else states[0], x)
        return (y, *final) if len(states) == 2 else (y, final)

    return JaxFunction(run, chosen, as_convention("equinox"), name, packages=("equinox",))
