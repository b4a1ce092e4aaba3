"""How far back a trained network carries gradients on its task's own sequences, beside the same
network before training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.cells.validation import whole
from gatecheck.decay.jacobians.profile import adjoint_profile, identity
from gatecheck.decay.training.tasks import Batch
from gatecheck.decay.training.train import Trained

POOL = 16  # batches' worth of sequences among which those that look furthest back are chosen


@dataclass(frozen=True)
class Horizon:
    """Gradients by lag before and after training.

    Attributes
    ----------
    needed
        The lag of the task: how far back the network had to look.
    before, after
        ``(N, L+1)``: ln ‖∂s_t/∂s_{t-lag}‖, the Frobenius norm, in nats; t is the last step that the
        loss asks about. A row a sequence, the same ones in both. L is at least `needed` in tasks of
        one length, and close to it in others. Rows of several networks may be stacked, cut to the
        shortest; :func:`gatecheck.decay.theory.statistics.curve` makes a curve with bands of them.
    """

    needed: int
    before: Array
    after: Array


def horizon(trained: Trained, sequences: int = 16, seed: int = 0) -> Horizon:
    """Measure gradients on sequences of the task that were not trained on.

    Parameters
    ----------
    trained
        From :func:`gatecheck.decay.training.train.train`.
    sequences
        How many. Where a task's sequences differ in length, those that look furthest back out of 16
        times as many.
    seed
        For the sequences.

    Raises
    ------
    UsageError
        If there should be no sequence.
    """
    sequences, seed = whole("sequences", sequences, 1), whole("seed", seed, 0)
    batch = trained.task.draw(np.random.default_rng([seed, 1]), POOL * sequences, trained.lag)
    last = asked(batch)
    rows = np.argsort(-last, kind="stable")[:sequences]
    shortest = last[rows].min() + 1
    before, after = (
        np.array(
            [
                _log_norm(trained.cell, params, batch.x[: last[row] + 1, row])[: shortest + 1]
                for row in rows
            ]
        )
        for params in (trained.untrained, trained.params)
    )
    return Horizon(trained.lag, before, after)


def asked(batch: Batch) -> Array:
    """The last step of each sequence that the loss asks about, ``(B,)``."""
    T = len(batch.weight)
    steps: Array = T - 1 - (batch.weight[::-1] > 0).argmax(axis=0)
    return steps


def _log_norm(cell: Cell, params: Params, x: Array) -> Array:
    basis = identity(len(cell.state), params["U"].shape[0])
    return adjoint_profile(cell, params, np.ascontiguousarray(x), basis).log_norm
