"""The size of products of Jacobians at every lag, without underflow and in little memory.

An adjoint block is carried back, u ← Jᵀu, and a tangent block forward, v ← Jv. The block has norm 1 after each step, and the logs of
the norms divided out add up, so no number underflows at any length (Benettin et al. 1980, without the orthogonalisation, because only
the norm of the whole block is read). The rows of one step are kept for about √T steps only; states are kept at the start of each such
segment, and the segment is run again when the adjoint reaches it (Griewank & Walther 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell, Params
from gatecheck.decay.linearisation import Steps, steps
from gatecheck.decay.store import Keeper
from gatecheck.errors import InputError
from gatecheck.validation import check_inputs

Array = NDArray[Any]


@dataclass(frozen=True)
class Profile:
    """How a block of vectors grew or shrank.

    Attributes
    ----------
    log_norm
        ``(T+1,)``: log of the Frobenius norm of the block after 0 … T steps, in nats; -inf where it is exactly zero.
    cell_share
        ``(T+1,)``: the part of the squared norm that lies in c; zeros in a cell without c, NaN where the norm is zero.
    direction
        ``(n, k, H)``: the block after T steps, of norm 1, with states in the order of ``Cell.state``.
    """

    log_norm: Array
    cell_share: Array
    direction: Array


def adjoint_profile(
    cell: Cell,
    params: Params,
    x: Array,
    start: Array,
    state: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
    keeper: Keeper | None = None,
) -> Profile:
    """Carry cotangents of the last state back through every step of one sequence.

    Parameters
    ----------
    cell, params
        The cell and its canonical float64 parameters.
    x
        Inputs ``(T, D)``, float64.
    start
        k cotangents of the state after the last step, ``(n, k, H)`` with n = 1 (h) or 2 (h, c). The k of them are measured together: an
        orthonormal basis gives ‖∂s_T/∂s_{T-lag}‖ in the Frobenius norm, a single one the gradient of one loss.
    state
        Initial state ``(n, H)``, or None for zeros.
    progress
        Called with steps done and steps to do (2 T), about every √T steps.
    keeper
        Given all that is needed to go on, before each of these calls, and asked for it at the start. A sweep that goes on ends at the
        same bits as one that was never interrupted.

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
    Time is O(T k H²). Memory beside the inputs is O(√T H + T).
    """
    u, s, kernel, pieces = _prepare(cell, params, x, start, state)
    T = x.shape[0]
    logs, share = _first(u, T)
    checkpoints = np.zeros((len(pieces), *s.shape))
    J = _rows(kernel, pieces, s)
    growth, shares = np.zeros(T), np.zeros(T)
    position = np.array([0, len(pieces)])  # segments from the front that were run, and first segment that the adjoint has left
    live = {"position": position, "s": s, "u": u, "checkpoints": checkpoints, "growth": growth, "shares": shares}
    if keeper is not None:
        keeper.restore(live)
    for k in range(position[0], len(pieces)):
        piece = pieces[k]
        checkpoints[k] = s
        kernel.advance(_inputs(params, x, piece), s, J[: piece.stop - piece.start])
        position[0] = k + 1
        if keeper is not None:
            keeper.save(live)
        if progress is not None:
            progress(piece.stop, 2 * T)
    for k in range(position[1] - 1, -1, -1):
        piece = pieces[k]
        rows = J[: piece.stop - piece.start]
        kernel.advance(_inputs(params, x, piece), checkpoints[k], rows)
        kernel.pull(rows, u, growth[piece], shares[piece])
        position[1] = k
        if keeper is not None:
            keeper.save(live)
        if progress is not None:
            progress(2 * T - piece.start, 2 * T)
    logs[1:] = logs[0] + np.cumsum(growth[::-1])
    share[1:] = shares[::-1]
    return Profile(logs, share, u)


def tangent_profile(cell: Cell, params: Params, x: Array, start: Array, state: Array | None = None) -> Profile:
    """Carry tangents of the initial state forward through every step of one sequence.

    Parameters and errors are those of :func:`adjoint_profile`; `start` holds tangents of the initial state, and entry k of the profile
    belongs to the state after k steps.
    """
    v, s, kernel, pieces = _prepare(cell, params, x, start, state)
    T = x.shape[0]
    logs, share = _first(v, T)
    J = _rows(kernel, pieces, s)
    growth = np.empty(T)
    for piece in pieces:
        rows = J[: piece.stop - piece.start]
        kernel.advance(_inputs(params, x, piece), s, rows)
        kernel.push(rows, v, growth[piece], share[1:][piece])
    logs[1:] = logs[0] + np.cumsum(growth)
    return Profile(logs, share, v)


def _prepare(cell: Cell, params: Params, x: Array, start: Array, state: Array | None) -> tuple[Array, Array, Steps, list[slice]]:
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        raise InputError(f"x has shape {np.shape(x)}, but should be a NumPy array of shape (T, D)")
    sizes = check_inputs(cell, params, x[:, None, :], dtypes=("float64",))
    n = len(cell.state)
    s = np.zeros((n, sizes.H)) if state is None else np.array(state, dtype=np.float64, order="C")
    u = np.array(start, dtype=np.float64, order="C")
    if u.ndim != 3 or u.shape[::2] != (n, sizes.H) or u.shape[1] == 0:
        raise InputError(f"start has shape {u.shape}, but should have shape (n, k, H) = ({n}, k, {sizes.H})")
    if s.shape != (n, sizes.H):
        raise InputError(f"state has shape {s.shape}, but should have shape (n, H) = ({n}, {sizes.H})")
    L = max(1, math.isqrt(sizes.T))
    return u, s, steps(cell, params), [slice(a, min(a + L, sizes.T)) for a in range(0, sizes.T, L)]


def _first(u: Array, T: int) -> tuple[Array, Array]:
    """Arrays for T + 1 logs and shares with the first entries set; the block is normalised in place."""
    logs, share = np.zeros(T + 1), np.zeros(T + 1)
    norm = float(np.linalg.norm(u))
    if not (0 < norm < math.inf):
        raise InputError(f"start has norm {norm}, but should be finite and not zero")
    u /= norm
    logs[0] = math.log(norm)
    share[0] = np.sum(u[1:] ** 2)
    return logs, share


def _rows(kernel: Steps, pieces: list[slice], s: Array) -> Array:
    return np.empty((pieces[0].stop if pieces else 0, kernel.rows, s.shape[1]))


def _inputs(params: Params, x: Array, piece: slice) -> Array:
    pre: Array = x[piece] @ params["W"]
    pre += params["b"]
    return pre
