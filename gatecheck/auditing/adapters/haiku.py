"""Haiku's cores under its own ``dynamic_unroll``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.auditing.adapters.jax import Function
from gatecheck.cells import as_cell
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError, UsageError

try:
    import haiku
except ImportError as error:
    raise MissingExtraError('auditing Haiku needs Haiku: pip install "gatecheck[jax]"') from error

# LSTM adds 1 to the forget gate's bias at run time (haiku/_src/recurrent.py: sigmoid(f + 1)); VanillaRNN knows relu alone.
_CORES = {"VanillaRNN": ("rnn-relu", "vanilla_rnn"), "GRU": ("gru-before", "gru"), "LSTM": ("lstm-forget1", "lstm")}

TARGETS: list[tuple[str, str | None]] = [(name, None) for name in _CORES]
"""Class names; each is one cell."""


def adapt(name: str, cell: str | None = None) -> Function:
    """The class of that name in ``haiku`` as an implementation.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the cell that is asked for.
    """
    if name not in _CORES:
        raise UsageError(f"haiku:{name} is not a recurrent class that gatecheck knows; those are {', '.join(_CORES)}")
    own, scope = _CORES[name]
    chosen = as_cell(cell or own)
    if chosen != as_cell(own):
        raise UsageError(f"haiku:{name} is a {own}; it cannot be a {chosen}")

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

    return Function(run, chosen, as_convention("haiku"), name, fills=False, packages=("dm-haiku",))
