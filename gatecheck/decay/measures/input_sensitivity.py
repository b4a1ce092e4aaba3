"""Sensitivity to each input: the size of ∂ℓ/∂x_t by lag."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.sweep import Run, Segment


class InputSensitivity:
    """Reading of an adjoint sweep that measures ∂ℓ/∂x_t by lag.

    Attributes
    ----------
    log_norm
        ``(T,)``: Log of the Frobenius norm over all cotangents, in nats; -inf where it is exactly
        zero. Entry k belongs to the input k steps before the last.
    """

    def __init__(self, run: Run) -> None:
        self._WT = np.ascontiguousarray(run.params["W"].T)
        self._by_time = np.full(len(run.x), -np.inf)
        self.state_arrays = {"by_time": self._by_time}

    def __call__(self, stretch: Segment, da: Array, log: Array) -> None:
        """Read one segment."""
        L, k, width = da.shape
        dx = (da.reshape(L * k, width) @ self._WT).reshape(L, -1)
        with np.errstate(divide="ignore"):
            self._by_time[stretch.steps] = log + np.log(np.linalg.norm(dx, axis=1))

    @property
    def log_norm(self) -> Array:
        return self._by_time[::-1]
