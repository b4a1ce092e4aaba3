"""``torch.autograd.gradcheck`` of an LSTM of PyTorch's.

It is called as its users call it: at its defaults, for all parameters, x, h0 and c0.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from gatecheck.bench.job import states
from gatecheck.cases import Case
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError, TargetError

try:
    import torch
except ImportError as error:
    raise MissingExtraError('pip install "gatecheck[torch]"') from error

PACKAGES = ("torch",)


def prepare(case: Case, threads: int) -> dict[str, Callable[[bool], None]]:
    """Return calls that check PyTorch's LSTM, by the name of what is checked.

    Their argument says whether to use fast mode. The layer is ``torch.nn.LSTM``, the loop one in
    Python over ``torch.nn.LSTMCell``; both return y, with the parameters of `case`.
    """
    torch.set_num_threads(threads)
    _, _, D, H = case.sizes
    converted = as_convention("pytorch").from_canonical(case.cell, case.params)

    def tensor(array: Any) -> Any:
        return torch.from_numpy(array.copy()).requires_grad_()

    inputs = [tensor(case["x"]), *map(tensor, states(case))]
    layer, cell = (kind(D, H, dtype=inputs[0].dtype) for kind in (torch.nn.LSTM, torch.nn.LSTMCell))
    names = [name for name, _ in layer.named_parameters()]
    params = [tensor(converted[name]) for name in names]
    own = [name.removesuffix("_l0") for name in names]

    def whole(x: Any, h0: Any, c0: Any, *params: Any) -> Any:
        return torch.func.functional_call(
            layer, dict(zip(names, params, strict=True)), (x, (h0[None], c0[None]))
        )[0]

    def loop(x: Any, h: Any, c: Any, *params: Any) -> Any:
        outputs, cell_params = [], dict(zip(own, params, strict=True))
        for each in x:
            h, c = torch.func.functional_call(cell, cell_params, (each, (h, c)))
            outputs.append(h)
        return torch.stack(outputs)

    # In torch.autograd the function hides its module.
    published = importlib.import_module("torch.autograd.gradcheck")

    def checks(function: Callable[..., Any]) -> Callable[[bool], None]:
        def check(fast_mode: bool) -> None:
            try:
                published.gradcheck(function, [*inputs, *params], fast_mode=fast_mode)
            except published.GradcheckError as error:
                raise TargetError(
                    f"torch.autograd.gradcheck does not pass PyTorch's own LSTM: {error}"
                ) from error

        return check

    return {"torch.nn.LSTM": checks(whole), "loop over torch.nn.LSTMCell": checks(loop)}
