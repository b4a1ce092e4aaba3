"""Tasks against closed forms, and sentences against a second grammar."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from gatecheck.decay.training.tasks import TASKS, adding, agreement, as_task, copying
from gatecheck.errors import UsageError

N = 4000


def draw(task, lag, batch=N, seed=0):
    return task.draw(np.random.default_rng(seed), batch, lag)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("extra", [0, 1, 12])
def test_a_batch_has_its_shapes_and_weights(name, extra):
    task = TASKS[name]
    lag = task.min_lag + extra
    batch, again = draw(task, lag, 7), draw(task, lag, 7)
    T = len(batch.x)
    assert batch.x.shape == (T, 7, task.inputs)
    assert batch.x.dtype == np.float64
    assert batch.target.shape == batch.weight.shape == (T, 7)
    assert batch.weight.sum() == pytest.approx(1, abs=1e-15)
    assert np.count_nonzero(batch.weight, axis=0).min() >= 1
    for first, second in zip(vars(batch).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(draw(task, lag, 7, seed=1).x, batch.x)


def test_copying_asks_for_each_symbol_a_lag_later():
    task, lag = copying(3, 4), 9
    batch = draw(task, lag)
    tokens = batch.x.argmax(axis=-1)
    recall = batch.weight[:, 0] > 0
    assert recall.nonzero()[0].tolist() == [9, 10, 11]
    np.testing.assert_array_equal(batch.target[recall], tokens[:3])
    # nothing else depends on the symbols
    assert (tokens[3:] == np.array([4, 4, 4, 4, 4, 5, 4, 4, 4])[:, None]).all()
    # The loss of a predictor that knows only the frequencies is the entropy, here of 12,000 draws
    # (relative error about 1e-4).
    p = np.bincount(tokens[:3].ravel(), minlength=4) / tokens[:3].size
    assert -(p * np.log(p)).sum() == pytest.approx(task.baseline, rel=1e-3)
    assert task.baseline == math.log(4)


def test_adding_asks_for_the_sum_of_the_marked():
    batch = draw(adding(), 10)
    numbers, marks = np.moveaxis(batch.x, -1, 0)
    assert (marks[:5].sum(axis=0) == 1).all()
    assert (marks[5:].sum(axis=0) == 1).all()
    assert set(marks.ravel()) == {0, 1}
    assert (marks.any(axis=1)).all()  # any step can be marked, the first too
    np.testing.assert_allclose(
        batch.target[-1],
        [row[mark == 1].sum() for row, mark in zip(numbers.T, marks.T, strict=True)],
    )
    errors = (batch.target[-1] - 1) ** 2
    # The sum has a triangular density: E(s-1)² = 1/6, E(s-1)⁴ = 1/15. Four standard errors.
    assert errors.mean() == pytest.approx(
        adding().baseline, abs=4 * math.sqrt((1 / 15 - 1 / 36) / N)
    )


ONE, MANY = (
    r"(?:the (?:old |small )?(?:cat|dog|bird) (?:sees|hears))",
    r"(?:the (?:old |small )?(?:cats|dogs|birds) (?:see|hear))",
)
PHRASE = rf"(?:{ONE}|{MANY})(?: often)?"
SENTENCE = re.compile(
    rf"the (cat|dog|bird)(s?) , which {PHRASE}(?: and {PHRASE})* , (was|were) hungry \.(?: \.)*"
)


@pytest.mark.parametrize("lag", [7, 8, 30])
def test_every_sentence_is_grammatical_and_agrees(lag):
    task = agreement()
    batch = draw(task, lag, 300)
    for row in range(300):
        words = task.words(batch.x[:, row])
        match = SENTENCE.fullmatch(" ".join(words))
        assert match, words
        assert (match[2] == "s") == (match[3] == "were")
        (due,) = np.flatnonzero(batch.weight[:, row])
        assert words[due : due + 2] == [",", match[3]]
        assert batch.target[due, row] == (match[3] == "were")
        assert due - 1 <= lag


def test_nothing_in_the_clause_tells_the_number():
    task = agreement()
    batch = draw(task, 30)
    due = batch.weight.argmax(axis=0)
    number = 2.0 * batch.target[due, np.arange(N)] - 1
    assert abs(number.mean()) < 4 / math.sqrt(N)
    assert due.max() - 1 == 30
    counts = np.where(
        (np.arange(35)[:, None] > 1)[..., None] & (np.arange(35)[:, None] <= due)[..., None],
        batch.x,
        0,
    ).sum(axis=0)
    spread = counts.std(axis=0)
    seen = spread > 0
    correlation = ((counts - counts.mean(axis=0))[:, seen] * number[:, None]).mean(axis=0) / spread[
        seen
    ]
    assert seen.sum() >= 15
    assert abs(correlation).max() < 4.5 / math.sqrt(N)  # the largest of 17 normal deviates
    assert task.baseline == math.log(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw(copying(3, 4), 3), "lag is 3, but the task copy needs at least 4"),
        (lambda: draw(agreement(), 6), "lag is 6, but the task agreement needs at least 7"),
        (lambda: draw(adding(), 0), "lag is 0, but should be at least 1"),
        (lambda: draw(adding(), 2.5), "lag is 2.5, but should be a whole number"),
        (lambda: draw(adding(), 5, batch=0), "batch is 0, but should be at least 1"),
        (lambda: copying(0, 4), "copying 0 symbols out of 4"),
        (lambda: copying(3, 1), "copying 3 symbols out of 1"),
        (
            lambda: as_task("parity"),
            "there is no task 'parity'; the tasks are copy, adding, agreement",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(UsageError, match=message):
        call()
