"""Remainders have the expected order, or order 1 for a wrong derivative."""

import numpy as np
import pytest

from gatecheck.oracles import taylor

X = np.array([0.4, -0.7, 1.1])
V = np.array([0.8, 0.5, -0.9])


@pytest.mark.parametrize(("points", "order"), [(1, 2), (2, 3), (4, 5)])
def test_the_remainder_of_a_right_derivative_is_of_its_order(points, order):
    table = taylor.taylor_test(np.exp, X, V, np.exp(X) * V, points=points)
    assert table.verdict == ("inconclusive" if points == 1 else "pass")
    assert np.nanmedian(table.order[:6]) == pytest.approx(order, abs=0.15)
    assert table.remainder.shape == table.floor.shape == (table.steps.size, 3)
    moved = table.steps * np.abs(V).max() / np.abs(X).max()
    assert moved[0] == pytest.approx(1 / 8)
    assert moved[-1] < 2.0**-26


@pytest.mark.parametrize(("points", "error"), [(1, 1e-2), (2, 1e-4), (4, 1e-9)])
def test_a_wrong_derivative_leaves_a_remainder_of_order_1(points, error):
    claimed = np.exp(X) * V * np.array([1, 1 + error, 1])
    table = taylor.taylor_test(np.exp, X, V, claimed, points=points)
    assert table.verdict == "fail"
    assert table.failed.tolist() == [False, True, False]
    assert table.expected[1] == pytest.approx((np.exp(X) * V)[1], abs=2 * table.error[1])


@pytest.mark.parametrize(
    ("fn", "derivative", "verdict"),
    [
        (lambda x: 3 * x, 3 * V, "pass"),
        (lambda x: 3 * x, 3.000001 * V, "fail"),
        (lambda x: 0 * x, 0 * V, "pass"),
        (lambda x: np.sin(1e3 * x), 1e3 * np.cos(1e3 * X) * V, "pass"),
        (lambda x: np.sin(1e3 * x), 1e3 * np.cos(1e3 * X) * V * (1 + 1e-8), "fail"),
        (lambda x: np.maximum(x, 0), np.where(X > 0, V, 0), "pass"),
        (lambda x: np.maximum(x - X, 0), 0 * V, "inconclusive"),
        (lambda x: np.abs(x - X) + x, V, "inconclusive"),
        (lambda x: np.sign(x - X), 0 * V, "inconclusive"),
        # Half of the outputs are not most of them.
        (lambda x: np.array([3 * x[0], abs(x[1] - X[1])]), np.array([3 * V[0], 0]), "inconclusive"),
        (np.exp, np.full(3, np.nan), "fail"),
        (np.exp, np.array([np.inf, -np.inf, 1e308]), "fail"),
        (lambda x: np.exp(x).astype(np.float32), np.exp(X) * V, "inconclusive"),
    ],
)
def test_verdicts(fn, derivative, verdict):
    assert taylor.taylor_test(fn, X, V, derivative).verdict == verdict


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm_beside_a_kink(seed):
    rng = np.random.default_rng(seed)
    x, W = rng.standard_normal(5), rng.standard_normal((5, 30))
    x[0] += 10.0 ** rng.uniform(-12, -1)  # a unit's kink at a random, possibly tiny, distance
    kink = x[0] - 10.0 ** rng.uniform(-12, -1)

    def fn(x):
        return np.maximum(x @ W, 0) + np.maximum(x[0] - kink, 0)

    v = rng.standard_normal(5)
    derivative = (v @ W) * (x @ W > 0) + v[0]
    assert taylor.taylor_test(fn, x, v, derivative, seed=seed).verdict != "fail"
