"""Intervals contain every result computed from numbers in them, and are tight."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gatecheck.oracles.ball_arithmetic import ctx
from gatecheck.oracles.interval_arithmetic import (
    Interval,
    IntervalArray,
    as_interval,
    interval_array,
    point_intervals,
)

FORMULAS = {
    "+": lambda a, b: 0.25 - (a + b - 1.5),
    "*": lambda a, b: (a * b) * 0.3 - b,
    "/": lambda a, b: a / (b**2 + 1.0) + 2.0 / (3.0 + abs(a)),
    "abs and square": lambda a, b: abs(a) * b**2 - abs(-b),
    "tanh": lambda a, b: np.tanh(3 * a) - np.tanh(b),
    "sigmoid": lambda a, b: expit(-5 * a) * expit(b),
    "maximum": lambda a, b: np.maximum(a, b) + np.minimum(a, 0.25) + np.maximum(0.5, b),
    "@": lambda a, b: (np.stack([a, b], 1) @ np.stack([b, a], 0)).ravel()[:1],
}


@pytest.mark.parametrize("name", FORMULAS)
def test_an_interval_holds_what_is_computed_from_numbers_in_it(name):
    rng = np.random.default_rng(3)
    for _ in range(40):
        ends = np.sort(rng.uniform(-2, 2, (2, 2)), axis=0)
        a, b = (interval_array(*ends[:, k].tolist(), (1,)) for k in range(2))
        (found,) = FORMULAS[name](a, b).ravel()
        inside = ends[0] + (ends[1] - ends[0]) * rng.uniform(size=(50, 2))
        exact = [
            np.ravel(FORMULAS[name](np.array([p]), np.array([q])))[0] for p, q in [*inside, *ends]
        ]
        slack = 1e-14
        assert float(found.low) <= min(exact) + slack
        assert max(exact) - slack <= float(found.high)


def test_monotone_functions_are_exact_and_others_lose_correlation():
    z = interval_array(0.25, 0.75, (1,))
    assert str(np.tanh(z)[0]) == f"[{np.tanh(0.25):.9g}, {np.tanh(0.75):.9g}]"
    assert str(expit(z)[0]) == f"[{expit(0.25):.9g}, {expit(0.75):.9g}]"
    assert str((z - z)[0]) == "[-0.5, 0.5]"
    assert isinstance(expit(z) @ interval_array(0, 1, (1, 2)), IntervalArray)


def test_ends_are_rounded_outwards_and_enough_bits_separate_a_sigmoid_from_one():
    third = as_interval(1.0) / 3.0
    assert third.low < third.high
    # A third is larger than the nearest float, but the interval's end is smaller.
    assert not third.lies_within(1 / 3, 1, strict=False)
    with ctx.workprec(53):
        assert not as_interval(50.0).sigmoid().lies_within(0, 1, strict=True)
    with ctx.workprec(256):
        assert as_interval(50.0).sigmoid().lies_within(0, 1, strict=True)


def test_infinite_ends_are_those_of_all_real_numbers():
    every = interval_array(-np.inf, np.inf, (1, 2))
    assert str(expit(every @ every.T)[0, 0]) == "[0, 1]"
    assert str(np.tanh(every)[0, 0]) == "[-1, 1]"
    assert str((0 * every)[0, 0]) == "[0, 0]"
    assert str((expit(every) * every)[0, 0]) == "[-inf, inf]"


def test_what_is_undecided_is_neither_inside_nor_beyond():
    half = Interval(0.5, 1.5)
    assert not half.lies_within(0, 1, strict=False)
    assert not half.lies_outside(0, 1, strict=False)
    assert Interval(1, 2).lies_outside(0, 1, strict=True)
    assert not Interval(1, 2).lies_outside(0, 1, strict=False)
    assert Interval(-1, 0).lies_outside(0, 1, strict=True)
    assert not Interval(-1, 0).lies_outside(0, 1, strict=False)
    assert not Interval(0, 1).lies_within(0, 1, strict=True)
    with pytest.raises(TypeError, match="truth value of an interval is ambiguous"):
        bool(half)
    with pytest.raises(ZeroDivisionError, match="may be zero"):
        1 / Interval(-1, 1)
    with pytest.raises(TypeError, match="cannot be raised to the power 3"):
        half**3


def test_points_are_their_numbers():
    assert [float(v.low) for v in point_intervals(np.array([[0.1, -2.0]])).ravel()] == [0.1, -2.0]
