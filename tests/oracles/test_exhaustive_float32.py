"""Every float32 is visited once, and an error on any of them is detected."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gatecheck.oracles import exhaustive_float32
from gatecheck.oracles.ball_arithmetic import Ball
from gatecheck.oracles.exhaustive_float32 import (
    NAN_COUNT,
    NUMBER_COUNT,
    ONE_SIGN_COUNT,
    draw_float64,
    sweep,
    ulp_errors_by_balls,
)

STRIDE = 40_009


def tanh(x):
    return np.tanh(x.astype(float)).astype(np.float32)


def tanh_changed_where(where, to):
    """Return tanh with another value where a condition on x holds."""
    return lambda x: np.where(where(x), np.float32(to), tanh(x))


def test_floats_are_visited_in_order_without_gaps():
    assert NUMBER_COUNT + NAN_COUNT == 2**32
    places = np.array(
        [
            0,
            1,
            ONE_SIGN_COUNT - 2,
            ONE_SIGN_COUNT - 1,
            ONE_SIGN_COUNT,
            ONE_SIGN_COUNT + 1,
            NUMBER_COUNT - 1,
        ]
    )
    tiny = 1.401298464324817e-45
    numbers = exhaustive_float32._floats_at(places)
    assert numbers.tolist() == [-np.inf, -3.4028234663852886e38, -tiny, 0.0, 0.0, tiny, np.inf]
    assert np.signbit(numbers).tolist() == [True, True, True, True, False, False, False]
    everywhere = exhaustive_float32._floats_at(np.arange(0, NUMBER_COUNT, 99_991))
    assert (np.diff(everywhere) > 0).all()
    nans = np.concatenate(list(exhaustive_float32._nan_blocks(101)))
    assert np.isnan(nans).all()
    assert len(np.unique(nans.view(np.uint32))) == len(nans) == -(-NAN_COUNT // 101)


def test_a_correctly_rounded_function_is_off_by_half_an_ulp_and_rises():
    result = sweep(tanh, np.tanh, stride=STRIDE)
    assert result.n_tried == -(-NUMBER_COUNT // STRIDE) + 1  # infinity too
    assert sweep(tanh, np.tanh, stride=NUMBER_COUNT - 1).n_tried == 2  # both infinities, each once
    assert 0.49 < result.max_ulps <= 0.5
    assert (
        result.minimum,
        result.maximum,
        result.n_falls,
        result.max_fall_ulps,
        result.not_odd_at,
        result.n_lost_nans,
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
    monkeypatch.setattr(exhaustive_float32, "BLOCK_SIZE", 1000)
    assert (
        sweep(tanh, np.tanh, stride=STRIDE, tick=lambda done, total: ticks.append((done, total)))
        == whole
    )
    assert ticks[-1] == (whole.n_tried, whole.n_tried)


def test_a_fall_to_the_next_float_is_seen_though_that_is_not_tried_itself():
    at, following = exhaustive_float32._floats_at(np.array([80_000 * STRIDE, 80_000 * STRIDE + 1]))
    assert 0.1 < at < 1
    result = sweep(
        lambda x: np.where(x == following, np.float32(0.01), tanh(x)), np.tanh, stride=STRIDE
    )
    assert (result.n_falls, result.max_fall_at, result.max_ulps <= 0.5) == (1, float(at), True)
    assert result.max_fall_ulps == pytest.approx((float(tanh(at)) - 0.01) / 2.0**-30, rel=1e-6)
    result = sweep(
        lambda x: np.where(x == following, np.nextafter(tanh(at), np.float32(0)), tanh(x)),
        np.tanh,
        stride=STRIDE,
    )
    assert (result.n_falls, result.max_fall_ulps, result.max_fall_at) == (1, 1, float(at))


@pytest.mark.parametrize(
    ("wrong", "seen_as"),
    [
        (tanh_changed_where(lambda x: x > 9.5, 1.0000001), lambda s: s.maximum > 1),
        (
            tanh_changed_where(lambda x: (x > 1) & (x < 1.01), 0.7),
            lambda s: s.n_falls and s.max_ulps > 1000,
        ),
        (
            tanh_changed_where(lambda x: np.isnan(x), 0.0),
            lambda s: s.n_lost_nans == -(-NAN_COUNT // STRIDE),
        ),
        (tanh_changed_where(lambda x: x == np.inf, np.nan), lambda s: s.max_ulps == np.inf),
        (
            tanh_changed_where(lambda x: np.abs(x) < 1e-38, 0.0),
            lambda s: s.max_ulps > 1e6 and s.not_odd_at is not None,
        ),
        (
            lambda x: np.where(x < 0, np.nextafter(tanh(x), np.float32(-2)), tanh(x)),
            lambda s: s.not_odd_at is not None and s.minimum < -1,
        ),
    ],
)
def test_an_error_on_few_floats_is_detected(wrong, seen_as):
    assert not seen_as(sweep(tanh, np.tanh, stride=STRIDE))
    assert seen_as(sweep(wrong, np.tanh, stride=STRIDE))


def test_float64_against_balls():
    x = draw_float64(400)
    assert np.isfinite(x).all()
    for sign in (-1, 1):
        assert (sign * x > 1e300).any()
        assert ((sign * x > 0) & (sign * x < 1e-300)).any()
    assert ((np.abs(x) > 1e-3) & (np.abs(x) < 40)).sum() > 180
    right = ulp_errors_by_balls(np.tanh, lambda a: Ball(a).tanh().value, x)
    assert right.max() < 4
    wrong = ulp_errors_by_balls(
        lambda x: np.tanh(x) * (1 + 1e-14), lambda a: Ball(a).tanh().value, x
    )
    assert wrong.max() > 40
