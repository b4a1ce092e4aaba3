"""Training of our own cells on a task: kernels, a linear readout, and Adam.

It has nothing that a framework's training loop does not have. It exists so that the code measured
before and after training is the same, and so that a task needs no framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params, as_cell, require_plain_cell
from gatecheck.cells.initializers import initializer
from gatecheck.cells.validation import as_whole_number, check_inputs
from gatecheck.decay.training.tasks import Batch, TrainingTask, as_task
from gatecheck.errors import InputError, UsageError
from gatecheck.kernels.run import backward, forward

# The usual dtype of training, and two to three times as fast here as float64, in which everything
# is measured afterwards.
DTYPE = np.float32
# an overflow makes the loss not finite, which is checked
ignore_overflow = np.errstate(over="ignore", invalid="ignore")
LEARNING_RATE_GATED, LEARNING_RATE_PLAIN = 0.01, 0.003
CLIP_NORM = 1.0
ADAM_BETAS = 0.9, 0.999
ADAM_EPSILON = 1e-8
SOLVED_SHARE = 0.05
WINDOW = 50
HELD_OUT = 512
SUM_TOLERANCE = 0.04


@dataclass(frozen=True)
class TrainedNetwork:
    """Trained network and the record of its training.

    Attributes
    ----------
    cell, task, lag
        Cell, task and its lag.
    initial_params, params
        Canonical float64 parameters of the cell before and after.
    readout
        ``V (H, K)`` and ``v (K,)`` after training, float64: the prediction is y V + v.
    losses
        Loss on each update's batch, before the update.
    baseline
        Loss of a predictor without memory.
    loss, accuracy
        Loss on 512 held-out sequences after training, and the share of right answers; a sum counts
        as right within 0.04 (Hochreiter & Schmidhuber 1997).
    solved_at
        Number of updates after which the mean of the last 50 losses was first below `enough` times
        the baseline; None if never.
    """

    cell: Cell
    task: TrainingTask
    lag: int
    initial_params: dict[str, Array]
    params: dict[str, Array]
    readout: dict[str, Array]
    losses: Array
    baseline: float
    loss: float
    accuracy: float
    solved_at: int | None


class Loss(NamedTuple):
    """Loss, its gradient by name of the weight, and the predictions ``(T, B, K)``."""

    value: Any
    gradient: dict[str, Array]
    predictions: Array


def default_init(cell: Cell, lag: int) -> str:
    """Return the initializer from which a cell learns a task most reliably."""
    return f"chrono:{lag + 2}" if "gated" in cell.traits else "glorot_orthogonal"


@ignore_overflow
def train(
    cell: str | Cell,
    task: str | TrainingTask,
    start: str | Params | None = None,
    *,
    hidden: int = 32,
    lag: int = 50,
    updates: int = 4000,
    batch: int = 32,
    learning_rate: float | None = None,
    enough: float = SOLVED_SHARE,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TrainedNetwork:
    """Train a network on a task, until it is solved or the updates are used up.

    Parameters
    ----------
    cell
        The cell or its name.
    task
        The task or its name.
    start
        Name of an initializer, or canonical parameters for the task's input size. None is what
        learns most reliably: ``chrono:TMAX`` with Tmax = lag + 2 in a cell with gates,
        ``glorot_orthogonal`` in a plain one.
    hidden
        Hidden size H; given parameters must have it.
    lag
        Lag of the task, in steps.
    updates, batch
        Largest number of updates, and number of sequences in each.
    learning_rate
        Learning rate of :class:`Adam`. None is 0.01 in a cell with gates and 0.003 in a plain one,
        which learns less at 0.01.
    enough
        Share of the baseline below which the task counts as solved and training ends; 0 uses all
        updates.
    seed
        Seed of everything random. The same call gives the same bits, on one machine.
    progress
        Called with updates done and to do.

    Returns
    -------
    Trained
        Arguments are not changed, so an interrupted call loses nothing else.

    Raises
    ------
    UsageError
        If a name is unknown, a number does not make sense, or the initializer does not apply to the
        cell.
    InputError
        If parameters do not fit, or the loss is not finite at some update, which the message names.
    """
    cell, task = require_plain_cell(as_cell(cell), "training knows"), as_task(task)
    hidden, lag, updates, seed = (
        as_whole_number("hidden", hidden, 1),
        as_whole_number("lag", lag, 1),
        as_whole_number("updates", updates, 1),
        as_whole_number("seed", seed, 0),
    )
    gated = "gated" in cell.traits
    if start is None:
        start = default_init(cell, lag)
    if learning_rate is None:
        learning_rate = LEARNING_RATE_GATED if gated else LEARNING_RATE_PLAIN
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise UsageError(f"learning_rate is {learning_rate}, but should be a positive number")
    if not enough >= 0:
        raise UsageError(f"enough is {enough}, but should be a number of at least 0")
    draws, inits, tests = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    untrained = _initial_params(inits, cell, start, task, hidden)
    a = 1 / math.sqrt(hidden)
    readout = {"V": inits.uniform(-a, a, (hidden, task.outputs)), "v": np.zeros(task.outputs)}
    weights = {name: array.astype(DTYPE) for name, array in (untrained | readout).items()}
    adam, losses, solved_at = Adam(weights, learning_rate), [], None
    for k in range(updates):
        batch_loss = loss(cell, task, weights, task.draw(draws, batch, lag))
        losses.append(float(batch_loss.value))
        _check_finite(losses[-1], f"at update {k} of {updates}", learning_rate)
        if (
            solved_at is None
            and k + 1 >= WINDOW
            and np.mean(losses[-WINDOW:]) < enough * task.baseline
        ):
            solved_at = k + 1
            break
        adam.update(weights, batch_loss.gradient)
        if progress is not None:
            progress(k + 1, updates)
    held_out = task.draw(tests, HELD_OUT, lag)
    final = {name: array.astype(np.float64) for name, array in weights.items()}
    test_loss = loss(cell, task, final, held_out)
    _check_finite(
        float(test_loss.value), f"after update {len(losses) - 1} of {updates}", learning_rate
    )
    return TrainedNetwork(
        cell=cell,
        task=task,
        lag=lag,
        initial_params=untrained,
        params={name: final[name] for name in untrained},
        readout={name: final[name] for name in readout},
        losses=np.array(losses),
        baseline=task.baseline,
        loss=float(test_loss.value),
        accuracy=_accuracy(task, held_out, test_loss.predictions),
        solved_at=solved_at,
    )


def loss(cell: Cell, task: TrainingTask, weights: Mapping[str, Array], batch: Batch) -> Loss:
    """Return the loss of a network with a linear readout on a batch, and its gradient.

    Parameters
    ----------
    cell, task
        The cell and the task.
    weights
        Canonical parameters of the cell and the readout, ``V (H, K)`` and ``v (K,)``, of one dtype,
        to which inputs are cast. In complex128 there is no gradient.
    batch
        Batch of :meth:`TrainingTask.draw`.
    """
    params = {name: array for name, array in weights.items() if name not in ("V", "v")}
    y, _, _, tape = forward(cell, params, batch.x.astype(weights["W"].dtype))
    predictions = y @ weights["V"] + weights["v"]
    if task.loss_kind == "values":
        error = predictions[..., 0] - batch.target
        each, slope = error**2, 2 * error[..., None]
    else:
        shifted = predictions - predictions.real.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        right = np.arange(task.outputs) == batch.target[..., None]
        each, slope = -(log_p * right).sum(axis=-1), np.exp(log_p) - right
    value = (batch.weight * each).sum()
    if np.iscomplexobj(y):
        return Loss(value, {}, predictions)
    d = (batch.weight[..., None] * slope).astype(y.dtype)
    grads = backward(cell, params, tape, d @ weights["V"].T, None, None)
    own = {"V": np.tensordot(y, d, axes=((0, 1), (0, 1))), "v": d.sum(axis=(0, 1))}
    return Loss(value, {name: grads[name] for name in params} | own, predictions)


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1 and its constants) with gradient clipping.

    The joint norm of the gradients is clipped to 1 (Pascanu et al. 2013).
    """

    def __init__(self, weights: Mapping[str, Array], rate: float) -> None:
        self.rate, self.steps = rate, 0
        self.first_moment = {name: np.zeros_like(array) for name, array in weights.items()}
        self.second_moment = {name: np.zeros_like(array) for name, array in weights.items()}

    def update(self, weights: Mapping[str, Array], gradient: Mapping[str, Array]) -> None:
        """Change the weights in place."""
        self.steps += 1
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradient.values()))
        cut = min(1.0, CLIP_NORM / norm) if norm else 1.0
        beta1, beta2 = ADAM_BETAS
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for name, g in gradient.items():
            m, v = self.first_moment[name], self.second_moment[name]
            m += (1 - beta1) * (cut * g - m)
            v += (1 - beta2) * ((cut * g) ** 2 - v)
            weights[name][...] -= (
                self.rate / correction1 * m / (np.sqrt(v / correction2) + ADAM_EPSILON)
            )


def _initial_params(
    rng: np.random.Generator, cell: Cell, start: str | Params, task: TrainingTask, hidden: int
) -> dict[str, Array]:
    if isinstance(start, str):
        return initializer(start)(rng, cell, task.inputs, hidden)
    sizes = check_inputs(cell, start, np.zeros((0, 1, task.inputs)), dtypes=("float64",))
    if hidden != sizes.H:
        raise InputError(f"hidden is {hidden}, but the parameters have H = {sizes.H}")
    if not all(np.isfinite(array).all() for array in start.values()):
        raise InputError(
            "the parameters have entries that are not finite, so there is nothing to train"
        )
    return {name: array.copy() for name, array in start.items()}


def _check_finite(value: float, when: str, learning_rate: float) -> None:
    if not math.isfinite(value):
        raise InputError(f"the loss is {value} {when}: try a learning_rate below {learning_rate}")


def _accuracy(task: TrainingTask, batch: Batch, predictions: Array) -> float:
    right = (
        abs(predictions[..., 0] - batch.target) < SUM_TOLERANCE
        if task.loss_kind == "values"
        else predictions.argmax(axis=-1) == batch.target
    )
    return float((batch.weight * right).sum())
