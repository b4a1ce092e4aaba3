"""Gates against kernels and plain arithmetic, and the story about them.

Networks are built to follow the story, or to break it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, LSTM, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.initializers import uniform
from gatecheck.decay.training.memory_probe import (
    MeanInterval,
    UnitMemory,
    gate_trace,
    mean_interval,
    measure_memory,
)
from gatecheck.decay.training.tasks import NOUNS, VOCABULARY, agreement
from gatecheck.errors import InputError, UsageError
from gatecheck.kernels import Builtin

LAG = 20
CODE = {word: k for k, word in enumerate(VOCABULARY)}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("name", CELLS)
def test_gates_are_those_that_made_the_output(name):
    rng, cell = np.random.default_rng(0), as_cell(name)
    params, x = uniform(rng, cell, 3, 4), rng.normal(size=(6, 3))
    trace = gate_trace(cell, params, x)
    y = Builtin(cell).forward(params, x[:, None])[0][:, 0]
    assert set(trace) == {"rnn": {"h"}, "gru": set("rznh"), "lstm": set("ifgohc")}[cell.kind]
    # some ten operations on numbers below one
    np.testing.assert_allclose(trace["h"], y, rtol=0, atol=1e-15)
    before = np.vstack([np.zeros(4), y[:-1]])
    for gate in cell.sigmoid_gates:
        W, U, b = (block(cell, params[kind], gate) for kind in "WUb")
        np.testing.assert_allclose(trace[gate], sigmoid(x @ W + before @ U + b), rtol=0, atol=1e-15)
    if cell.kind == "gru":
        np.testing.assert_allclose(
            trace["h"], trace["z"] * trace["n"] + (1 - trace["z"]) * before, rtol=0, atol=1e-15
        )
    if cell.kind == "lstm":
        kept = np.vstack([np.zeros(4), trace["c"][:-1]])
        np.testing.assert_allclose(
            trace["c"], trace["f"] * kept + trace["i"] * trace["g"], rtol=0, atol=1e-15
        )


def story_network(cell, latch=40.0):
    """Return the parameters of a network that follows the story.

    Unit 0 writes the number of a noun unless unit 1 is set, which any comma sets; both keep with
    σ(10) or more. The content of unit 0 of an LSTM does not show in h. Unit 2 never writes, and so
    keeps best.
    """
    write, new = ("z", "n") if cell.kind == "gru" else ("i", "g")
    params = {
        name: np.zeros(shape) for name, shape in cell.param_shapes(len(VOCABULARY), 3).items()
    }
    W, U, b = (lambda gate, kind=kind: block(cell, params[kind], gate) for kind in "WUb")
    b(write)[:] = -10, -10, -100
    if cell.kind == "lstm":
        b("f")[:], b("o")[:] = (10, 10, 100), (-1000, 10, 0)
    for words, sign in zip(NOUNS, (-1, 1), strict=True):
        for word in words:
            W(write)[CODE[word], 0], W(new)[CODE[word], 0] = 20, 5 * sign
    W(write)[CODE[","], 1] = 20
    b(new)[1] = 5
    U(write)[1, 0] = -latch
    return params


@pytest.mark.parametrize("cell", [GRU(), GRU("before"), LSTM()], ids=str)
def test_a_network_that_follows_the_story_is_recognized(cell):
    found = measure_memory(cell, story_network(cell), LAG)
    assert (found.unit, found.carriers) == (0, 1)
    assert found.fits_story
    # Written with σ(10), kept by σ(10) or more at up to 20 steps: each off 0 or 1 by 4.5e-5.
    assert found.accuracy.mean == 1
    # Clopper and Pearson, 200 of 200
    assert found.accuracy.low == pytest.approx(0.025 ** (1 / 200), abs=1e-9)
    assert found.subject.mean == pytest.approx(sigmoid(10))
    assert found.nouns.mean < found.clause.mean + 1e-4 < 2e-4
    assert found.gate_contrast.mean == pytest.approx(1, abs=2e-4)
    assert sigmoid(10) ** (LAG + 1) < found.retention.mean < 1


@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=str)
def test_a_network_that_writes_at_every_noun_is_not_recognized(cell):
    found = measure_memory(cell, story_network(cell, latch=0.0), LAG)
    assert not found.fits_story
    assert found.carriers == 0
    assert found.gate_contrast.high < 0.01


@pytest.mark.parametrize("cell", [GRU(), GRU("before"), LSTM()], ids=str)
def test_a_network_that_holds_the_number_in_a_loop_is_not_recognized(cell):
    # Every gate is ½ at all times; a candidate tanh(±1 at a noun + 20 h) has two stable states that
    # later nouns are too weak to change.
    new = "n" if cell.kind == "gru" else "g"
    params = {
        name: np.zeros(shape) for name, shape in cell.param_shapes(len(VOCABULARY), 1).items()
    }
    for words, sign in zip(NOUNS, (-1, 1), strict=True):
        for word in words:
            block(cell, params["W"], new)[CODE[word]] = sign
    block(cell, params["U"], new)[:] = 20
    found = measure_memory(cell, params, LAG)
    assert (found.carriers, found.accuracy.mean) == (1, 1)
    assert (found.subject, found.gate_contrast) == ((0.5, 0.5, 0.5), (0, 0, 0))
    assert 0.5**LAG < found.retention.mean < 0.5**7
    assert not found.fits_story


def test_a_unit_that_holds_one_number_only_is_not_recognized():
    # Behind the comma z is near 0 where h is -1, and near 1 where h is 1, which the candidate then
    # writes again.
    cell = GRU()
    params = story_network(cell)
    block(cell, params["U"], "z")[0, 0], block(cell, params["U"], "n")[0, 0] = 60, 20
    found = measure_memory(cell, params, LAG)
    assert (found.unit, found.accuracy.mean) == (0, 1)
    assert found.retention_singular.low > 0.99
    assert found.retention_plural.high < 0.01
    assert (
        found.retention_singular.mean
        > found.retention.high
        > found.retention.low
        > found.retention_plural.mean
    )
    assert not found.fits_story


def test_it_takes_every_part_of_the_story():
    yes, no = MeanInterval(0.9, 0.8, 1.0), MeanInterval(0.0, -0.1, 0.1)
    parts = ("accuracy", "gate_contrast", "retention_singular", "retention_plural")
    assert UnitMemory(0, 1, **dict.fromkeys(parts, yes)).fits_story
    for part in parts:
        assert not UnitMemory(0, 1, **dict.fromkeys(parts, yes) | {part: no}).fits_story


def test_sentences_of_one_number_are_not_enough():
    def plurals(seed):
        return agreement().draw(np.random.default_rng([seed, 2]), 20, 7).target[:, :10].sum()

    seed = next(seed for seed in range(10**5) if plurals(seed) in (0, 10))
    with pytest.raises(
        UsageError,
        match="all of the first 10 sentences have subjects of one number: take more sentences",
    ):
        measure_memory(GRU(), story_network(GRU()), 7, sentences=20, seed=seed)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_chance_is_called_chance(name):
    params = uniform(np.random.default_rng(3), as_cell(name), len(VOCABULARY), 8)
    found = measure_memory(name, params, 50, sentences=1000)
    assert found.accuracy.low < 0.6
    assert found.carriers == 0
    assert not found.fits_story
    assert (found.gate_contrast is None) == (name == "rnn")
    assert found == measure_memory(name, params, 50, sentences=1000)


def test_an_interval_is_students():
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2, 2 - 4.302652729911275 / math.sqrt(3), 2 + 4.302652729911275 / math.sqrt(3))
    )
    assert np.isnan(mean_interval(np.array([1.0]))[1:]).all()
    assert np.isnan(mean_interval(np.array([]))).all()
    assert mean_interval(np.ones(9)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p: gate_trace("gru", p, np.zeros((2, 1, 3))),
            InputError,
            r"x has shape \(2, 1, 3\), but should .* \(T, D\)",
        ),
        (
            lambda p: gate_trace("gru", p, np.zeros((2, 3), "float32")),
            InputError,
            "x has dtype float32",
        ),
        (
            lambda p: gate_trace("lstm", p, np.zeros((2, 3))),
            InputError,
            "params of a lstm has the names",
        ),
        (
            lambda p: gate_trace("gru-layers2", p, np.zeros((2, 3))),
            UsageError,
            "decay measures the cells",
        ),
        (lambda p: measure_memory("gru", p, LAG), InputError, "W has shape"),
        (
            lambda p: measure_memory("gru", p, 3),
            UsageError,
            "lag is 3, but the task agreement needs at least 7",
        ),
        (
            lambda p: measure_memory("gru", p, LAG, sentences=10),
            UsageError,
            "sentences is 10, but should be at least 20",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(uniform(np.random.default_rng(0), GRU(), 3, 4))


def test_no_steps_have_no_gates():
    assert gate_trace("gru", uniform(np.random.default_rng(0), GRU(), 3, 4), np.zeros((0, 3)))[
        "z"
    ].shape == (0, 4)
