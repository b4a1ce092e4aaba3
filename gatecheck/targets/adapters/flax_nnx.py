"""Cells of Flax NNX under its own ``RNN`` and ``Bidirectional``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.cells import Cell
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.flax import TARGETS as LINEN
from gatecheck.targets.adapters.flax import activations, hidden_size, layer_adapter
from gatecheck.targets.adapters.jax import JaxFunctionWithLengths

try:
    from flax import nnx
except ImportError as error:
    raise MissingExtraError('auditing Flax needs Flax: pip install "gatecheck[jax]"') from error

TARGETS = LINEN
"""Class names; each is the cell of its kind."""


def adapt(
    name: str, cell: str | None = None, *, reverse: bool = False, time_major: bool = True
) -> JaxFunctionWithLengths:
    """Return a class of ``flax.nnx``, by its name, as an implementation.

    Parameters
    ----------
    name, cell
        The class, and the requested cell.
    reverse, time_major
        Options of ``flax.nnx.RNN``, which keeps the order of the steps.

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
        backward = {
            k.removeprefix("backward/"): v for k, v in params.items() if k.startswith("backward/")
        }
        forward = {k: v for k, v in params.items() if not k.startswith("backward/")}
        rnns = [
            nnx.RNN(_make_module(name, chosen, own_params, x), **rnn_options)
            for own_params in ((forward, backward) if chosen.bidirectional else (forward,))
        ]
        module = nnx.Bidirectional(*rnns) if chosen.bidirectional else rnns[0]
        return module(x, **call_options)

    convention = "flax-nnx-apart" if name == "LSTMCell" else "flax-nnx"
    return layer_adapter(
        "flax.nnx", name, cell, convention, unroll, reverse=reverse, time_major=time_major
    )


def _make_module(name: str, cell: Cell, params: Mapping[str, Any], x: Any) -> Any:
    # An orthogonal kernel is a QR decomposition, which would be compiled for nothing.
    zero = nnx.initializers.zeros_init()
    inits = {"kernel_init": zero, "recurrent_kernel_init": zero}
    # SimpleCell computes in float32 by default (flax/nnx/nn/recurrent.py: dtype: Dtype =
    # jnp.float32).
    dtypes = {"dtype": x.dtype, "param_dtype": x.dtype}
    module = getattr(nnx, name)(
        x.shape[-1], hidden_size(params), **dtypes, **inits, **activations(cell), rngs=nnx.Rngs(0)
    )
    for path, value in params.items():
        layer, _, kind = path.partition("/")
        getattr(getattr(module, layer), kind)[...] = value
    return module
