"""Decay of gradients by PyTorch's autograd.

A loop over ``torch.nn.LSTMCell``, and the gradient by the state after every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError

try:
    import torch
except ImportError as error:
    raise MissingExtraError('pip install "gatecheck[torch]"') from error

PACKAGES = ("torch",)


def prepare(
    cell: Cell, params: Params, x: Array, probes: Array, threads: int
) -> Callable[[], Array]:
    """Return a call that computes log-norms ``(T+1,)`` of an LSTM by lag.

    They are those of :func:`gatecheck.decay.jacobians.profile.adjoint_profile`. Each cotangent of
    `probes` ``(2, k, H)`` is a row of a batch, so that one backward pass serves all. Subnormal
    numbers are flushed to zero: once gradients underflow, most are, and it would take twice as
    long.
    """
    torch.set_num_threads(threads)
    module = torch.nn.LSTMCell(x.shape[1], probes.shape[2], dtype=torch.float64)
    converted = as_convention("pytorch").from_canonical(cell, params)
    module.load_state_dict(
        {
            name.removesuffix("_l0"): torch.from_numpy(array.copy())
            for name, array in converted.items()
        }
    )
    rows, cotangents = (
        torch.from_numpy(x)[:, None].expand(-1, probes.shape[1], -1),
        [torch.from_numpy(s.copy()) for s in probes],
    )

    def call() -> Array:
        torch.set_flush_denormal(True)
        try:
            return by_lag()
        finally:
            torch.set_flush_denormal(False)

    def by_lag() -> Array:
        h, c = (torch.zeros_like(d, requires_grad=True) for d in cotangents)
        states: list[Any] = [(h, c)]
        for each in rows:
            # Views, since the cell computes h from the c that it returns: the gradient by that c
            # would include the path through h.
            h, c = (s.view_as(s) for s in module(each, states[-1]))
            states.append((h, c))
        last = states.pop()
        gradients = torch.autograd.grad(last, [s for pair in states for s in pair], cotangents)
        squares = torch.stack([(d * d).sum() for d in gradients]).view(-1, 2).sum(1)
        first = sum((d * d).sum() for d in cotangents)
        log_norms: Array = (0.5 * torch.cat([squares, first[None]]).log()).flip(0).numpy()
        return log_norms

    return call
