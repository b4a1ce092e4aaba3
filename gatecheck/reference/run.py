"""Evaluation of a cell's equations over a sequence, for one layer and direction.

Arrays may have any dtype, complex included, and be of any subclass of ndarray, which does the
arithmetic. All may have further leading axes (replicates): x ``(..., T, B, D)``, states
``(..., B, H)``, parameters ``(..., D, G*H)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, split
from gatecheck.errors import LostNoiseError
from gatecheck.reference.equations import Equation, Equations
from gatecheck.reference.scope import Scope, Whole, stack_terms

Results = dict[str, Array]


def _evaluate(equations: Mapping[str, Equation], scope: Scope, kind: type) -> None:
    for name, equation in equations.items():
        term = equation(scope)
        if not isinstance(term, kind):
            raise LostNoiseError(
                f"the term {name} is a {type(term).__name__}, "
                f"but should be a {kind.__name__} like x"
            )
        scope.__dict__[name] = term


def _blocks(equations: Equations, params: Mapping[str, Array]) -> dict[str, Array]:
    # A bias of shape (..., 1, H) broadcasts against rows even where parameters are replicated.
    return {
        k: v[..., None, :] if k[0] in "bcp" else v for k, v in split(equations.cell, params).items()
    }


def _zeros(x: Array, *shape: int) -> Array:
    return np.zeros((*x.shape[:-3], *shape), x.dtype).view(type(x))


def zero_states(cell: Cell, params: Mapping[str, Array], x: Array) -> dict[str, Array]:
    """Return states h and c of zeros, for parameters of one layer."""
    H = params["b"].shape[-1] // len(cell.gates)
    return {k: _zeros(x, x.shape[-2], cell.width(H) if k == "h" else H) for k in cell.state}


def _time_first(a: Array) -> Array:
    return a.transpose(-3, *range(a.ndim - 3), -2, -1)


def forward(
    equations: Equations,
    params: Mapping[str, Array],
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    valid: Array | None = None,
) -> list[Scope]:
    """Return every step's scope, in order; empty for T = 0.

    Parameters
    ----------
    equations
        The cell's equations, edited or not.
    params, x, h0, c0
        Canonical arrays of one layer; see the module. Absent states are zero.
    valid
        For masked equations ``(T, B, 1)``: True where a row has not ended.
    """
    blocks = _blocks(equations, params)
    given = {"h": h0, "c": c0}
    blocks |= {
        f"{k}0": zero if (v := given[k]) is None else v
        for k, zero in zero_states(equations.cell, params, x).items()
    }
    x = _time_first(x)
    steps: list[Scope] = []
    for t in range(len(x)):
        scope = Scope(
            **blocks,
            x=x[t],
            t=t,
            T=len(x),
            before=steps[-1] if steps else None,
            after=None,
            all_x=x,
        )
        if valid is not None:
            scope.__dict__["valid"] = valid[t]
        _evaluate(equations.step, scope, type(x))
        steps.append(scope)
    return steps


def outputs(
    equations: Equations,
    steps: Sequence[Scope],
    x: Array,
    params: Mapping[str, Array],
    **initial: Array,
) -> Results:
    """Return y ``(..., T, B, H)`` and the final states from the steps of a forward.

    The states are ``hT`` and ``cT``; `steps` is the result of :func:`forward`.
    """
    if steps:
        y = stack_terms([s.h for s in steps], axis=-3)
        return {"y": y} | {f"{k}T": steps[-1][k] for k in equations.cell.state}
    zeros = zero_states(equations.cell, params, x)
    y = _zeros(x, 0, *zeros["h"].shape[-2:])
    return {"y": y} | {f"{k}T": initial.get(f"{k}0", zero) for k, zero in zeros.items()}


def backward(
    equations: Equations,
    steps: Sequence[Scope],
    x: Array,
    params: Mapping[str, Array],
    **cotangents: Array,
) -> Results:
    """Return the gradients of the sum of outputs times cotangents.

    Parameters
    ----------
    equations, x, params
        As in :func:`forward`.
    steps
        The result of :func:`forward`; the backward terms are added to the scopes.
    **cotangents
        ``dy`` ``(..., T, B, H)``, ``dhT``, ``dcT`` ``(..., B, H)``; absent ones are zero.

    Returns
    -------
    dict
        ``dW``, ``dU``, ``db``, (``dc_n``), ``dx``, ``dh0``, (``dc0``), each of its array's shape.
    """
    cell = equations.cell
    zeros = zero_states(cell, params, x)
    final = {f"d{k}T": cotangents.get(f"d{k}T", zero) for k, zero in zeros.items()}
    if not steps:
        sums = {f"d{k}": _zeros(x, *v.shape[-2 if k in "WUR" else -1 :]) for k, v in params.items()}
        return sums | {"dx": np.zeros_like(x)} | {f"d{k}0": final[f"d{k}T"] for k in cell.state}
    all_dy = _time_first(
        cotangents["dy"] if "dy" in cotangents else _zeros(x, len(steps), *zeros["h"].shape[-2:])
    )
    after = None
    for s in reversed(steps):
        s.__dict__.update(final, dy=all_dy[s.t], all_dy=all_dy, after=after)
        _evaluate(equations.back, s, type(x))
        after = s
    whole = Whole(steps=steps)
    _evaluate(equations.total, whole, type(x))
    dx = stack_terms([s.dx for s in steps], axis=-3)
    states = {f"d{k}0": whole[f"d{k}0"] for k in cell.state}
    blocks = {k[1:]: whole[k] for k in equations.total if k not in states}
    sums = join(cell, {k: v[..., 0, :] if k[0] in "bcp" else v for k, v in blocks.items()})
    return {f"d{k}": v for k, v in sums.items()} | {"dx": dx} | states
