"""Change of volume in state space, Σ ln|det J_t|.

The Lyapunov exponents have to add up to it, at any length.
"""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.gate_blocks import block
from gatecheck.decay.jacobians.sweep import Run, Segment

CHUNK = 64


class VolumeVisitor:
    """Visitor of the forward pass that adds up ln|det ∂s_t/∂s_{t-1}|.

    RNN: Σ ln|φ'| + ln|det U| a step. LSTM: Σ ln f + Σ ln|tanh c' o (1 - o)| + ln|det U_o|, because
    h' = o tanh c' and the effect of h on c' drops out of the block determinant; the other blocks of
    U do not matter. Both take O(H) a step. A GRU has no such form, and the determinant of its
    dense H×H matrix takes O(H³) a step, as much as carrying all H exponents.

    Attributes
    ----------
    log
        Sum so far, in nats; -inf if some step is singular.
    """

    def __init__(self, run: Run) -> None:
        self.log = 0.0
        self._run = run
        recurrent = {"rnn": "n", "lstm": "o"}.get(run.cell.kind)
        self._log_det = _log_det(block(run.cell, run.params["U"], recurrent)) if recurrent else 0.0

    def __call__(self, stretch: Segment) -> None:
        """Add one segment."""
        J = stretch.J
        if self._run.cell.kind == "gru":
            self.log += sum(
                float(_log_det(self._dense_jacobians(J[a : a + CHUNK])).sum())
                for a in range(0, len(J), CHUNK)
            )
            return
        with np.errstate(divide="ignore"):
            factors = (
                np.log(np.abs(J[:, 1]))
                if self._run.cell.kind == "rnn"
                else np.log(J[:, 0]) + np.log(np.abs(J[:, 4]))
            )
        self.log += float(factors.sum()) + len(J) * float(self._log_det)

    def _dense_jacobians(self, J: Array) -> Array:
        """Return the Jacobians ``(L, H, H)``, which act on rows from the right."""
        cell, U, H = self._run.cell, self._run.params["U"], J.shape[2]
        keep, A_r, A_z, A_n, r = (J[:, k, None, :] for k in range(5))
        U_r, U_z, U_n = (block(cell, U, k) for k in "rzn")
        common = keep * np.eye(H) + U_z * A_z
        if cell.reset == "before":
            return np.asarray(common + (r * np.eye(H) + U_r * A_r) @ (U_n * A_n))
        return np.asarray(common + U_r * A_r + U_n * (r * A_n))


def _log_det(matrices: Array) -> Array:
    return np.asarray(np.linalg.slogdet(matrices)[1])
