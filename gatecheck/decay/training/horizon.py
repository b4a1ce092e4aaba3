"""Gradients by lag on a task's own sequences, before and after training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.cells.validation import as_whole_number
from gatecheck.decay.jacobians.profile import adjoint_profile, identity_block
from gatecheck.decay.training.tasks import Batch
from gatecheck.decay.training.train import TrainedNetwork

POOL_FACTOR = 16  # sequences drawn for each one that is measured: those that look furthest back


@dataclass(frozen=True)
class TrainedProfiles:
    """Gradients by lag before and after training.

    Attributes
    ----------
    task_lag
        Lag of the task: how far back the network has to look.
    before, after
        ``(N, L+1)``: ln ‖∂s_t/∂s_{t-lag}‖, the Frobenius norm, in nats; t is the last step that the
        loss asks about. One row a sequence, the same sequences in both. L is at least `needed` in
        tasks of one length, and close to it in others. Rows of several networks may be stacked, cut
        to the shortest; :func:`gatecheck.decay.theory.statistics.curve_quantiles` turns them into a
        curve with bands.
    """

    task_lag: int
    before: Array
    after: Array


def measure_trained_profiles(
    trained: TrainedNetwork, sequences: int = 16, seed: int = 0
) -> TrainedProfiles:
    """Measure gradients on sequences of the task that were not trained on.

    Parameters
    ----------
    trained
        From :func:`gatecheck.decay.training.train.train`.
    sequences
        Number of sequences. Where a task's sequences differ in length, those that look furthest
        back out of 16 times as many.
    seed
        Seed of the sequences.

    Raises
    ------
    UsageError
        If `sequences` is below 1.
    """
    sequences, seed = as_whole_number("sequences", sequences, 1), as_whole_number("seed", seed, 0)
    batch = trained.task.draw(
        np.random.default_rng([seed, 1]), POOL_FACTOR * sequences, trained.lag
    )
    last = last_loss_step(batch)
    rows = np.argsort(-last, kind="stable")[:sequences]
    shortest = last[rows].min() + 1
    before, after = (
        np.array(
            [
                _log_norm(trained.cell, params, batch.x[: last[row] + 1, row])[: shortest + 1]
                for row in rows
            ]
        )
        for params in (trained.initial_params, trained.params)
    )
    return TrainedProfiles(trained.lag, before, after)


def last_loss_step(batch: Batch) -> Array:
    """Return the last step of each sequence that the loss asks about, ``(B,)``."""
    T = len(batch.weight)
    steps: Array = T - 1 - (batch.weight[::-1] > 0).argmax(axis=0)
    return steps


def _log_norm(cell: Cell, params: Params, x: Array) -> Array:
    basis = identity_block(len(cell.state), params["U"].shape[0])
    return adjoint_profile(cell, params, np.ascontiguousarray(x), basis).log_norm
