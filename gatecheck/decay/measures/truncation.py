"""Bias of truncated backpropagation, which drops lags from K on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.decay.jacobians.sweep import Run, Segment
from gatecheck.errors import InputError

DENSE_LAGS = 64
LAGS_PER_DOUBLING = 4


class TruncationBias(NamedTuple):
    """Bias of a truncated gradient g of one loss on the last state.

    The gradient is with respect to all parameters.

    Attributes
    ----------
    lags
        ``(m,)``: Numbers K of steps that the gradient goes back.
    log_bias
        ``(m,)``: ln(‖g_K - g‖ / ‖g‖), in nats; -inf where nothing is dropped, NaN if g is zero.
    log_size
        ``(m,)``: ln ‖g_K‖.
    log_influence
        Log of the largest ratio, over all steps, between the size of a step's contribution to g and
        the size of the cotangent of its state.
    """

    lags: Array
    log_bias: Array
    log_size: Array
    log_influence: float

    def first_lag_below(self, level: float) -> int | None:
        """Return the first of `lags` from which on the bias is at most `level`, or None."""
        return first_lag_below(self.lags, self.log_bias, math.log(level))


def first_lag_below(lags: Array, log_bias: Array, log_level: float) -> int | None:
    """Return the first of the lags from which on the bias is at most a level.

    It is None if the bias at the last lag is larger, or not known.
    """
    above = np.flatnonzero(~(log_bias <= log_level))
    first = int(above[-1]) + 1 if above.size else 0
    return int(lags[first]) if first < len(lags) else None


def truncation_lags(T: int) -> Array:
    """Return the lags below T to measure: all up to 64, then four to a doubling."""
    longer = DENSE_LAGS * 2.0 ** (np.arange(LAGS_PER_DOUBLING * T.bit_length()) / LAGS_PER_DOUBLING)
    lags = np.unique(np.concatenate([np.arange(1, DENSE_LAGS + 1), longer.round().astype(int)]))
    return lags[lags < T]


def gradient_factors(cell: Cell, x: Array, J: Array, da: Array) -> list[tuple[str, Array, Array]]:
    """Return the parameters' gradients as left and right factors of outer products.

    A gradient is the sum over steps of the outer products of its factors ``(L, ·)``. `da` ``(L,
    G*H)`` is one cotangent of the preactivations. The blocks of one parameter are in the order of
    its columns.
    """
    H, h, one = J.shape[2], J[:, -1], np.ones((len(J), 1))
    if cell.kind != "gru":
        return [("W", x, da), ("U", h, da), ("b", one, da)]
    gates, candidate, r = da[:, : 2 * H], da[:, 2 * H :], J[:, 4]
    both: list[tuple[str, Array, Array]] = [("W", x, da), ("b", one, da), ("U", h, gates)]
    if cell.reset == "before":
        return [*both, ("U", r * h, candidate)]
    return [*both, ("U", h, r * candidate), ("c_n", one, r * candidate)]


class TruncationReading:
    """Reading of the adjoint sweep of one cotangent that sums parameter gradients.

    They are summed in blocks of lags. Every block has its own log of a scale, so that no lag
    underflows; memory is that of the parameters for each of `lags`.

    Parameters
    ----------
    run
        The cell on its sequence.
    lags
        Increasing numbers of steps after which the gradient is truncated; None for those of
        :func:`truncation_lags`.

    Raises
    ------
    InputError
        If `lags` do not rise from 1 to T at most; later, if the adjoint carries more than one
        cotangent.
    """

    def __init__(self, run: Run, lags: Sequence[int] | Array | None = None) -> None:
        self._cell, self._T = run.cell, len(run.x)
        self.lags = truncation_lags(self._T) if lags is None else np.array(lags, dtype=int)
        if self.lags.ndim != 1 or (
            self.lags.size
            and not (
                self.lags[0] >= 1 and self.lags[-1] <= self._T and (np.diff(self.lags) > 0).all()
            )
        ):
            raise InputError(
                f"the lags of a truncation should rise from 1 to T = {self._T} at most"
            )
        size = sum(
            math.prod(shape)
            for shape in run.cell.param_shapes(run.x.shape[1], run.state.shape[1]).values()
        )
        self._blocks = np.zeros((self.lags.size + 1, size))
        self._logs = np.full(self.lags.size + 1, -np.inf)
        self._influence = np.array(0.0)
        self.state_arrays = {
            "blocks": self._blocks,
            "logs": self._logs,
            "influence": self._influence,
        }

    def __call__(self, stretch: Segment, da: Array, log: Array) -> None:
        """Read one segment."""
        if da.shape[1] != 1:
            raise InputError(
                f"a truncation is that of one gradient, "
                f"but the adjoint carries {da.shape[1]} cotangents"
            )
        parts = gradient_factors(self._cell, stretch.x, stretch.J, da[:, 0])
        squares = sum((left**2).sum(axis=1) * (right**2).sum(axis=1) for _, left, right in parts)
        np.maximum(self._influence, np.sqrt(np.max(squares)), out=self._influence)
        block_of = np.searchsorted(
            self.lags,
            self._T - 1 - np.arange(stretch.steps.start, stretch.steps.stop),
            side="right",
        )
        for block in np.unique(block_of):
            here = block_of == block
            # unlike max, it lets no NaN go by
            scale = float(np.maximum(self._logs[block], log[here].max()))
            if scale == -np.inf:
                continue
            weight = np.exp(log[here] - scale)[:, None]
            self._blocks[block] *= math.exp(self._logs[block] - scale)
            self._blocks[block] += np.concatenate(
                [(left[here].T @ (weight * right[here])).ravel() for _, left, right in parts]
            )
            self._logs[block] = scale

    def gradient(self) -> tuple[Array, float]:
        """Return the whole gradient, and the log of its scale.

        The gradient is flattened in the order of :func:`gradient_factors`.
        """
        scale = float(self._logs.max())
        return np.exp(self._logs - scale) @ self._blocks, scale

    def result(self) -> TruncationBias:
        """Return the bias after the pass."""
        dropped = _partial_sum_log_norms(self._blocks[::-1], self._logs[::-1])[::-1]
        kept = _partial_sum_log_norms(self._blocks, self._logs)
        with np.errstate(divide="ignore", invalid="ignore"):
            return TruncationBias(
                self.lags, dropped[1:] - dropped[0], kept[:-1], float(np.log(self._influence))
            )


def _partial_sum_log_norms(blocks: Array, logs: Array) -> Array:
    """Return the logs of the norms of all partial sums of the blocks."""
    total, scale, sizes = np.zeros(blocks.shape[1]), -math.inf, np.full(len(logs), -np.inf)
    for k, (block, log) in enumerate(zip(blocks, logs, strict=True)):
        larger = float(np.maximum(scale, log))
        if larger != -math.inf:
            total = total * math.exp(scale - larger) + block * math.exp(log - larger)
            scale = larger
        with np.errstate(divide="ignore"):
            sizes[k] = scale + np.log(np.linalg.norm(total))
    return sizes


def geometric_bound(
    bias: TruncationBias, log_norm: Array, rate: float, onset_lag: int = 1
) -> Array:
    """Return an upper bound on the relative bias at ``bias.lags``.

    It holds if gradients decay geometrically (Aicher, Foti & Fox 2019). With φ_k = ‖∂ℓ/∂s_{T-k}‖
    and M the largest influence of a step, the step at lag k contributes at most M φ_k to g. If from
    a lag τ on φ_k ≤ C β^{k-τ} with β < 1, what is dropped at K ≥ τ is at most

        E(K) = Σ_{k≥K} M C β^{k-τ} = M C β^{K-τ} / (1 - β),

    and since ‖g‖ ≥ ‖g_k‖ - E(k) for every k ≥ τ, the relative bias is at most E(K) / max_k (‖g_k‖ -
    E(k)). (Their program takes M = 1 and sums of state gradients for g_k; here both are those of
    the parameters.) C is the smallest that holds for all lags measured, so that the bound does hold
    of this gradient, whatever its local rates.

    Parameters
    ----------
    bias
        Bias of the truncation, for M and ‖g_k‖.
    log_norm
        ``(T+1,)``: ln φ by lag, of the same cotangent.
    rate
        ln β, in nats per step.
    onset_lag
        Lag τ from which on the decay is geometric.

    Returns
    -------
    NDArray
        ``(m,)``; inf where there is no bound: if the rate is not negative, before τ, and if E is
        never less than ‖g_k‖.
    """
    bound = np.full(len(bias.lags), np.inf)
    if not rate < 0 or onset_lag >= len(log_norm):
        return bound
    beyond = np.arange(len(log_norm) - onset_lag)
    log_C = float(np.max(log_norm[onset_lag:] - rate * beyond))
    log_E = (
        bias.log_influence + log_C + rate * (bias.lags - onset_lag) - math.log(-math.expm1(rate))
    )
    fits = bias.lags >= onset_lag
    # Relative to the largest ‖g_k‖, so that nothing underflows.
    unit = float(np.max(bias.log_size, initial=-np.inf))
    if not math.isfinite(unit):
        return bound
    with np.errstate(over="ignore"):
        E = np.exp(log_E - unit)
    least = float(np.max(np.exp(bias.log_size - unit) - E, where=fits, initial=0.0))
    return np.where(fits, E / least, np.inf) if least > 0 else bound
