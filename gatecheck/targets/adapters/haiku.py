"""Haiku's cores under its own ``dynamic_unroll``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.classes import class_cell
from gatecheck.targets.adapters.jax import JaxFunction

try:
    import haiku
except ImportError as error:
    raise MissingExtraError('auditing Haiku needs Haiku: pip install "gatecheck[jax]"') from error

# LSTM adds 1 to the forget gate's bias at run time (haiku/_src/recurrent.py: sigmoid(f + 1));
# VanillaRNN has relu only.
_CELLS = {"VanillaRNN": "rnn-relu", "GRU": "gru-before", "LSTM": "lstm-forget1"}

_SCOPES = {"VanillaRNN": "vanilla_rnn", "GRU": "gru", "LSTM": "lstm"}

TARGETS: list[tuple[str, str | None]] = [(name, None) for name in _CELLS]
"""Class names; each is one cell."""


def adapt(name: str, cell: str | None = None) -> JaxFunction:
    """Return a class of ``haiku``, by its name, as an implementation.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the requested cell.
    """
    chosen, scope = class_cell("haiku", name, cell, _CELLS, {}), _SCOPES[name]

    def unrolled(H: int, x: Any, states: tuple[Any, ...]) -> Any:
        core = getattr(haiku, name)(H)
        initial = core.initial_state(x.shape[1])
        if states[0] is not None:
            initial = haiku.LSTMState(*states) if len(states) == 2 else states[0]
        return haiku.dynamic_unroll(core, x, initial)

    apply = haiku.without_apply_rng(haiku.transform(unrolled)).apply

    def run(params: Mapping[str, Any], x: Any, *states: Any) -> tuple[Any, ...]:
        named: dict[str, dict[str, Any]] = {}
        for path, value in params.items():
            module, _, leaf = path.rpartition("/")
            named.setdefault(f"{scope}/{module}" if module else scope, {})[leaf] = value
        H = next(int(v.shape[0]) for k, v in params.items() if k.endswith("b")) // len(chosen.gates)
        y, final = apply(named, H, x, states)
        return (y, *final) if len(states) == 2 else (y, final)

    return JaxFunction(
        run, chosen, as_convention("haiku"), name, fill_absent_states=False, packages=("dm-haiku",)
    )
