"""Lyapunov exponents and singular values of a network or a product of matrices.

The exponents come from one sweep of orthonormal frames forward in time. They are not the singular
values of the finite product, which differ by nats at any length; one more sweep, backward from the
final frame, gives those.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.qr_frames import Carrier, Frame, matrix_carrier, random_frame
from gatecheck.decay.jacobians.sweep import (
    Run,
    Segment,
    prepare_run,
    run_passes,
    segments,
)
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.decay.measures.volume import VolumeVisitor
from gatecheck.errors import InputError


class LyapunovSpectrum(NamedTuple):
    """Growth of the k fastest of N directions over T steps.

    Attributes
    ----------
    exponents, errors, degrees_of_freedom
        ``(k,)``: Lyapunov exponents in nats per step over the later half of the steps, since the
        first half turns the frame; their standard errors from batch means over segments of √T
        steps, NaN if there are fewer than two; and the degrees of freedom of the errors' Student t.
        -inf (and NaN) where a step shrinks a direction by more than float64 resolves.
    log_growth
        ``(k,)``: Growth over all T steps in nats, from any frame: the sum over all N directions is
        the log of the change of volume.
    log_singular
        ``(k,)``: Logs of the singular values of the whole product, the largest first. Neighbors δ
        nats apart are off by about e^(-2δ), as more sweeps would show; the rest is rounding.
    interval
        Mean number of steps between two orthonormalizations.
    log_volume
        Σ ln|det J_t|, or None where it was not measured or not all directions were carried.
    """

    exponents: Array
    errors: Array
    degrees_of_freedom: int
    log_growth: Array
    log_singular: Array
    interval: float
    log_volume: float | None = None

    @property
    def volume_residual(self) -> float | None:
        """|Σ log_growth - Σ ln|det J_t|| in nats; None without volume, NaN if both -inf."""
        if self.log_volume is None:
            return None
        with np.errstate(invalid="ignore"):
            return float(np.abs(self.log_growth.sum() - np.float64(self.log_volume)))


def product_spectrum(
    matrices: Array, rng: np.random.Generator, count: int | None = None
) -> LyapunovSpectrum:
    """Measure the spectrum of M_T … M_2 M_1.

    Parameters
    ----------
    matrices
        ``(T, N, N)``, float64, in the order in which they act.
    rng
        Generator of the initial frame.
    count
        Number of directions, the fastest first; None is all N.

    Raises
    ------
    InputError
        If there is no matrix, their shape does not fit, or an entry is not finite.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or 0 in matrices.shape:
        raise InputError(f"matrices have shape {matrices.shape}, but should have shape (T, N, N)")
    T, N, _ = matrices.shape
    frame, pieces = random_frame(rng, N, _direction_count(count, N)), segments(T)
    local = np.array(
        [frame.carry(matrix_carrier(matrices[piece]), piece.stop - piece.start) for piece in pieces]
    )
    back, transposed = Frame(frame.Q), matrices[::-1].transpose(0, 2, 1)
    singular = sum(
        back.carry(matrix_carrier(transposed[piece]), piece.stop - piece.start) for piece in pieces
    )
    return _summarize_growth(T, local, np.asarray(singular), frame.mean_interval)


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    x: Array,
    rng: np.random.Generator,
    count: int | None = None,
    state: Array | None = None,
    progress: ReportProgress | None = None,
) -> LyapunovSpectrum:
    """Measure the spectrum of ∂s_T/∂s_0 along one sequence, s = h or (h, c).

    Parameters
    ----------
    cell, params, x, state, progress
        See :func:`gatecheck.decay.jacobians.profile.adjoint_profile`.
    rng
        Generator of the initial frame.
    count
        Number of directions, the fastest first; None is all of the state's.

    Raises
    ------
    InputError
        If an array does not fit, there is no step, or the network overflows.

    Notes
    -----
    Time is O(T k H²) and, for every orthonormalization, O(N k²); with all directions of a GRU, its
    volume takes O(T H³) more.
    """
    run = prepare_run(cell, params, x, state)
    if not len(x):
        raise InputError("x has no steps, but a spectrum needs one")
    (n, H), T = run.state.shape, len(x)
    k = _direction_count(count, n * H)
    frame, back, volume = (
        random_frame(rng, n * H, k),
        Frame(np.empty((n * H, k))),
        VolumeVisitor(run),
    )
    local: list[Array] = []
    singular = np.zeros(k)

    def onwards(stretch: Segment) -> None:
        local.append(frame.carry(_forward_carrier(run, stretch.J), len(stretch.J)))

    def backwards(stretch: Segment) -> None:
        if stretch.steps.stop == T:
            back.Q = frame.Q
        singular[:] += back.carry(_backward_carrier(run, stretch.J), len(stretch.J))

    complete = k == n * H
    run_passes(
        run,
        forward=[onwards, volume] if complete else [onwards],
        backward=[backwards],
        progress=progress,
    )
    spectrum = _summarize_growth(T, np.array(local), singular, frame.mean_interval)
    return spectrum._replace(log_volume=volume.log) if complete else spectrum


def _forward_carrier(run: Run, J: Array) -> Carrier:
    growth, share = np.empty((2, len(J)))

    def carry(V: Array, a: int, b: int) -> float:
        block = _as_block(run, V)
        run.kernel.push(J[a:b], block, growth[a:b], share[a:b])
        V[:] = _as_columns(block)
        return _total_growth(growth[a:b])

    return carry


def _backward_carrier(run: Run, J: Array) -> Carrier:
    growth, share = np.empty((2, len(J)))

    def carry(V: Array, a: int, b: int) -> float:
        block, part = _as_block(run, V), slice(len(J) - b, len(J) - a)
        da = np.empty((1, V.shape[1], run.params["b"].size))
        run.kernel.pull(J[part], block, da, growth[part], share[part])
        V[:] = _as_columns(block)
        return _total_growth(growth[part])

    return carry


def _as_block(run: Run, V: Array) -> Array:
    """Return columns ``(n*H, k)`` as a block ``(n, k, H)``."""
    n, H = run.state.shape
    return np.ascontiguousarray(V.reshape(n, H, -1).transpose(0, 2, 1))


def _as_columns(block: Array) -> Array:
    n, k, H = block.shape
    return block.transpose(0, 2, 1).reshape(n * H, k)


def _total_growth(growth: Array) -> float:
    """Return the log of the total factor divided out.

    Zero columns divide nothing out, and the frame detects that they are zero.
    """
    return float(growth[growth != -np.inf].sum())


def _direction_count(count: int | None, N: int) -> int:
    if count is not None and not 1 <= count <= N:
        raise InputError(f"{count} exponents were asked for, but there are from 1 to {N}")
    return N if count is None else count


def _summarize_growth(T: int, local: Array, singular: Array, interval: float) -> LyapunovSpectrum:
    pieces = segments(T)
    later = [k for k, piece in enumerate(pieces) if piece.start >= T // 2]
    lengths = np.array([pieces[k].stop - pieces[k].start for k in later])
    chosen = local[later]
    exponents = chosen.sum(axis=0) / lengths.sum()
    whole = chosen[lengths == lengths[0]] / lengths[0]
    if len(whole) > 1:
        with np.errstate(invalid="ignore"):
            errors = whole.std(axis=0, ddof=1) / math.sqrt(len(whole))
    else:
        errors = np.full(local.shape[1], np.nan)
    return LyapunovSpectrum(
        exponents, errors, len(whole) - 1, local.sum(axis=0), np.sort(singular)[::-1], interval
    )
