"""Orthonormal frames carried through products of matrices: how much each further direction grows
(Benettin et al. 1980).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import InputError

# Between two orthonormalisations every column turns towards the fastest direction, and of the
# slowest as many nats are lost as the rates of the two differ by. float64 has 36.7 of them, so at
# 34 nothing is left; at 10, eleven digits are.
SPREAD = 10.0

# Carries columns ``(N, k)`` in place through the steps from a to b (not included) and returns the
# log of what it divided them by.
Carry = Callable[[Array, int, int], float]


class Frame:
    """k orthonormal columns that are orthonormalised again when float64 asks for it, not more
    often.

    Attributes
    ----------
    Q
        ``(N, k)``: the columns.
    every
        How many steps lie between two orthonormalisations; it adapts to the product.
    interval
        How many there were on average.
    dead
        ``(k,)``: columns that some step shrank by more than float64 resolves beside the largest.
        Their exponent is -inf.
    """

    def __init__(self, Q: Array) -> None:
        self.Q = Q
        self.every = 1
        self._steps, self._times = 0, 0
        self.dead = np.zeros(Q.shape[1], dtype=bool)

    def carry(self, through: Carry, steps: int) -> Array:
        """Carry the columns through a stretch and return how many nats each further direction grew
        by, ``(k,)``.

        Raises
        ------
        InputError
            If they become infinite or NaN.
        """
        total, done = np.zeros(self.Q.shape[1]), 0
        while done < steps:
            m = min(self.every, steps - done)
            V = self.Q.copy()
            scale = through(V, done, done + m)
            if not np.isfinite(V).all():
                raise InputError("the product is not finite, so it has no exponents")
            Q, R = np.linalg.qr(V)
            with np.errstate(divide="ignore"):
                logs = np.log(np.abs(np.diag(R)))
            spread = self._spread(logs)
            if spread > SPREAD and m > 1:
                self.every = m // 2
                continue
            lost = ~(logs > np.max(logs) + math.log(len(Q) * np.finfo(float).eps))
            self.dead |= lost
            total += np.where(self.dead, -np.inf, logs + scale)
            self.Q = Q
            if m == self.every:
                # A little less than what would just do, so that few stretches have to be carried
                # twice.
                self.every = max(1, int(min(2 * m, 0.8 * SPREAD * m / spread if spread else 2 * m)))
            done += m
            self._steps += m
            self._times += 1
        return total

    @property
    def interval(self) -> float:
        return self._steps / self._times

    def _spread(self, logs: Array) -> float:
        alive = logs[~self.dead & (logs > -np.inf)]
        return float(np.max(alive) - np.min(alive)) if alive.size else 0.0


def random_frame(rng: np.random.Generator, N: int, k: int) -> Frame:
    """A frame in general position: one along the axes may lie in the null space of a structured
    matrix.
    """
    return Frame(np.linalg.qr(rng.standard_normal((N, k)))[0])


def through(matrices: Array) -> Carry:
    """Columns carried through the matrices ``(T, N, N)``, the first of which acts first."""

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
