"""Cells of Flax NNX under its own ``RNN`` and ``Bidirectional``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.cells import Cell
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.flax import TARGETS as LINEN
from gatecheck.targets.adapters.flax import activations, hidden, layer
from gatecheck.targets.adapters.jax import FunctionOfLengths

try:
    from flax import nnx
except ImportError as error:
    raise MissingExtraError('auditing Flax needs Flax: pip install "gatecheck[jax]"') from error

TARGETS = LINEN
"""Class names; each is the cell of its kind."""


def adapt(
    name: str, cell: str | None = None, *, reverse: bool = False, time_major: bool = True
) -> FunctionOfLengths:
    """The class of that name in ``flax.nnx`` as an implementation.

    Parameters
    ----------
    name, cell
        The class, and which cell it is to be.
    reverse, time_major
        As of ``flax.nnx.RNN``, which keeps the order.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the cell that is asked for.
    """

    def unroll(
        chosen: Cell,
        params: Mapping[str, Any],
        x: Any,
        way: Mapping[str, Any],
        how: Mapping[str, Any],
    ) -> Any:
        backward = {
            k.removeprefix("backward/"): v for k, v in params.items() if k.startswith("backward/")
        }
        forward = {k: v for k, v in params.items() if not k.startswith("backward/")}
        rnns = [
            nnx.RNN(_module(name, chosen, of, x), **way)
            for of in ((forward, backward) if chosen.bidirectional else (forward,))
        ]
        module = nnx.Bidirectional(*rnns) if chosen.bidirectional else rnns[0]
        return module(x, **how)

    convention = "flax-nnx-apart" if name == "LSTMCell" else "flax-nnx"
    return layer("flax.nnx", name, cell, convention, unroll, reverse=reverse, time_major=time_major)


def _module(name: str, cell: Cell, params: Mapping[str, Any], x: Any) -> Any:
    # an orthogonal kernel is a QR decomposition, which would be compiled in vain
    zero = nnx.initializers.zeros_init()
    inits = {"kernel_init": zero, "recurrent_kernel_init": zero}
    # SimpleCell computes in float32 unless it is told otherwise (flax/nnx/nn/recurrent.py: dtype:
    # Dtype = jnp.float32).
    dtypes = {"dtype": x.dtype, "param_dtype": x.dtype}
    module = getattr(nnx, name)(
        x.shape[-1], hidden(params), **dtypes, **inits, **activations(cell), rngs=nnx.Rngs(0)
    )
    for path, value in params.items():
        layer, _, kind = path.partition("/")
        getattr(getattr(module, layer), kind)[...] = value
    return module
