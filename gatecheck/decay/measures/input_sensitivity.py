"""How much each input still matters: the size of ∂ℓ/∂x_t by lag."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.sweep import Run, Stretch


class InputSensitivity:
    """A reading of an adjoint sweep: the log of the Frobenius norm of ∂ℓ/∂x_t over all cotangents,
    in nats.

    Attributes
    ----------
    log_norm
        ``(T,)`` by lag: entry k belongs to the input k steps before the last; -inf where it is
        exactly zero.
    """

    def __init__(self, run: Run) -> None:
        self._WT = np.ascontiguousarray(run.params["W"].T)
        self._by_time = np.full(len(run.x), -np.inf)
        self.live = {"by_time": self._by_time}

    def __call__(self, stretch: Stretch, da: Array, log: Array) -> None:
        """Read one stretch."""
        L, k, width = da.shape
        dx = (da.reshape(L * k, width) @ self._WT).reshape(L, -1)
        with np.errstate(divide="ignore"):
            self._by_time[stretch.steps] = log + np.log(np.linalg.norm(dx, axis=1))

    @property
    def log_norm(self) -> Array:
        return self._by_time[::-1]
