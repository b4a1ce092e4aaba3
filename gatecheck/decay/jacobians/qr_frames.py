"""Orthonormal frames carried through products of matrices.

They measure how much each further direction grows (Benettin et al. 1980).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import InputError

# Between two orthonormalizations every column turns towards the fastest direction, and the slowest
# loses as many nats as the growths of the two differ by. float64 has 36.7 nats: at 34 nothing is
# left, at 10 eleven digits are.
MAX_SPREAD = 10.0

# Carries columns ``(N, k)`` in place through the steps from a to b (exclusive) and returns the log
# of the factor that it divided them by.
Carrier = Callable[[Array, int, int], float]


class Frame:
    """Orthonormal columns, orthonormalized again only when float64 requires it.

    Attributes
    ----------
    Q
        ``(N, k)``: The columns.
    interval_steps
        Number of steps until the next orthonormalization; it adapts to the product.
    mean_interval
        Mean number of steps between two orthonormalizations.
    is_dead
        ``(k,)``: True for columns that some step shrank by more than float64 resolves relative to
        the largest. Their exponent is -inf.
    """

    def __init__(self, Q: Array) -> None:
        self.Q = Q
        self.interval_steps = 1
        self._steps, self._times = 0, 0
        self.is_dead = np.zeros(Q.shape[1], dtype=bool)

    def carry(self, carrier: Carrier, steps: int) -> Array:
        """Carry the columns through some steps and return their growth ``(k,)``.

        The growth is that of each further direction, in nats.

        Raises
        ------
        InputError
            If they become infinite or NaN.
        """
        total, done = np.zeros(self.Q.shape[1]), 0
        while done < steps:
            m = min(self.interval_steps, steps - done)
            V = self.Q.copy()
            scale = carrier(V, done, done + m)
            if not np.isfinite(V).all():
                raise InputError("the product is not finite, so it has no exponents")
            Q, R = np.linalg.qr(V)
            with np.errstate(divide="ignore"):
                logs = np.log(np.abs(np.diag(R)))
            spread = self._spread(logs)
            if spread > MAX_SPREAD and m > 1:
                self.interval_steps = m // 2
                continue
            lost = ~(logs > np.max(logs) + math.log(len(Q) * np.finfo(float).eps))
            self.is_dead |= lost
            total += np.where(self.is_dead, -np.inf, logs + scale)
            self.Q = Q
            if m == self.interval_steps:
                # A little less than what would just do, so that few spans are carried twice.
                self.interval_steps = max(
                    1, int(min(2 * m, 0.8 * MAX_SPREAD * m / spread if spread else 2 * m))
                )
            done += m
            self._steps += m
            self._times += 1
        return total

    @property
    def mean_interval(self) -> float:
        return self._steps / self._times

    def _spread(self, logs: Array) -> float:
        alive = logs[~self.is_dead & (logs > -np.inf)]
        return float(np.max(alive) - np.min(alive)) if alive.size else 0.0


def random_frame(rng: np.random.Generator, N: int, k: int) -> Frame:
    """Return a frame in general position.

    One along the axes may lie in the null space of a structured matrix.
    """
    return Frame(np.linalg.qr(rng.standard_normal((N, k)))[0])


def matrix_carrier(matrices: Array) -> Carrier:
    """Return a carrier of columns through matrices ``(T, N, N)``, in their order."""

    def carry(V: Array, a: int, b: int) -> float:
        log = 0.0
        for M in matrices[a:b]:
            V[:] = M @ V
            norm = float(np.linalg.norm(V))
            if norm == 0:
                return log
            V /= norm
            log += math.log(norm)
        return log

    return carry
