"""Three tasks that need memory, each with the loss of a predictor without memory.

A task draws fresh sequences each time, so a loss on a batch that was not trained on yet is a test
loss. Its `lag` is the largest number of steps from an input to the loss that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.validation import as_whole_number
from gatecheck.errors import UsageError


@dataclass(frozen=True)
class Batch:
    """Sequences with targets and weights of their loss.

    Attributes
    ----------
    x
        Inputs ``(T, B, D)``, float64.
    target
        ``(T, B)``: Index of the right class, or the right value; without meaning where the weight
        is zero.
    weight
        ``(T, B)``: Weight of each step in the loss; the sum is 1.
    """

    x: Array
    target: Array
    weight: Array


@dataclass(frozen=True)
class TrainingTask:
    """Task to be learned.

    Attributes
    ----------
    name, inputs, outputs
        Name, size D of an input, and number of predicted classes or values.
    loss_kind
        ``"classes"``: cross-entropy of the softmax, in nats; ``"values"``: squared error.
    baseline
        Expected loss of the best predictor that has forgotten the inputs that the task asks for.
    min_lag
        Shortest possible lag.
    draw_batch
        Function that draws a batch; callers use :meth:`draw`.
    vocabulary
        Words that one-hot inputs stand for; empty if there are none.
    """

    name: str
    inputs: int
    outputs: int
    loss_kind: Literal["classes", "values"]
    baseline: float
    min_lag: int
    draw_batch: Callable[[np.random.Generator, int, int], Batch]
    vocabulary: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator, batch: int, lag: int) -> Batch:
        """Draw `batch` sequences; the same generator state gives the same ones.

        Raises
        ------
        UsageError
            If the lag is not a whole number or too short for the task, or the batch is empty.
        """
        batch, lag = as_whole_number("batch", batch, 1), as_whole_number("lag", lag, 1)
        if lag < self.min_lag:
            raise UsageError(
                f"lag is {lag}, but the task {self.name} needs at least {self.min_lag}"
            )
        return self.draw_batch(rng, batch, lag)

    def words(self, x: Array) -> list[str]:
        """Return the words of one sequence ``(T, D)``; none without a vocabulary."""
        return [self.vocabulary[k] for k in x.argmax(axis=-1)] if self.vocabulary else []


def copying(symbols: int = 3, alphabet: int = 4) -> TrainingTask:
    """Return the task to repeat symbols in order, `lag` steps after each was seen.

    It is that of Hochreiter & Schmidhuber (1997) and Arjovsky et al. (2016): symbols, blanks, a cue
    at step lag - 1, then blanks while the symbols are recalled; T = lag + `symbols`. Arjovsky et
    al. also count the blanks to be output before the cue; here only the recall counts, so that a
    network that has forgotten the symbols, but not the time, has the loss ln `alphabet` at any lag.

    Raises
    ------
    UsageError
        If there is no symbol, or fewer than two to choose from.
    """
    if symbols < 1 or alphabet < 2:
        raise UsageError(
            f"copying {symbols} symbols out of {alphabet} is not a task; "
            "it takes at least 1 out of 2"
        )
    blank, cue = alphabet, alphabet + 1

    def draw(rng: np.random.Generator, batch: int, lag: int) -> Batch:
        seen = rng.integers(alphabet, size=(symbols, batch))
        tokens = np.full((lag + symbols, batch), blank)
        tokens[:symbols], tokens[lag - 1] = seen, cue
        target, weight = np.full(tokens.shape, blank), np.zeros(tokens.shape)
        target[lag:], weight[lag:] = seen, 1 / seen.size
        return Batch(np.eye(alphabet + 2)[tokens], target, weight)

    return TrainingTask(
        "copy", alphabet + 2, alphabet, "classes", math.log(alphabet), symbols + 1, draw
    )


def adding() -> TrainingTask:
    """Return the task to add two marked numbers out of U(0, 1), at the last step.

    It is that of Hochreiter & Schmidhuber (1997). One mark is in the first half of the lag + 1
    steps and one in the second, as in Arjovsky et al. 2016. The best guess without memory is 1, and
    its squared error the variance of the sum, 2/12.
    """

    def draw(rng: np.random.Generator, batch: int, lag: int) -> Batch:
        T, rows = lag + 1, np.arange(batch)
        x = np.zeros((T, batch, 2))
        x[..., 0] = rng.random((T, batch))
        for low, high in ((0, T // 2), (T // 2, T)):
            x[rng.integers(low, high, batch), rows, 1] = 1
        target, weight = np.zeros((T, batch)), np.zeros((T, batch))
        target[-1], weight[-1] = x.prod(axis=-1).sum(axis=0), 1 / batch
        return Batch(x, target, weight)

    return TrainingTask("adding", 2, 1, "values", 1 / 6, 1, draw)


# Words that may follow each word in the clause, all equally likely; the verb there agrees with its
# own noun, never with the subject.
NOUNS = (("cat", "dog", "bird"), ("cats", "dogs", "birds"))
_NEXT = (
    {
        "which": ("the",),
        "and": ("the",),
        "the": (*NOUNS[0], *NOUNS[1], *2 * ("old", "small")),
        "often": ("and",),
    }
    | dict.fromkeys(("old", "small"), (*NOUNS[0], *NOUNS[1]))
    | dict.fromkeys(NOUNS[0], ("sees", "hears"))
    | dict.fromkeys(NOUNS[1], ("see", "hear"))
    | dict.fromkeys(("sees", "hears", "see", "hear"), ("and", "often"))
)
_MAY_END = ("sees", "hears", "see", "hear", "often")
VOCABULARY = (*_NEXT, ",", "was", "were", "hungry", ".")
SUBJECT = 1  # the step of the subject's noun: "the cat , which"
CLAUSE = 4  # the step after "which"
_FIRST_END = CLAUSE + 3  # "the old dogs see": by then any clause could have ended


def agreement() -> TrainingTask:
    """Return the task to choose between was and were, by the number of the subject.

    An example is "the cat , which the old dogs see and the bird hears often , was hungry" (Linzen
    et al. 2016). The clause is drawn from a small regular grammar, of any length that ends at most
    `lag` steps after the noun, and its nouns and verbs are of either number, independent of the
    subject. The verb is asked for at the comma before it, when only the first noun determines it:
    a network that has forgotten that noun has the loss ln 2. Target 0 is was, 1 is were. T = lag +
    5, filled with full stops.
    """
    code = {word: k for k, word in enumerate(VOCABULARY)}
    follow = [[code[w] for w in _NEXT.get(word, ())] for word in VOCABULARY]
    count = np.array([len(options) for options in follow])
    table = np.array([(options + [0] * count.max())[: count.max()] for options in follow])
    may_end = np.isin(VOCABULARY, _MAY_END)
    nouns = np.array([[code[w] for w in words] for words in NOUNS])

    def draw(rng: np.random.Generator, batch: int, lag: int) -> Batch:
        T, rows = lag + 5, np.arange(batch)
        tokens = np.full((T, batch), code["."])
        plural = rng.integers(2, size=batch)
        tokens[0], tokens[SUBJECT] = (
            code["the"],
            nouns[plural, rng.integers(nouns.shape[1], size=batch)],
        )
        tokens[2], tokens[3] = code[","], code["which"]
        for t in range(CLAUSE, lag + 1):
            before = tokens[t - 1]
            tokens[t] = table[before, rng.integers(count[before])]
        step = np.arange(T)[:, None]
        longest = rng.integers(_FIRST_END, lag + 1, batch)  # the last possible step of the clause
        last = np.where(may_end[tokens] & (step >= CLAUSE) & (step <= longest), step, 0).max(axis=0)
        tokens[step > last] = code["."]
        tokens[last + 1, rows], tokens[last + 3, rows] = code[","], code["hungry"]
        tokens[last + 2, rows] = np.where(plural, code["were"], code["was"])
        target, weight = np.zeros((T, batch), int), np.zeros((T, batch))
        target[last + 1, rows], weight[last + 1, rows] = plural, 1 / batch
        return Batch(np.eye(len(VOCABULARY))[tokens], target, weight)

    return TrainingTask(
        "agreement", len(VOCABULARY), 2, "classes", math.log(2), _FIRST_END, draw, VOCABULARY
    )


TASKS = {task.name: task for task in (copying(), adding(), agreement())}
"""Tasks at their usual sizes, by name."""


def as_task(task: str | TrainingTask) -> TrainingTask:
    """Return the task of that name, or the task itself.

    Raises
    ------
    UsageError
        If there is no such task.
    """
    if isinstance(task, TrainingTask):
        return task
    if task not in TASKS:
        raise UsageError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[task]
