"""Cells of Flax Linen under Flax's own ``RNN`` and ``Bidirectional``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.auditing.adapters.jax import FunctionOfLengths
from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError, UsageError

try:
    import jax
    from flax import linen
    from flax.traverse_util import unflatten_dict
except ImportError as error:
    raise MissingExtraError('auditing Flax needs Flax: pip install "gatecheck[jax]"') from error

KIND = {"SimpleCell": "rnn", "GRUCell": "gru", "LSTMCell": "lstm", "OptimizedLSTMCell": "lstm"}
"""Which kind of cell each class is, in Linen and in NNX."""

TARGETS: list[tuple[str, str | None]] = [(name, None) for name in KIND]
"""Class names; each is the cell of its kind."""

_ACTIVATIONS = {"tanh": jax.numpy.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def adapt(name: str, cell: str | None = None, *, reverse: bool = False, time_major: bool = True) -> FunctionOfLengths:
    """The class of that name in ``flax.linen`` as an implementation.

    Parameters
    ----------
    name, cell
        The class, and which cell it is to be.
    reverse, time_major
        As of ``flax.linen.RNN``, which keeps the order.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the cell that is asked for.
    """
    chosen = chosen_cell("flax.linen", name, cell)

    def run(params: Mapping[str, Any], x: Any, *states: Any, lengths: Any = None) -> tuple[Any, ...]:
        made = [
            linen.RNN(getattr(linen, name)(hidden(params), param_dtype=x.dtype, **activations(chosen)), reverse=reverse, keep_order=reverse)
            for _ in range(chosen.directions)
        ]
        nested = unflatten_dict(params, sep="/")
        backward = nested.pop("backward", None)
        variables = {"cell": nested}
        if chosen.bidirectional:
            variables = {"forward_rnn": variables, "backward_rnn": {"cell": backward}}
        module = linen.Bidirectional(*made) if chosen.bidirectional else made[0]
        how = {"initial_carry": carry(chosen, states), "seq_lengths": lengths, "time_major": time_major, "return_carry": True}
        final, y = module.apply({"params": variables}, x, **how)
        return within(y, lengths, time_major), *states_of(chosen, final)

    options = {"reverse": reverse, "batch_first": not time_major}
    return FunctionOfLengths(run, chosen, as_convention("flax"), name, fills=False, packages=("flax",), options=options)


# ---- what Linen and NNX share


def chosen_cell(module: str, name: str, cell: str | None) -> Cell:
    """The cell that a class is to be.

    Raises
    ------
    UsageError
        If the class is not a recurrent one, or cannot be it.
    """
    kind = KIND.get(name)
    if kind is None:
        raise UsageError(f"{module}:{name} is not a recurrent class that gatecheck knows; those are {', '.join(KIND)}")
    chosen = as_cell(cell or kind)
    # jax.nn.hard_sigmoid is relu6(a + 3) / 6.
    others = (chosen.hard == 5, chosen.reset == "before", chosen.peepholes, chosen.coupled, chosen.clip is not None, chosen.forget_bias)
    if chosen.kind != kind or chosen.projection or chosen.layers > 1 or any(others):
        raise UsageError(f"{module}:{name} cannot be a {chosen}")
    return chosen


def activations(cell: Cell) -> dict[str, Any]:
    """The functions by which a class becomes the cell."""
    if cell.kind == "rnn":
        return {"activation_fn": _ACTIVATIONS[cell.activation]}
    return {"gate_fn": jax.nn.hard_sigmoid} if cell.hard else {}


def hidden(params: Mapping[str, Any]) -> int:
    """H, the number of rows of a kernel of h."""
    return next(int(v.shape[0]) for k, v in params.items() if k.removeprefix("dense_").startswith("h") and k.endswith("kernel"))


def carry(cell: Cell, states: tuple[Any, ...]) -> Any:
    """What ``RNN`` or ``Bidirectional`` takes as its initial carry: h, or (c, h), or a pair of them; None where there are no states."""
    if states[0] is None:
        return None
    one = [tuple(s[k] for s in states) for k in range(2)] if cell.bidirectional else [states]
    carries = [c if len(c) == 2 else c[0] for c in one]
    return tuple(carries) if cell.bidirectional else carries[0]


def states_of(cell: Cell, final: Any) -> tuple[Any, ...]:
    """The inverse of :func:`carry`."""
    one = [c if isinstance(c, tuple) else (c,) for c in (final if cell.bidirectional else (final,))]
    return tuple(jax.numpy.stack(of) for of in zip(*one, strict=True)) if cell.bidirectional else one[0]


def within(y: Any, lengths: Any, time_major: bool) -> Any:
    """The outputs with padding set to zero: in Flax it has no meaning ("NOT zeroed out", flax/linen/recurrent.py, RNN)."""
    if lengths is None:
        return y
    t = jax.numpy.arange(y.shape[0 if time_major else 1])
    inside = t[:, None] < lengths if time_major else t < lengths[:, None]
    return jax.numpy.where(inside[..., None], y, 0)
