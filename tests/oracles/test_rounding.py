"""The rounding budget covers correct code, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gatecheck.errors import LostNoiseError, UsageError
from gatecheck.oracles import rounding

U = 2.0**-24


def spread_of(fn, *arrays, dtype="float32"):
    inputs = {f"a{k}": np.asarray(a, float) for k, a in enumerate(arrays)}
    return rounding.measure_budget(lambda d: {"out": fn(*d.values())}, inputs, {}, dtype).spread[
        "out"
    ]


A = np.linspace(0.3, 2, 500)


@pytest.mark.parametrize(
    ("fn", "half_width"),
    [
        (lambda a: a + 1, lambda a: U * (a + 1)),
        (lambda a: a * a, lambda a: U * a * a),
        (lambda a: a / 3, lambda a: U * a / 3),
        (np.tanh, lambda a: 4 * U * np.tanh(a)),
        (expit, lambda a: 2 * U),
        (lambda a: -a, lambda a: 0 * a),
    ],
    ids=["add", "multiply", "divide", "tanh", "sigmoid", "negative"],
)
def test_one_operation_carries_its_own_rounding(fn, half_width):
    # A uniform error of half-width w has the standard deviation w/√3; 500 values of 16 replicates
    # give its mean to about 2 %.
    measured = np.sqrt(np.mean(spread_of(fn, A) ** 2))
    expected = np.sqrt(np.mean(half_width(A) ** 2) / 3)
    assert measured == pytest.approx(expected, rel=0.05, abs=1e-37)


@pytest.mark.parametrize(
    "gate", [expit, lambda a: 1 - expit(-a)], ids=["a gate", "the complement of a gate"]
)
def test_a_product_with_a_gate_covers_the_complement(gate):
    preactivation, v = np.full(500, -6.0), np.linspace(1, 2, 500)
    z = expit(-6.0)
    measured = spread_of(lambda a, b: gate(a) * b, preactivation, v)
    # v - (1 - z) v is correct too, and its error is u |v|: far more than u z |v|.
    assert (measured > 100 * U * z * v / np.sqrt(3)).all()
    # The sigmoid's own error is 2 u, and that of 1 - z is u / 2 or less.
    half_width = np.hypot(2, 1 + z) * U * v
    relative = measured / (half_width / np.sqrt(3))
    assert np.sqrt(np.mean(relative**2)) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("n", [1, 4, 64, 512])
def test_a_float32_matrix_product_is_within_its_budget(n):
    rng = np.random.default_rng(n)
    a, b = (rng.standard_normal(s).astype("f4").astype(float) for s in ((40, n), (n, 40)))
    spread = spread_of(np.matmul, a, b)
    error = np.abs((a.astype("f4") @ b.astype("f4")).astype(float) - a @ b)
    assert (error <= rounding.BUDGET_MULTIPLE * spread).all()
    # It is not a worst-case bound, n² u.
    assert np.sqrt(np.mean(spread**2)) < 10 * U * np.sqrt(n) * np.sqrt(n)


@pytest.mark.parametrize(
    ("left", "right"), [(1e-200, 1.0), (1.0, 1e-200), (1e-200, 1e200), (1e200, 1.0)]
)
def test_a_product_of_numbers_whose_squares_are_lost_rounds_like_any(left, right):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((20, 7)), rng.standard_normal((7, 5))
    plain = spread_of(np.matmul, a, b, dtype="float64")
    scaled = spread_of(np.matmul, left * a, right * b, dtype="float64") / (left * right)
    assert np.mean(scaled**2) == pytest.approx(np.mean(plain**2), rel=0.1, abs=0)


def test_the_replicates_start_equal_and_a_view_keeps_its_noise():
    def fn(d):
        return {"same": d["a"], "noisy": np.stack([d["a"][..., 0] * 3, d["a"][..., 1] * 3])}

    noisy = rounding.run_replicates(
        lambda d: {k: np.moveaxis(v, -1, 0) for k, v in fn(d).items()},
        {"a": A[:2]},
        {},
        "float32",
        0,
    )
    assert np.ptp(noisy["same"], axis=1).max() == 0
    assert np.ptp(noisy["noisy"], axis=0).min() > 0


def test_noise_is_reproducible_from_its_seed():
    def draw(seed):
        return rounding.run_replicates(
            lambda d: {"out": d["a"] * 3}, {"a": A}, {}, "float32", seed
        )["out"]

    assert (draw(1) == draw(1)).all()
    assert (draw(1) != draw(2)).any()


def test_lost_noise_is_an_error():
    with pytest.raises(LostNoiseError, match="out is a ndarray without rounding noise"):
        rounding.run_replicates(
            lambda d: {"out": np.asarray(d["a"]).view(np.ndarray) * 2}, {"a": A}, {}, "float32", 0
        )


def test_an_uncalibrated_dtype_is_an_error():
    with pytest.raises(
        UsageError, match="no rounding model for float16; there are float32, float64"
    ):
        spread_of(np.tanh, A, dtype="float16")


@pytest.mark.parametrize(
    ("exact", "tolerance", "expected"),
    [
        (np.ones(3), np.full(3, 0.4), True),
        (np.ones(3), np.full(3, 0.6), False),
        (np.zeros(3), np.full(3, 1e-30), True),
        (np.ones(3), np.array([0.0, np.inf, 0.0]), False),
        (np.array([1.0, np.nan]), np.zeros(2), False),
        (np.full(3, 1e-200), np.full(3, 4e-201), True),
        (np.full(3, 1e-200), np.full(3, 6e-201), False),
        (np.full(3, 1e200), np.full(3, 4e199), True),
        (np.full(3, 1e200), np.full(3, 6e199), False),
    ],
)
def test_a_block_is_judged_only_if_its_budget_is_smaller_than_half_of_it(
    exact, tolerance, expected
):
    neighbors = np.ones((2, len(exact)))
    assert rounding.is_conclusive(exact[None], tolerance[None]).tolist() == [expected]
    assert rounding.is_conclusive(
        np.vstack([exact, neighbors]), np.vstack([tolerance, neighbors * [[0.1], [0.9]]])
    ).tolist() == [
        expected,
        True,
        False,
    ]


def test_one_rounding_is_always_allowed_in_double_precision():
    """Correct code may be off by an ulp where the noise of a sum is rounded away.

    This happens just above a power of two.
    """
    x = np.linspace(1.0, 1.2, 500)
    budget = rounding.measure_budget(lambda a: {"y": a["x"] + 0.05}, {"x": x}, {}, "float64")
    assert (budget.tolerance["y"] >= np.spacing(budget.exact["y"])).all()
    assert (budget.tolerance["y"] <= 16 * np.spacing(budget.exact["y"])).all()
    zero = rounding.measure_budget(lambda a: {"y": a["x"] * 0.0}, {"x": x}, {}, "float64")
    assert (zero.tolerance["y"] < 1e-300).all()


@pytest.mark.parametrize(
    ("step", "least", "most"), [(1e-9, 0.8, 1.2), (1e-3, 0.05, 0.25)], ids=["creeps", "moves"]
)
def test_rounding_repeats_where_the_state_stands_still_and_not_where_it_moves(step, least, most):
    """Errors grow like T if the state moves by less than an ulp a step, else like √T."""

    def walk(arrays):
        h, steps = arrays["h"], np.moveaxis(arrays["x"], -1, 0)
        for t in range(len(steps)):
            h = h + steps[t][..., None]
        return {"h": h}

    T = 400
    budget = rounding.measure_budget(
        walk, {"h": np.ones(200), "x": np.full(T, step)}, {}, "float32"
    )
    one = 2.0**-24 / np.sqrt(3) * np.sqrt(0.5)  # the half of one addition's error that may repeat
    growth = np.median(budget.spread["h"]) / (T * one)
    assert least < growth < most


def replicates(fn, *arrays):
    inputs = {f"a{k}": np.asarray(a, float) for k, a in enumerate(arrays)}
    exact = fn(*arrays)
    return (
        rounding.run_replicates(lambda d: {"out": fn(*d.values())}, inputs, {}, "float32", 0)["out"]
        - exact
    )


@pytest.mark.parametrize("function", [np.tanh, expit], ids=["tanh", "sigmoid"])
def test_half_of_a_functions_error_is_a_function_of_its_argument(function):
    """Saturated units have the same error; independent errors would cancel in a sum.

    XLA's tanh is 1 - 3u wherever it is saturated.
    """

    def correlation(*arguments):
        errors = replicates(
            function, np.repeat(arguments, 4000).reshape(len(arguments), -1)
        ).reshape(16, len(arguments), -1)
        means = errors.mean(-1)  # the independent half averages out
        return np.corrcoef(means.T)[0, -1], means.std() / errors.std()

    same, share = correlation(0.51, 0.51)
    assert same > 0.99
    assert share == pytest.approx(np.sqrt(0.5), rel=0.25)
    assert correlation(30, 1000)[0] > 0.99
    assert correlation(-30, 30)[0] < -0.99
    assert abs(correlation(0.51, 0.99)[0]) < 0.9


def test_two_products_may_be_one_sum():
    """Partial sums of [x, h] times [W; U] are as large as x W, however small the sum."""
    rng = np.random.default_rng(0)
    a, b, c = (
        rng.standard_normal((200, 4)),
        rng.standard_normal((4, 4)),
        0.01 * rng.standard_normal((200, 40)),
    )
    d = np.linalg.lstsq(c, -(a @ b), rcond=None)[0]
    product = spread_of(lambda x: (x @ b) + 0.0, a)
    joined = spread_of(lambda x, h: x @ b + h @ d, a, c)
    separate = spread_of(lambda x, h: (x @ b + 0.0) + h @ d, a, c)
    assert np.sqrt(np.mean(joined**2)) > 1.3 * np.sqrt(np.mean(separate**2))
    # Forty partial sums lead from the first product to the total, each rounded by up to u of
    # itself, and the last once more.
    first, total = a @ b, a @ b + c @ d
    walk = (U / np.sqrt(3)) ** 2 * (40 / 3 * (first**2 + first * total + total**2) + total**2)
    parts = [spread_of(lambda x: x @ b, a) ** 2, spread_of(lambda h: h @ d, c) ** 2, walk]
    assert np.mean(joined**2) == pytest.approx(sum(map(np.mean, parts)), rel=0.05, abs=0)
    assert np.sqrt(np.mean(separate**2)) > np.sqrt(np.mean(product**2))
