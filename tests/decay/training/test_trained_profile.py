"""Trainings as jobs of a study, and their summaries."""

from __future__ import annotations

import json

import pytest

from gatecheck.decay.jobs.checkpoints import PartStore
from gatecheck.decay.training.trained_profile import LOSS_POINTS
from helpers.small_studies import run_study

QUICK = {"lag": 12, "hidden": 8, "updates": 60, "seeds": 2}
BARE = {
    "hidden": 3,
    "inputs": 2,
    "steps": 20,
    "seeds": 1,
    "measure": dict.fromkeys(("paths", "inputs", "gates", "truncation"), False),
}


@pytest.fixture(scope="module")
def study():
    training = [
        QUICK | {"cell": "lstm", "task": ["adding", "agreement"]},
        QUICK | {"cell": "rnn", "task": "agreement", "init": "uniform"},
    ]
    return lambda **how: run_study(("rnn",), ("uniform",), **BARE, training=training, **how)


@pytest.fixture(scope="module")
def found(study):
    return study()


def test_a_training_says_what_was_trained_and_how_far_it_reached(found):
    adding, agreement, plain = found.training
    assert [t.setting["init"] for t in found.training] == ["chrono:14", "chrono:14", "uniform"]
    assert [t.setting["task"] for t in found.training] == ["adding", "agreement", "agreement"]
    assert adding.baseline == pytest.approx(1 / 6)
    assert (len(adding.final), len(adding.solved), adding.needed) == (2, 2, 12)
    assert len(adding.updates) == len(adding.loss.median) <= LOSS_POINTS
    assert adding.updates[-1] == 60
    assert adding.loss.median[-1] < adding.loss.median[0]
    assert adding.before.median[0] == adding.after.median[0] == 0
    assert adding.before != adding.after
    assert adding.lags[-1] == 13  # one more than the lag: to the state before the first input
    assert (adding.findings, adding.sentence) == ((), None)
    assert "tells the subject's number in" in agreement.findings[0]
    assert len(agreement.findings) == 3
    assert len(plain.findings) == 1  # it has no gates


def test_the_story_is_one_sentence_with_the_gates_at_each_word(found):
    sentence = found.training[1].sentence
    assert sentence.words[0] == "the"
    assert sentence.words[1] in ("cat", "cats")
    assert sentence.words[-1] == "hungry"
    assert set(sentence.gates) == {"i", "f", "g", "o"}
    assert {len(values) for values in (*sentence.gates.values(), sentence.state)} == {
        len(sentence.words)
    }
    assert all(0 < value < 1 for value in sentence.gates["f"])
    assert json.loads(found.to_json())["training"][1]["sentence"]["words"] == list(sentence.words)


def test_where_it_runs_and_what_is_kept_changes_nothing(study, found, tmp_path):
    store = PartStore(tmp_path / "parts")
    assert study(workers=2, store=store).to_json() == found.to_json()
    assert study(store=store, resume=True).to_json() == found.to_json()
