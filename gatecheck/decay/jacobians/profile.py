"""Norms of products of Jacobians at every lag, without underflow in little memory.

An adjoint block is carried back, u ← Jᵀu, and a tangent block forward, v ← Jv. The block has norm 1
after each step, and the logs of the norms divided out add up, so no number underflows at any length
(Benettin et al. 1980, without the orthogonalisation, because only the norm of the whole block is
read).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.sweep import Run, Segment, prepare_run, run_passes
from gatecheck.decay.jobs.checkpoints import Checkpointer
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.errors import InputError

# Takes a segment, the cotangents of the preactivations ``(L, k, G*H)`` of its steps, and the logs
# ``(L,)`` of the factors by which to multiply them.
Reading = Callable[[Segment, Array, Array], None]


@dataclass(frozen=True)
class Profile:
    """Growth of a block of vectors.

    Attributes
    ----------
    log_norm
        ``(T+1,)``: Log of the Frobenius norm of the block after 0 … T steps, in nats; -inf where it
        is exactly zero.
    cell_share
        ``(T+1,)``: Share of c in the squared norm; zeros in a cell without c, NaN
        where the norm is zero.
    direction
        ``(n, k, H)``: The block after T steps, of norm 1, with states in the order of
        ``Cell.state``.
    """

    log_norm: Array
    cell_share: Array
    direction: Array


class Adjoint:
    """Visitor of the backward pass that carries back cotangents of the last state.

    Parameters
    ----------
    run
        The cell on its sequence.
    start
        k cotangents of the state after the last step, ``(n, k, H)``.
    omitted_rows
        Rows of the linearization to take as zero.
    readings
        Functions to call with the cotangents of the preactivations of each segment.

    Raises
    ------
    InputError
        If `start` does not fit, or its norm is zero or not finite.
    """

    def __init__(
        self,
        run: Run,
        start: Array,
        omitted_rows: Sequence[int] = (),
        readings: Sequence[Reading] = (),
    ) -> None:
        self._pull, self._without, self._readings = run.kernel.pull, list(omitted_rows), readings
        self._u, self._log_start = normalize_block(run, start)
        T = len(run.x)
        self._growth, self._share, self._log = (
            np.full(T, -np.inf),
            np.full(T, np.nan),
            np.array(self._log_start),
        )
        self._first_share = float(np.sum(self._u[1:] ** 2))
        self._da = np.empty((1, self._u.shape[1], run.params["b"].size))
        self.state_arrays = {
            "u": self._u,
            "growth": self._growth,
            "share": self._share,
            "log": self._log,
        }
        for k, reading in enumerate(readings):
            self.state_arrays |= {
                f"{k} {name}": array for name, array in getattr(reading, "state_arrays", {}).items()
            }

    def __call__(self, stretch: Segment) -> None:
        """Carry the cotangents back through one segment."""
        if self._log == -math.inf and not self._readings:
            return
        J = stretch.J
        if self._without:
            J = J.copy()
            J[:, self._without] = 0
        if self._readings and len(self._da) < len(J):
            self._da = np.empty((len(J), *self._da.shape[1:]))
        growth = self._growth[stretch.steps]
        self._pull(J, self._u, self._da, growth, self._share[stretch.steps])
        before = self._log + np.append(np.cumsum(growth[:0:-1])[::-1], 0.0)
        self._log += float(growth.sum())
        for reading in self._readings:
            reading(stretch, self._da[: len(J)], before)

    def profile(self) -> Profile:
        """Return the profile after the pass."""
        logs = self._log_start + np.concatenate([[0.0], np.cumsum(self._growth[::-1])])
        return Profile(logs, np.concatenate([[self._first_share], self._share[::-1]]), self._u)


def adjoint_profile(
    cell: Cell,
    params: Params,
    x: Array,
    start: Array,
    state: Array | None = None,
    progress: ReportProgress | None = None,
    checkpointer: Checkpointer | None = None,
) -> Profile:
    """Carry cotangents of the last state back through every step of one sequence.

    Parameters
    ----------
    cell, params
        The cell and its canonical float64 parameters.
    x
        Inputs ``(T, D)``, float64.
    start
        k cotangents of the state after the last step, ``(n, k, H)`` with n = 1 (h) or 2 (h, c). The
        k of them are measured together: an orthonormal basis gives ‖∂s_T/∂s_{T-lag}‖ in the
        Frobenius norm, a single one the gradient of one loss.
    state
        Initial state ``(n, H)``, or None for zeros.
    progress
        Called with steps done and steps to do (2 T), about every √T steps.
    checkpointer
        See :func:`gatecheck.decay.jacobians.sweep.run_passes`.

    Returns
    -------
    Profile
        By lag: entry k belongs to the gradient with respect to the state k steps before the last.

    Raises
    ------
    InputError
        If an array does not fit.

    Notes
    -----
    Time is O(T k H²). Memory beyond the inputs is O(√T H + T).
    """
    run = prepare_run(cell, params, x, state)
    adjoint = Adjoint(run, start)
    run_passes(run, backward=[adjoint], progress=progress, checkpointer=checkpointer)
    return adjoint.profile()


def tangent_profile(
    cell: Cell, params: Params, x: Array, start: Array, state: Array | None = None
) -> Profile:
    """Carry tangents of the initial state forward through every step of one sequence.

    Parameters and errors are those of :func:`adjoint_profile`; `start` holds tangents of the
    initial state, and entry k of the profile belongs to the state after k steps.
    """
    run = prepare_run(cell, params, x, state)
    v, log = normalize_block(run, start)
    growth, share = np.empty(len(x)), np.full(len(x) + 1, np.sum(v[1:] ** 2))
    run_passes(
        run,
        forward=[
            lambda stretch: run.kernel.push(
                stretch.J, v, growth[stretch.steps], share[1:][stretch.steps]
            )
        ],
    )
    return Profile(log + np.concatenate([[0.0], np.cumsum(growth)]), share, v)


def identity_block(n: int, H: int) -> Array:
    """Return a basis of the space of states as one block ``(n, n*H, H)``.

    With it a profile is that of the full Jacobian.
    """
    return np.eye(n * H).reshape(n * H, n, H).transpose(1, 0, 2)


def normalize_block(run: Run, start: Array) -> tuple[Array, float]:
    """Return a block ``(n, k, H)`` scaled to norm 1, and the log of its norm before.

    Raises
    ------
    InputError
        If its shape does not fit, or its norm is zero or not finite.
    """
    u = np.array(start, dtype=np.float64, order="C")
    n, H = run.state.shape
    if u.ndim != 3 or u.shape[::2] != (n, H) or u.shape[1] == 0:
        raise InputError(
            f"start has shape {u.shape}, but should have shape (n, k, H) = ({n}, k, {H})"
        )
    norm = float(np.linalg.norm(u))
    if not (0 < norm < math.inf):
        raise InputError(f"start has norm {norm}, but should be finite and not zero")
    return u / norm, math.log(norm)
