"""Headline table against earlier measurements, and properties of a sweep."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from gatecheck.cells import initializers
from gatecheck.decay.spec import DEFAULT_NETWORKS
from gatecheck.errors import InputError, UsageError
from helpers.small_studies import run_study

SEEDS = 3
# Two means over 5 and 3 seeds of one standard deviation differ by sd √(1/5 + 1/3); four of these
# are a chance of 1 in 16,000.
FOUR_SIGMA = 4 * math.sqrt(1 / 5 + 1 / SEEDS)


BARE = dict(measure=dict.fromkeys(("paths", "inputs", "gates", "truncation"), False))


@pytest.fixture(scope="module")
def fading():
    """Return rows that fade in tens of steps, so that 1000 suffice."""
    rows = run_study(
        ("rnn",), ("uniform", "glorot_orthogonal"), steps=1000, seeds=SEEDS, **BARE
    ).rows
    rows += run_study(("gru",), ("uniform",), steps=1000, seeds=SEEDS, **BARE).rows
    rows += run_study(
        ("lstm",), ("uniform", "unit_forget_bias"), steps=1000, seeds=SEEDS, **BARE
    ).rows
    return {(row.cell, row.network["init"]): row for row in rows}


@pytest.mark.parametrize(
    ("cell", "initialiser", "rate", "sd", "lag_e", "lag_thousandth"),
    [
        ("rnn", "uniform", -0.541, 0.034, 3, 13),
        ("rnn", "glorot_orthogonal", -0.261, 0.002, 5, 28),
        ("gru", "uniform", -0.446, 0.011, 3, 16),
        ("lstm", "uniform", -0.450, 0.011, 3, 15),
        ("lstm", "unit_forget_bias", -0.150, 0.010, 5, 42),
    ],
)
def test_the_sanity_table(fading, cell, initialiser, rate, sd, lag_e, lag_thousandth):
    row = fading[cell, initialiser]
    sd = max(sd, row.rate_sd)  # an sd from 5 or 3 seeds is itself uncertain
    assert row.rate == pytest.approx(rate, abs=FOUR_SIGMA * sd)
    # A lag scatters in proportion to the rate, and is rounded up to a whole step in both tables.
    assert row.lag_e == pytest.approx(lag_e, abs=1 + FOUR_SIGMA * sd / -rate * lag_e)
    assert row.lag_thousandth == pytest.approx(
        lag_thousandth, abs=1 + FOUR_SIGMA * sd / -rate * lag_thousandth
    )
    assert row.lag_half <= row.lag_e < row.lag_thousandth < row.lag_float32_zero
    assert row.rate_low < row.rate < row.rate_high


def test_the_bias_decides_and_not_the_architecture(fading):
    rates = {key: row.rate for key, row in fading.items()}
    assert rates["rnn", "glorot_orthogonal"] > max(
        rates["gru", "uniform"], rates["lstm", "uniform"]
    )
    assert rates["lstm", "unit_forget_bias"] > rates["rnn", "glorot_orthogonal"]


@pytest.mark.parametrize(
    ("cell", "rate", "lag_e"), [("lstm", -0.00108, 528), ("gru", -0.00107, 570)]
)
def test_the_sanity_table_at_chrono_biases(cell, rate, lag_e):
    row = run_study((cell,), ("chrono:1000",), seeds=SEEDS, **BARE).rows[0]
    # 2e-5 is the sd that 5 seeds show
    assert row.rate == pytest.approx(rate, abs=FOUR_SIGMA * max(row.rate_sd, 2e-5))
    # With 128 time constants a seed's ln G at 1/e has sd √(E₂(2.12) - E₂(1.06)²) / (2 E₂(1.06)
    # √128) = 0.035, and 16 probes add 0.02; at a slope of 0.0015 a step that is 27 steps, and 25 %
    # more for a median.
    assert row.lag_e == pytest.approx(lag_e, abs=FOUR_SIGMA * 27 * 1.25)
    assert row.lag_thousandth is None
    assert row.lag_float32_zero is None


SMALL = dict(hidden=6, inputs=2, steps=60, seeds=2)


def test_a_row_depends_on_its_own_network_and_the_seed_only():
    together = run_study(**SMALL, seed=11)
    assert [(row.cell, row.network["init"]) for row in together.rows] == list(DEFAULT_NETWORKS)
    for row in reversed(together.rows):
        assert repr(
            run_study((row.cell,), (row.network["init"],), **SMALL, seed=11).rows[0]
        ) == repr(row)
    assert run_study(**SMALL, seed=12).rows[0].rate != together.rows[0].rate
    more = run_study(("lstm",), ("uniform",), **SMALL | {"seeds": 1}, seed=11).rows[0]
    assert more.rate != together.rows[3].rate


def test_every_quantity_is_in_the_result_unless_it_was_not_chosen():
    whole = run_study(("gru",), ("uniform",), **SMALL, measure={"spectrum_steps": 30}).rows[0]
    bare = run_study(("gru",), ("uniform",), **SMALL, **BARE).rows[0]
    assert set(whole.paths) == {"total", "keep", "candidate", "gates"}
    assert {len(path) for path in (*whole.paths.values(), whole.input_curve.median)} == {60}
    assert set(whole.gates) == {"r", "z"}
    assert [sum(gate.histogram) for gate in whole.gates.values()] == pytest.approx([1, 1])
    assert len(whole.time_constants) == 6
    assert whole.truncation.bias.median[-1] < whole.truncation.bias.median[0]
    assert whole.truncation.K_tenth <= whole.truncation.K_hundredth
    assert len(whole.spectrum.exponents) == 6
    assert whole.spectrum.volume_residual < 1e-12
    assert max(dataclasses.astuple(whole.integrity)) < 1e-12
    assert whole.theory[0].rate == pytest.approx(-0.4395, abs=1e-4)
    assert whole.convergence.rate[-1] == pytest.approx(whole.rate, abs=1e-12)
    assert bare.curve == whole.curve
    assert (bare.paths, bare.input_curve, bare.gates, bare.truncation, bare.spectrum) == (
        {},
        None,
        {},
        None,
        None,
    )


def test_a_path_starts_where_the_whole_does():
    # A plain RNN's gradient has the candidate alone.
    row = run_study(("rnn",), ("uniform",), **SMALL | {"hidden": 4}).rows[0]
    assert row.paths["candidate"] == pytest.approx(row.paths["total"], abs=1e-12)
    assert row.paths["keep"][0] == -math.inf


def test_json_has_all_that_repeats_the_study():
    result = run_study(("rnn", "lstm"), ("uniform", "chrono:20"), **SMALL, seed=3)
    content = json.loads(result.to_json())
    assert content["schema"] == "gatecheck-decay-2"
    assert content["units"]["rate"] == "nats per step"
    assert {key: content["spec"][key] for key in ("steps", "seeds", "seed")} == {
        "steps": 60,
        "seeds": 2,
        "seed": 3,
    }
    assert {(row["hidden"], row["inputs"]) for row in content["rows"]} == {(6, 2)}
    assert {"python", "gatecheck", "numpy", "numba", "scipy"} <= set(content["versions"])
    assert [(row["cell"], row["network"]["init"]) for row in content["rows"]] == [
        ("rnn", "uniform"),
        ("lstm", "uniform"),
        ("lstm", "chrono:20"),
    ]
    assert len(content["skipped"]) == 1
    assert content["skipped"][0].startswith("rnn chrono:20: a rnn has no gate")
    for found, row in zip(content["rows"], result.rows, strict=True):
        assert found["rate"] == pytest.approx(row.rate, rel=1e-9)
        assert found["lags"] == list(range(1, 61))
        assert len(found["curve"]["median"]) == 60
        assert found["curve"]["median"][0] == 0


def add_initializer(monkeypatch, draw):
    """Add an initializer "mine" that calls `draw` with a generator, name and shape."""
    mine = lambda rng, cell, D, H: {
        name: draw(rng, name, shape) for name, shape in cell.param_shapes(D, H).items()
    }
    monkeypatch.setitem(initializers.INITIALIZERS, "mine", mine)


def test_exact_zeros_are_null_in_json_and_reached_lags(monkeypatch):
    add_initializer(
        monkeypatch, lambda rng, name, shape: np.full(shape, {"W": 0.0, "U": 1.0, "b": -1.0}[name])
    )
    result = run_study(("rnn-relu",), ("mine",), **SMALL)
    row = result.rows[0]
    assert row.rate == -math.inf
    assert row.lag_float32_zero == 1
    content = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert content["rows"][0]["rate"] is None
    assert content["rows"][0]["curve"]["median"][-1] is None


def test_the_shortest_sweep_has_a_rate_and_no_interval():
    row = run_study(("gru",), ("uniform",), hidden=1, inputs=1, steps=2, seeds=1).rows[0]
    assert math.isfinite(row.rate)
    assert math.isnan(row.rate_low)
    assert row.lags == (1, 2)


def test_progress_rises_to_the_whole_and_names_the_network():
    calls = []
    run_study(("rnn", "gru"), ("uniform",), **SMALL, progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(set(done))
    assert {call[1] for call in calls} == {done[-1]} == {2 * 60 * 2 * 2}
    assert list(dict.fromkeys(call[2] for call in calls)) == ["rnn uniform", "gru uniform"]


def test_an_interruption_ends_the_sweep_at_once():
    calls = []

    def interrupt(*call):
        calls.append(call)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(**SMALL, progress=interrupt)
    assert len(calls) == 1


def test_a_network_that_overflows_is_an_error(monkeypatch):
    add_initializer(monkeypatch, lambda rng, name, shape: 100 * rng.standard_normal(shape))
    with pytest.raises(
        InputError, match=r"rnn-relu mine overflows within 2000 steps \(seed 0, trial 0\)"
    ):
        run_study(("rnn-relu",), ("mine",), **SMALL | {"steps": 2000})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 0}, "hidden is 0, but should be at least 1"),
        ({"inputs": 0}, "inputs is 0, but should be at least 1"),
        ({"steps": 1}, "steps is 1, but should be at least 2"),
        ({"seeds": 0}, "seeds is 0, but should be at least 1"),
        ({"seed": -1}, "seed is -1, but should be at least 0"),
        ({"steps": 1e3}, "steps is 1000.0, but should be a whole number"),
        ({"cells": ("gur",)}, "cell cannot be 'gur': there is no cell 'gur'; the cells are rnn"),
        (
            {"initialisers": ("unifrom",)},
            "init cannot be 'unifrom': there is no initializer 'unifrom'; "
            "the initializers are uniform",
        ),
        ({"initialisers": ("chrono:1",)}, "Tmax above 2|TMAX above 2|greater than 2"),
        (
            {"cells": ("rnn",), "initialisers": ("chrono:9",)},
            "nothing to measure: rnn chrono:9: a rnn has no gate",
        ),
        ({"hidden": [6, 0]}, "hidden is 0, but should be at least 1"),
    ],
)
def test_a_call_that_is_wrong_says_how(arguments, message):
    with pytest.raises(UsageError, match=message):
        run_study(**SMALL | arguments)
