"""PyTorch's autograd asked how gradients fade: a loop over ``torch.nn.LSTMCell``, and the gradient
by the state after every step.
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
    cell: Cell, params: Params, x: Array, start: Array, threads: int
) -> Callable[[], Array]:
    """A call that gives what :func:`gatecheck.decay.jacobians.profile.adjoint_profile` does of an LSTM:
    log-norms ``(T+1,)`` by lag.

    One row of a batch for each cotangent of `start` ``(2, k, H)``, so that one backward pass serves
    all. Subnormal numbers are flushed to zero: once gradients underflow, most are, and it would
    take twice as long.
    """
    torch.set_num_threads(threads)
    module = torch.nn.LSTMCell(x.shape[1], start.shape[2], dtype=torch.float64)
    spelled = as_convention("pytorch").spell(cell, params)
    module.load_state_dict(
        {
            name.removesuffix("_l0"): torch.from_numpy(array.copy())
            for name, array in spelled.items()
        }
    )
    rows, cotangents = (
        torch.from_numpy(x)[:, None].expand(-1, start.shape[1], -1),
        [torch.from_numpy(s.copy()) for s in start],
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
            # Views, since the cell makes h of the very c that it returns: by that one the gradient
            # would be of both.
            h, c = (s.view_as(s) for s in module(each, states[-1]))
            states.append((h, c))
        last = states.pop()
        found = torch.autograd.grad(last, [s for pair in states for s in pair], cotangents)
        squares = torch.stack([(d * d).sum() for d in found]).view(-1, 2).sum(1)
        first = sum((d * d).sum() for d in cotangents)
        log_norms: Array = (0.5 * torch.cat([squares, first[None]]).log()).flip(0).numpy()
        return log_norms

    return call
