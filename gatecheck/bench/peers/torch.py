"""PyTorch as its users have it: a layer of ``torch.nn``.

Forward is without gradients; gradients are by autograd.
"""

from __future__ import annotations

from typing import Any

from gatecheck.bench.job import Job, Results, cotangents, outputs, states
from gatecheck.cases import Case
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError, UsageError

try:
    import torch
except ImportError as error:
    raise MissingExtraError('pip install "gatecheck[torch]"') from error

PACKAGES = ("torch",)


def prepare(case: Case, work: str, threads: int) -> Job:
    """Prepare a point for PyTorch.

    Raises
    ------
    UsageError
        If ``torch.nn`` has no such cell.
    """
    cell, convention = case.cell, as_convention("pytorch")
    if (
        cell.reset == "before"
        or cell.activation == "sigmoid"
        or cell.name not in ("rnn", "rnn-relu", "gru", "lstm")
    ):
        raise UsageError(f"torch.nn has no {cell}")
    torch.set_num_threads(threads)
    _, _, D, H = case.sizes
    options = {"nonlinearity": cell.activation} if cell.kind == "rnn" else {}
    x = torch.from_numpy(case["x"].copy())
    module = getattr(torch.nn, cell.kind.upper())(D, H, dtype=x.dtype, **options)
    names = [name for name, _ in module.named_parameters()]
    module.load_state_dict(
        {
            k: torch.from_numpy(v.copy())
            for k, v in convention.from_canonical(cell, case.params).items()
        }
    )
    initial = [torch.from_numpy(s)[None] for s in states(case)]
    packed: Any = tuple(initial) if len(initial) == 2 else initial[0]
    if work == "forward":

        def forward() -> Any:
            with torch.no_grad():
                return module(x, packed)

        return Job(forward, lambda: outputs(case, [v.numpy() for v in _flatten(forward())]))
    directions = [torch.from_numpy(d) for d in cotangents(case)]
    directions[1:] = [d[None] for d in directions[1:]]
    leaves = [*module.parameters(), x.requires_grad_(), *(s.requires_grad_() for s in initial)]

    def backward() -> Any:
        y, final = module(x, packed)
        return torch.autograd.grad(
            [y, *(final if isinstance(final, tuple) else (final,))], leaves, directions
        )

    def gradients() -> Results:
        all_gradients = [g.numpy() for g in backward()]
        params = convention.pull_back(
            cell, dict(zip(names, all_gradients[: len(names)], strict=True))
        )
        dx, *rest = all_gradients[len(names) :]
        inputs = {"x": dx} | {f"{k}0": d[0] for k, d in zip(cell.state, rest, strict=True)}
        return {f"d{k}": v for k, v in (params | inputs).items()}

    return Job(backward, gradients)


def _flatten(output: Any) -> list[Any]:
    y, final = output
    return [y, *(s[0] for s in (final if isinstance(final, tuple) else (final,)))]
