"""Rounding budgets: by how much may correct code in another precision differ?

Monte Carlo arithmetic (Parker 1997): the float64 function runs in replicates, along a leading axis,
with every *operation* perturbed at random by its rounding in the target's dtype. The spread about
the exact run bounds the error of correct code. The noise lives in the array type, so the function
needs no change.

How an operation's error is drawn is in :mod:`gatecheck.oracles.noise.random_errors`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gatecheck._util.typing import Array
from gatecheck.errors import LostNoiseError
from gatecheck.oracles.noise.noisy_array import SQUARES_LIMIT, NoisyArray, scale_along
from gatecheck.oracles.noise.precision import PRECISIONS, dtype_precision
from gatecheck.oracles.noise.random_errors import N_REPLICATES, Noise

Function = Callable[[dict[str, Array]], Mapping[str, Array]]

BUDGET_MULTIPLE = 8
"""Number of spreads in a budget.

The largest error of PyTorch in ten million values was 4.4 spreads, that of any correct formulation
6.0.
"""


def rms(a: Array, axis: int) -> Array:
    """Return the root mean square along an axis, without underflow of the squares."""
    scale = scale_along(a, axis)
    size: Array = scale * np.sqrt(np.mean((a / scale) ** 2, axis=axis, keepdims=True))
    return np.squeeze(size, axis)


def run_replicates(
    fn: Function, inputs: Mapping[str, Array], shared: Mapping[str, Array], dtype: str, seed: int
) -> dict[str, Array]:
    """Run `fn` in :data:`N_REPLICATES` noisy replicates along a leading axis.

    Parameters
    ----------
    fn
        A function of a dict of arrays that broadcasts over leading axes.
    inputs
        float64 arrays that get the leading axis; replicates are equal until the first operation.
    shared
        float64 arrays that every replicate shares.
    dtype
        The dtype whose rounding is drawn.
    seed
        Seed of the noise.

    Raises
    ------
    LostNoiseError
        If a result has lost its noise.
    """
    model = dtype_precision(dtype)
    kind = type("Noisy", (NoisyArray,), {"noise": Noise(model, seed)})
    noisy: dict[str, Array] = {
        k: np.broadcast_to(v, (N_REPLICATES, *v.shape)).view(kind) for k, v in inputs.items()
    }
    out: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for name, value in fn({**shared, **noisy}).items():
            if not isinstance(value, kind):
                raise LostNoiseError(f"{name} is a {type(value).__name__} without rounding noise")
            out[name] = value.view(np.ndarray)
    return out


@dataclass(frozen=True)
class Budget:
    """Rounding budget of one case in one dtype.

    Attributes
    ----------
    exact
        The float64 results by name.
    spread
        Root mean square of the noisy replicates about them, of the same shapes.
    dtype
        The dtype of the code that is judged.
    """

    exact: Mapping[str, Array]
    spread: Mapping[str, Array]
    dtype: str

    @cached_property
    def tolerance(self) -> dict[str, Array]:
        """Largest error allowed, entry by entry."""
        tiny = PRECISIONS[self.dtype].tiny
        return {k: BUDGET_MULTIPLE * s + tiny for k, s in self.spread.items()}


def measure_budget(
    fn: Function,
    inputs: Mapping[str, Array],
    shared: Mapping[str, Array],
    dtype: str,
    *,
    seed: int = 0,
) -> Budget:
    """Measure the budget of `fn` for one case, from :func:`run_replicates`."""
    with np.errstate(all="ignore"):
        exact = {k: np.asarray(v, float) for k, v in fn({**shared, **inputs}).items()}
        noisy = run_replicates(fn, inputs, shared, dtype, seed)
        spread = {k: _floored_spread(dtype, rms(noisy[k] - exact[k], 0), exact[k]) for k in exact}
    return Budget(exact, spread, dtype)


def _floored_spread(dtype: str, spread: Array, exact: Array) -> Array:
    """Return the spread, in float64 at least that of one rounding.

    The replicates' own arithmetic is no finer than that noise: a perturbation of half an ulp is
    mostly rounded away, and sixteen replicates of a short sum may all be equal.
    """
    u = PRECISIONS[dtype].u
    if u > np.finfo(np.float64).eps / 2:
        return spread
    least: Array = np.maximum(spread, u * np.abs(exact) / math.sqrt(3))
    return least


def is_conclusive(exact: Array, tolerance: Array) -> NDArray[np.bool_]:
    """Mark blocks that can be judged: their tolerance is at most half of their size.

    Both are root mean squares. An exactly zero block, as under a closed gate, is judged by its
    absolute tolerance.

    Parameters
    ----------
    exact, tolerance
        One row a block, ``(blocks, entries)``, with at least one entry.
    """
    size, allowed = (np.einsum("ij,ij->i", a, a) for a in (exact, tolerance))
    if (
        size.min() > SQUARES_LIMIT
        and allowed.min() > SQUARES_LIMIT
        and max(size.max(), allowed.max()) < 1 / SQUARES_LIMIT
    ):
        judged: NDArray[np.bool_] = allowed <= size / 4
        return judged
    with np.errstate(invalid="ignore"):
        size, allowed = rms(exact, 1), rms(tolerance, 1)
    finite = np.isfinite(exact).all(1) & np.isfinite(tolerance).all(1)
    mask: NDArray[np.bool_] = finite & ((size == 0) | (allowed <= size / 2))
    return mask
