"""gatecheck's σ and tanh satisfy their statements on a part of all floats.

``gatecheck prove --every-float32`` tries all.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gatecheck.errors import UsageError
from gatecheck.kernels.activations import sigmoid, tanh
from gatecheck.oracles import exhaustive_float32
from gatecheck.proofs import activations as of_activations
from gatecheck.proofs.activations import prove_activations

STRIDE = 20_011


def prove_sampled(stride=STRIDE, **activations):
    return prove_activations(activations, owner="the kernels", ulps=2, stride=stride)


def test_gatecheck_activations_hold_on_a_sample():
    ticks = []
    proofs = prove_activations(
        {"sigmoid": sigmoid, "tanh": tanh},
        owner="the kernels",
        ulps=2,
        stride=STRIDE,
        progress=lambda *tick: ticks.append(tick),
    )
    assert [p.statement for p in proofs] == [
        "sigmoid is within 2 ulp",
        "sigmoid lies in [0, 1], never falls by more than an ulp, keeps NaN",
        "sigmoid is within 2 ulp",
        "tanh is within 2 ulp",
        "tanh lies in [-1, 1], never falls by more than an ulp, keeps NaN, is odd to the bit",
        "tanh is within 2 ulp",
    ]
    assert {p.outcome for p in proofs} == {"sampled"}, proofs
    assert proofs[0].box.startswith(f"one float32 in {STRIDE:,}, ")
    assert proofs[2].box == "4,000 float64 numbers of every size"
    assert ticks[-1][:2] == (ticks[-1][1],) * 2
    assert [t[0] for t in ticks] == sorted(t[0] for t in ticks)


def test_all_of_a_finite_set_is_a_proof(monkeypatch):
    """Pretend that only a few numbers around zero exist, since all take minutes."""
    few = 2001
    monkeypatch.setattr(
        exhaustive_float32,
        "_floats_at",
        lambda k: np.linspace(-9, 9, few, dtype="f")[np.minimum(k, few - 1)],
    )
    for module in (exhaustive_float32, of_activations):
        monkeypatch.setattr(module, "NUMBER_COUNT", few)
    monkeypatch.setattr(exhaustive_float32, "NAN_COUNT", 20)
    assert [(p.outcome, p.box) for p in prove_sampled(1, tanh=tanh)[:2]] == [
        ("proved", "every float32")
    ] * 2


@pytest.mark.parametrize(
    ("name", "wrong", "place", "detail"),
    [
        ("sigmoid", lambda x: expit(x) * x.dtype.type(1 - 1e-6), 0, "at most "),
        (
            "sigmoid",
            lambda x: np.where(x > 20, x.dtype.type(1.0000002), sigmoid(x)),
            1,
            "it reaches 1.0000",
        ),
        (
            "sigmoid",
            lambda x: np.where((x > 1) & (x < 1.01), x.dtype.type(0.9), sigmoid(x)),
            1,
            "ulp behind x = 1.0",
        ),
        (
            "sigmoid",
            lambda x: np.clip(x / x.dtype.type(6) + x.dtype.type(0.5), 0, 1),
            0,
            "at most ",
        ),
        (
            "tanh",
            lambda x: np.where(np.isnan(x), x.dtype.type(0), tanh(x)),
            1,
            "NaN became numbers",
        ),
        (
            "tanh",
            lambda x: np.where(x < 0, np.nextafter(tanh(x), x.dtype.type(0)), tanh(x)),
            1,
            "tanh(-x) is not -tanh(x)",
        ),
        ("tanh", lambda x: 2 * sigmoid(2 * x) - 1, 0, "at most "),
        ("tanh", lambda x: np.tanh(x.astype("f")).astype(x.dtype), 2, "at most "),
    ],
)
def test_a_wrong_one_is_refuted_where_it_is_wrong(name, wrong, place, detail):
    with np.errstate(all="ignore"):
        proof = prove_sampled(**{name: wrong})[place]
    assert (proof.outcome, detail in proof.detail) == ("refuted", True), proof


def test_the_reference_must_be_accurate(monkeypatch):
    poor = of_activations.ACTIVATIONS["tanh"]._replace(
        function=lambda x: np.tanh(x.astype("f")).astype(float)
    )
    monkeypatch.setitem(of_activations.ACTIVATIONS, "tanh", poor)
    assert prove_sampled(tanh=tanh)[0].outcome == "not proved"


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        ({"relu": np.abs}, "has an activation 'relu', but should have 'sigmoid' or 'tanh'"),
        (
            {"tanh": lambda x: np.tanh(x.astype(float))},
            "returned an array of float64 and shape \\(3,\\) for three numbers of float32",
        ),
        ({"tanh": lambda x: 0.5}, "returned a float for three numbers"),
    ],
)
def test_invalid_activations(activations, message):
    with pytest.raises(UsageError, match=message):
        prove_sampled(**activations)
