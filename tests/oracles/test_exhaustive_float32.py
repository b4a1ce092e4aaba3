"""Every float32 is visited once, and an error on any of them is detected."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gatecheck.oracles import exhaustive_float32
from gatecheck.oracles.ball_arithmetic import Ball
from gatecheck.oracles.exhaustive_float32 import NANS, NUMBERS, ONE_SIGN, scattered, sweep, ulps_off

STRIDE = 40_009


def tanh(x):
    return np.tanh(x.astype(float)).astype(np.float32)


def changed(where, to):
    """Return tanh with another value where a condition on x holds."""
    return lambda x: np.where(where(x), np.float32(to), tanh(x))


def test_the_order_is_that_of_numbers_and_leaves_out_none():
    assert NUMBERS + NANS == 2**32
    places = np.array([0, 1, ONE_SIGN - 2, ONE_SIGN - 1, ONE_SIGN, ONE_SIGN + 1, NUMBERS - 1])
    tiny = 1.401298464324817e-45
    numbers = exhaustive_float32._numbers(places)
    assert numbers.tolist() == [-np.inf, -3.4028234663852886e38, -tiny, 0.0, 0.0, tiny, np.inf]
    assert np.signbit(numbers).tolist() == [True, True, True, True, False, False, False]
    everywhere = exhaustive_float32._numbers(np.arange(0, NUMBERS, 99_991))
    assert (np.diff(everywhere) > 0).all()
    nans = np.concatenate(list(exhaustive_float32._nans(101)))
    assert np.isnan(nans).all()
    assert len(np.unique(nans.view(np.uint32))) == len(nans) == -(-NANS // 101)


def test_a_correctly_rounded_function_is_off_by_half_an_ulp_and_rises():
    result = sweep(tanh, np.tanh, stride=STRIDE)
    assert result.tried == -(-NUMBERS // STRIDE) + 1  # infinity too
    assert sweep(tanh, np.tanh, stride=NUMBERS - 1).tried == 2  # both infinities, each once
    assert 0.49 < result.ulps <= 0.5
    assert (
        result.low,
        result.high,
        result.falls,
        result.fall,
        result.not_odd_at,
        result.lost_nans,
    ) == (
        -1,
        1,
        0,
        0,
        None,
        0,
    )
    assert (
        sweep(lambda x: expit(x.astype(float)).astype("f"), expit, stride=STRIDE).not_odd_at
        == -np.inf
    )


def test_the_blocks_do_not_matter(monkeypatch):
    whole = sweep(tanh, np.tanh, stride=STRIDE)
    ticks = []
    monkeypatch.setattr(exhaustive_float32, "BLOCK", 1000)
    assert (
        sweep(tanh, np.tanh, stride=STRIDE, tick=lambda done, total: ticks.append((done, total)))
        == whole
    )
    assert ticks[-1] == (whole.tried, whole.tried)


def test_a_fall_to_the_next_float_is_seen_though_that_is_not_tried_itself():
    at, following = exhaustive_float32._numbers(np.array([80_000 * STRIDE, 80_000 * STRIDE + 1]))
    assert 0.1 < at < 1
    result = sweep(
        lambda x: np.where(x == following, np.float32(0.01), tanh(x)), np.tanh, stride=STRIDE
    )
    assert (result.falls, result.falls_at, result.ulps <= 0.5) == (1, float(at), True)
    assert result.fall == pytest.approx((float(tanh(at)) - 0.01) / 2.0**-30, rel=1e-6)
    result = sweep(
        lambda x: np.where(x == following, np.nextafter(tanh(at), np.float32(0)), tanh(x)),
        np.tanh,
        stride=STRIDE,
    )
    assert (result.falls, result.fall, result.falls_at) == (1, 1, float(at))


@pytest.mark.parametrize(
    ("wrong", "seen_as"),
    [
        (changed(lambda x: x > 9.5, 1.0000001), lambda s: s.high > 1),
        (changed(lambda x: (x > 1) & (x < 1.01), 0.7), lambda s: s.falls and s.ulps > 1000),
        (changed(lambda x: np.isnan(x), 0.0), lambda s: s.lost_nans == -(-NANS // STRIDE)),
        (changed(lambda x: x == np.inf, np.nan), lambda s: s.ulps == np.inf),
        (
            changed(lambda x: np.abs(x) < 1e-38, 0.0),
            lambda s: s.ulps > 1e6 and s.not_odd_at is not None,
        ),
        (
            lambda x: np.where(x < 0, np.nextafter(tanh(x), np.float32(-2)), tanh(x)),
            lambda s: s.not_odd_at is not None and s.low < -1,
        ),
    ],
)
def test_what_is_wrong_somewhere_is_seen(wrong, seen_as):
    assert not seen_as(sweep(tanh, np.tanh, stride=STRIDE))
    assert seen_as(sweep(wrong, np.tanh, stride=STRIDE))


def test_float64_against_balls():
    x = scattered(400)
    assert np.isfinite(x).all()
    for sign in (-1, 1):
        assert (sign * x > 1e300).any()
        assert ((sign * x > 0) & (sign * x < 1e-300)).any()
    assert ((np.abs(x) > 1e-3) & (np.abs(x) < 40)).sum() > 180
    right = ulps_off(np.tanh, lambda a: Ball(a).tanh().value, x)
    assert right.max() < 4
    wrong = ulps_off(lambda x: np.tanh(x) * (1 + 1e-14), lambda a: Ball(a).tanh().value, x)
    assert wrong.max() > 40
