"""Finite differences stay within their own error bounds."""

import mpmath
import numpy as np
import pytest
import scipy.differentiate

from gatecheck.errors import InputError
from gatecheck.oracles import finite_difference
from gatecheck.oracles.flat_function import FlatFunction

# name: (function, derivative); smooth at all points drawn below unless the name says otherwise
FUNCTIONS = {
    "sine": (np.sin, np.cos),
    "fast sine": (lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x)),
    "period 1": (lambda x: np.sin(2 * np.pi * x), lambda x: 2 * np.pi * np.cos(2 * np.pi * x)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (2 + 2 * np.cosh(x))),
    "bell": (lambda x: np.exp(-30 * x**2), lambda x: -60 * x * np.exp(-30 * x**2)),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "line": (lambda x: 3 * x + 2, lambda x: 3 + 0 * x),
    "cancellation": (lambda x: (1e4 * x + 1e8) - 1e8, lambda x: 1e4 + 0 * x),
    "logarithm near its pole": (
        lambda x: np.log(np.abs(x) + 0.01),
        lambda x: np.sign(x) / (np.abs(x) + 0.01),
    ),
    "root": (lambda x: np.sqrt(np.abs(x)), lambda x: np.sign(x) / (2 * np.sqrt(np.abs(x)))),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "steps": (lambda x: np.floor(5 * x), lambda x: 0 * x),
    "single precision": (lambda x: np.tanh(x.astype(np.float32)), lambda x: 1 / np.cosh(x) ** 2),
    "wiggle": (lambda x: x + 1e-6 * np.sin(3e4 * x), lambda x: 1 + 3e-2 * np.cos(3e4 * x)),
}
COARSE = {"cancellation", "single precision", "wiggle", "steps"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_stays_within_its_bound_and_the_bound_resolves_1e_9(name):
    f, slope = FUNCTIONS[name]
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal(4)
        for input_scale in (1e-8, 1.0, 1e8):
            for output_scale in (1e-8, 1.0, 1e8):
                J, error = finite_difference.jacobian(
                    lambda z, a=input_scale, b=output_scale: b * f(z / a),
                    input_scale * x,
                    seed=seed,
                )
                exact = np.diag(output_scale / input_scale * slope(x))
                bounded = np.isfinite(error)
                assert (np.abs(J - exact)[bounded] <= error[bounded]).all(), (
                    seed,
                    input_scale,
                    output_scale,
                )
                if name not in COARSE:
                    assert (error <= 1e-9 * np.abs(exact).max()).all(), (
                        seed,
                        input_scale,
                        output_scale,
                    )


def test_values_agree_with_mpmath_at_50_digits():
    def f(x):
        return np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)

    with mpmath.workdps(50):
        exact = mpmath.diff(
            lambda x: mpmath.exp(x) / mpmath.sqrt(mpmath.sin(x) ** 3 + mpmath.cos(x) ** 3),
            mpmath.mpf(1.5),
        )
    J, error = finite_difference.jacobian(f, np.array([1.5]))
    assert abs(J[0, 0] - float(exact)) <= error[0, 0] < 1e-10


def test_values_agree_with_scipy():
    def f(x):
        return np.array([x[0] * np.sin(x[1]), np.exp(x[0] - x[1]), x[0] ** 2 / (1 + x[1] ** 2)])

    x = np.array([0.7, -0.4])
    J, error = finite_difference.jacobian(f, x)
    theirs = scipy.differentiate.jacobian(f, x)
    assert theirs.success.all()
    assert (np.abs(J - theirs.df) <= error + theirs.error).all()


@pytest.mark.parametrize("x", [0.0, 1e-9, -1e-5, 1e-3])
@pytest.mark.parametrize(
    "f",
    [np.abs, lambda x: np.maximum(x, 0), lambda x: x + np.abs(x) / 7, lambda x: np.sign(x) * 1.0],
)
def test_near_a_kink_or_a_jump_the_error_covers_every_one_sided_slope(f, x):
    J, error = finite_difference.jacobian(lambda z: f(z[:1]), np.array([x, 1.0]))
    sides = [1] if x > 0 else [-1] if x < 0 else [-1, 1]
    for side in sides:
        slope = float((f(np.array([2.0 * side])) - f(np.array([1.0 * side])))[0] * side)
        assert abs(J[0, 0] - slope) <= error[0, 0]


def test_directional_is_the_jacobian_times_the_direction():
    def f(a, b):
        return {"u": np.sin(a) * b, "v": np.exp(b).sum()}

    a, b = np.array([0.1, 0.2, 0.3]), np.array([1.0, -1.0, 0.5])
    v, w = np.array([1.0, 0.0, -2.0]), np.array([0.3, 0.1, 0.0])
    value, error = finite_difference.directional(f, (a, b), (v, w))
    np.testing.assert_array_less(
        np.abs(value["u"] - (np.cos(a) * v * b + np.sin(a) * w)), error["u"]
    )
    assert value["v"].shape == ()
    assert abs(value["v"] - (np.exp(b) * w).sum()) <= error["v"] < 1e-10


def test_rounding_is_measured_at_zero_too_and_a_wider_step_beats_it():
    J, error = finite_difference.jacobian(lambda x: (x + 1e6) - 1e6, np.zeros(1))
    assert abs(J[0, 0] - 1) <= error[0, 0] < 1e-10


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_one_plain_difference_is_good_to_its_truncation_at_every_scale(scale):
    x = np.array([-0.6, 0.2, 1.4])
    J, error = finite_difference.plain_jacobian(
        FlatFunction(lambda z: np.sin(z / scale), scale * x)
    )
    assert (np.abs(J - np.diag(np.cos(x)) / scale) <= error + 1e-10 / scale).all()
    assert (error < 1e-9 / scale).all()


def test_a_smooth_function_costs_what_is_promised():
    calls = []

    def counted(x):
        calls.append(x)
        return np.exp(x)

    rng = np.random.default_rng(0)
    subject = FlatFunction(counted, rng.standard_normal(30))
    noise = finite_difference.estimate_noise(subject, rng)
    assert len(calls) == 1 + 48
    finite_difference.measure_jacobian(subject, noise)
    assert len(calls) == 1 + 48 + 10 * 30
    finite_difference.plain_jacobian(subject)
    assert len(calls) == 1 + 48 + 12 * 30


def test_rows_and_columns_are_in_order():
    J, error = finite_difference.jacobian(
        lambda a, b: (b, 2 * a), {"a": np.ones(2), "b": np.ones((1, 2))}
    )
    expected = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [2, 0, 0, 0], [0, 2, 0, 0]])
    assert (np.abs(J - expected) <= error).all()
    assert (error < 1e-12).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "inputs is empty, but should hold at least one array"),
        ([], "inputs is empty"),
        ({1: np.ones(2)}, "inputs has keys [1], but should have strings"),
        ({"x": [1.0]}, "x is a list, but should be a float64 array"),
        (np.ones(2, np.float32), "inputs has dtype float32, but should have dtype float64"),
        (
            (np.ones(2), np.array([1, None])),
            "inputs[1] has dtype object, but should have dtype float64",
        ),
        (np.ones(2, complex), "inputs has dtype complex128"),
        (np.array([[1.0, np.nan]]), "inputs[0, 1] is nan, but should be finite"),
        ({"W": np.array([np.inf])}, "W[0] is inf, but should be finite"),
    ],
)
def test_bad_inputs_are_named(inputs, message):
    with pytest.raises(InputError) as caught:
        finite_difference.jacobian(lambda *a, **k: 0.0, inputs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1j, "fn's result for y has dtype complex128, but should be real"),
        ("a", "fn's result for y has dtype <U1"),
        ({"loss": None}, "fn's result for loss has dtype object"),
        ([1.0, np.array([2.0, np.nan])], "fn returned nan at y1[1], but should be finite"),
    ],
)
def test_bad_results_are_named(value, message):
    with pytest.raises(InputError) as caught:
        finite_difference.jacobian(lambda x: value, np.ones(2))
    assert message in str(caught.value)
