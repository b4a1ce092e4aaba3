"""Cells of Flax Linen under Flax's own ``RNN`` and ``Bidirectional``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatecheck.cells import Cell
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.classes import class_cell
from gatecheck.targets.adapters.jax import JaxFunctionWithLengths

try:
    import jax
    from flax import linen
    from flax.traverse_util import unflatten_dict
except ImportError as error:
    raise MissingExtraError('auditing Flax needs Flax: pip install "gatecheck[jax]"') from error

CELL_KINDS = {
    "SimpleCell": "rnn",
    "GRUCell": "gru",
    "LSTMCell": "lstm",
    "OptimizedLSTMCell": "lstm",
}
"""Kind of cell of each class, in Linen and in NNX."""

# jax.nn.hard_sigmoid is relu6(a + 3) / 6.
_OPTIONS = {"activation": None, "hard": (6,), "bidirectional": None}

TARGETS: list[tuple[str, str | None]] = [(name, None) for name in CELL_KINDS]
"""Class names; each is the cell of its kind."""

_ACTIVATIONS = {"tanh": jax.numpy.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def adapt(
    name: str, cell: str | None = None, *, reverse: bool = False, time_major: bool = True
) -> JaxFunctionWithLengths:
    """Return a class of ``flax.linen``, by its name, as an implementation.

    Parameters
    ----------
    name, cell
        The class, and the requested cell.
    reverse, time_major
        Options of ``flax.linen.RNN``, which keeps the order of the steps.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the requested cell.
    """

    def unroll(
        chosen: Cell,
        params: Mapping[str, Any],
        x: Any,
        rnn_options: Mapping[str, Any],
        call_options: Mapping[str, Any],
    ) -> Any:
        rnns = [
            linen.RNN(
                getattr(linen, name)(
                    hidden_size(params), param_dtype=x.dtype, **activations(chosen)
                ),
                **rnn_options,
            )
            for _ in range(chosen.directions)
        ]
        nested = unflatten_dict(params, sep="/")
        backward = nested.pop("backward", None)
        variables = {"cell": nested}
        if chosen.bidirectional:
            variables = {"forward_rnn": variables, "backward_rnn": {"cell": backward}}
        module = linen.Bidirectional(*rnns) if chosen.bidirectional else rnns[0]
        return module.apply({"params": variables}, x, **call_options)

    return layer_adapter(
        "flax.linen", name, cell, "flax", unroll, reverse=reverse, time_major=time_major
    )


# ---- shared by Linen and NNX


def layer_adapter(
    module: str,
    name: str,
    cell: str | None,
    convention: str,
    unroll: Callable[..., Any],
    *,
    reverse: bool,
    time_major: bool,
) -> JaxFunctionWithLengths:
    """Return a class in its module's ``RNN`` or ``Bidirectional``, to be audited.

    Parameters
    ----------
    module, name, cell
        The class, and the requested cell.
    convention
        The convention of its parameters.
    unroll
        Function of the cell, its parameters, x, and the arguments of ``RNN`` and of its call; it
        returns the final carry and y.
    reverse, time_major
        Options of ``RNN``, which keeps the order of the steps.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the requested cell.
    """
    chosen = class_cell(module, name, cell, CELL_KINDS, _OPTIONS)
    rnn_options = {"reverse": reverse, "keep_order": reverse}

    def run(
        params: Mapping[str, Any], x: Any, *states: Any, lengths: Any = None
    ) -> tuple[Any, ...]:
        call_options = {
            "initial_carry": initial_carry(chosen, states),
            "seq_lengths": lengths,
            "time_major": time_major,
            "return_carry": True,
        }
        final, y = unroll(chosen, params, x, rnn_options, call_options)
        return zero_padding(y, lengths, time_major), *final_states(chosen, final)

    options = {"reverse": reverse, "batch_first": not time_major}
    return JaxFunctionWithLengths(
        run,
        chosen,
        as_convention(convention),
        name,
        fill_absent_states=False,
        packages=("flax",),
        options=options,
    )


def activations(cell: Cell) -> dict[str, Any]:
    """Return the functions with which a class becomes the cell."""
    if cell.kind == "rnn":
        return {"activation_fn": _ACTIVATIONS[cell.activation]}
    return {"gate_fn": jax.nn.hard_sigmoid} if cell.hard else {}


def hidden_size(params: Mapping[str, Any]) -> int:
    """Return H, the number of rows of a kernel of h."""
    return next(
        int(v.shape[0])
        for k, v in params.items()
        if k.removeprefix("dense_").startswith("h") and k.endswith("kernel")
    )


def initial_carry(cell: Cell, states: tuple[Any, ...]) -> Any:
    """Return the initial carry of ``RNN`` or ``Bidirectional``; None without states.

    It is h, or (c, h), or a pair of them.
    """
    if states[0] is None:
        return None
    one = [tuple(s[k] for s in states) for k in range(2)] if cell.bidirectional else [states]
    carries = [c if len(c) == 2 else c[0] for c in one]
    return tuple(carries) if cell.bidirectional else carries[0]


def final_states(cell: Cell, final: Any) -> tuple[Any, ...]:
    """Return states from a carry, as the inverse of :func:`initial_carry`."""
    one = [c if isinstance(c, tuple) else (c,) for c in (final if cell.bidirectional else (final,))]
    return (
        tuple(jax.numpy.stack(states) for states in zip(*one, strict=True))
        if cell.bidirectional
        else one[0]
    )


def zero_padding(y: Any, lengths: Any, time_major: bool) -> Any:
    """Return the outputs with zero padding.

    In Flax the padding has no meaning ("NOT zeroed out", flax/linen/recurrent.py, RNN).
    """
    if lengths is None:
        return y
    t = jax.numpy.arange(y.shape[0 if time_major else 1])
    inside = t[:, None] < lengths if time_major else t < lengths[:, None]
    return jax.numpy.where(inside[..., None], y, 0)
