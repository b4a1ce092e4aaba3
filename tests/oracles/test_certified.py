"""Certified values are the nearest floats of exact numbers, or NaN if undecided."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import example, given
from hypothesis import strategies as st

from gatecheck.errors import InputError, MissingExtraError, UsageError
from gatecheck.oracles.ball_arithmetic import clip, sigmoid, tanh
from gatecheck.oracles.certified import certify, enclose, round_ball, round_to_dtype

TINY = {"float32": 2.0**-149, "float64": 2.0**-1074}
LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in TINY}

each_dtype = pytest.mark.parametrize("dtype", TINY)

# ---- rounding


@each_dtype
@example(0, 1050)
@given(st.integers(-(2**130), 2**130), st.integers(-1250, 1050))
def test_the_nearest_is_nearest(dtype, man, exp):
    exact, result = Fraction(man) * Fraction(2) ** exp, round_to_dtype(man, exp, dtype)
    end = Fraction(LARGEST[dtype])
    half_beyond = (
        end + (end - Fraction(float(np.nextafter(np.array(end, dtype), np.array(0, dtype))))) / 2
    )
    if math.isinf(result):
        assert abs(exact) >= half_beyond
        assert (exact > 0) == (result > 0)
        return
    assert float(np.array(result, dtype)) == result
    distance = abs(exact - Fraction(result))
    for way in (-math.inf, math.inf):
        neighbor = float(np.nextafter(np.array(result, dtype), np.array(way, dtype)))
        if math.isinf(neighbor):
            assert abs(exact) < half_beyond
            continue
        neighbor_distance = abs(exact - Fraction(neighbor))
        even = int(np.array(result, dtype).view(f"u{np.dtype(dtype).itemsize}")) % 2 == 0
        assert distance < neighbor_distance or (distance == neighbor_distance and even)


@given(st.integers(-(2**130), 2**130), st.integers(-1250, 800))
def test_float64_is_what_python_divides_to(man, exp):
    assert round_to_dtype(man, exp, "float64") == (
        man / 2**-exp if exp < 0 else float(man * 2**exp)
    )


@pytest.mark.parametrize(
    ("exact", "float32", "float64"),
    [
        (Fraction(0), 0.0, 0.0),
        (1 + Fraction(1, 2**24), 1.0, 1 + 2**-24),  # a tie in float32, to even
        (1 + Fraction(3, 2**24), 1 + 2**-22, 1 + 3 * 2**-24),
        (1 + Fraction(1, 2**53), 1.0, 1.0),
        # Rounded via float64 it would be 1.
        (1 + Fraction(1, 2**24) + Fraction(1, 2**80), 1 + 2**-23, 1 + 2**-24),
        (Fraction(1, 2**150), 0.0, 2.0**-150),
        (Fraction(3, 2**150), 2.0**-148, 3 * 2.0**-150),
        (Fraction(1, 2**150) + Fraction(1, 2**220), 2.0**-149, 2.0**-150),
        (Fraction(1, 2**1075), 0.0, 0.0),
        (Fraction(-3, 2**1075), 0.0, -(2.0**-1073)),
        (Fraction(1, 2**1075) + Fraction(1, 2**1100), 0.0, 2.0**-1074),
        (Fraction(2**128 - 2**103) - Fraction(1, 2**100), LARGEST["float32"], 2.0**128 - 2.0**103),
        (Fraction(2**128 - 2**103), math.inf, 2.0**128 - 2.0**103),
        (-(Fraction(2) ** 1024), -math.inf, -math.inf),
    ],
)
def test_ties_subnormals_and_overflow(exact, float32, float64):
    for dtype, expected in (("float32", float32), ("float64", float64)):
        assert (
            round_to_dtype(exact.numerator, 1 - exact.denominator.bit_length(), dtype) == expected
        ), dtype


def test_zero_has_no_sign_and_no_cost():
    for man in (-1, 0, 1):
        assert math.copysign(1, round_to_dtype(man, -(10**9), "float64")) == 1


@each_dtype
def test_a_ball_about_a_midpoint_is_undecided(dtype):
    with ctx.workprec(400):
        half = 1 + arb(float(np.finfo(dtype).eps)) / 2
        assert round_ball(half, dtype) == 1
        assert math.isnan(round_ball(half + arb(0, 1e-60), dtype))
        assert round_ball(half + arb(2e-60, 1e-60), dtype) == 1 + np.finfo(dtype).eps
        assert round_ball(arb(0, 1e-330), dtype) == 0
        assert math.isnan(round_ball(arb(0, TINY[dtype]), dtype))
        assert math.isnan(round_ball(arb("nan"), dtype))
        assert round_ball(arb(10) ** 400, dtype) == math.inf


# ---- values and slopes

EXTREMES = [
    0.0,
    5e-324,
    -1e-310,
    1e-300,
    1e-45,
    1e-20,
    0.1,
    -0.75,
    3.0,
    18.4,
    -37.0,
    88.7,
    300.0,
    710.0,
    -745.2,
    1000.0,
    1e10,
    1e300,
    -1e300,
]


def round_mpf(value, dtype):
    sign, man, exp, _ = mpmath.mpf(value)._mpf_
    return round_to_dtype(-man if sign else man, exp, dtype)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_activations_and_their_slopes_are_those_of_mpmath(name):
    x = np.array(EXTREMES + np.random.default_rng(0).normal(0, 3, 40).tolist())
    function = {"tanh": tanh, "sigmoid": sigmoid}[name]
    result = certify(lambda a: {"y": function(a["x"])}, {"x": x}, {"y": np.ones(len(x))})
    assert result.undecided == []
    assert result.bits == 128  # saturated or not
    with mpmath.workdps(700):
        for k, v in enumerate(x.tolist()):
            e = mpmath.exp(-abs(mpmath.mpf(v)) * (2 if name == "tanh" else 1))
            if name == "tanh":
                value, slope = (1 - e) / (1 + e) * (-1 if v < 0 else 1), 4 * e / (1 + e) ** 2
            else:
                value, slope = (e if v < 0 else 1) / (1 + e), e / (1 + e) ** 2
            for dtype in TINY:
                assert result.values[dtype]["y"][k] == round_mpf(value, dtype), v
                assert result.values[dtype]["dx"][k] == round_mpf(slope, dtype), v


def test_arithmetic_and_its_slopes_are_exact():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 3)), rng.normal(size=(3, 2))

    def function(a):
        x, w = a["x"], a["w"]
        return {
            "q": ((x @ w) / (3 - w[:2]) - np.float32(0.5) * x[:, :2]) * x[0, 1] + 2 / w[1:],
            "still": np.zeros(1),
        }

    result = certify(
        function, {"x": x, "w": w}, {"q": np.array([[1.0, -2.0], [0.5, 3.0]]), "still": np.ones(1)}
    )
    X, V = ([[Fraction(v) for v in row] for row in a.tolist()] for a in (x, w))
    weights = [[Fraction(1), Fraction(-2)], [Fraction(1, 2), Fraction(3)]]

    def exact(X, V):
        return [
            [
                (sum(X[i][j] * V[j][k] for j in range(3)) / (3 - V[i][k]) - X[i][k] / 2) * X[0][1]
                + 2 / V[i + 1][k]
                for k in range(2)
            ]
            for i in range(2)
        ]

    def loss(X, V):
        return sum(
            w * q
            for row, own in zip(weights, exact(X, V), strict=True)
            for w, q in zip(row, own, strict=True)
        )

    assert result.values["float64"]["q"].tolist() == [
        [float(v) for v in row] for row in exact(X, V)
    ]
    # The rounded difference is the rounded derivative, except with probability 2**-140.
    h = Fraction(1, 2**200)
    for of, name in ((X, "dx"), (V, "dw")):
        for i, row in enumerate(of):
            for k, v in enumerate(row):
                row[k] = v + h
                up = loss(X, V)
                row[k] = v - h
                down = loss(X, V)
                row[k] = v
                assert result.values["float64"][name][i, k] == float((up - down) / (2 * h)), (
                    name,
                    i,
                    k,
                )


def test_operations_do_not_modify_operands():
    def function(a):
        square = a["x"] * a["x"]
        return {"other": square + a["x"], "y": square}

    result = certify(function, {"x": np.array([3.0, 5.0])}, {"y": np.ones(2)})
    assert result.values["float64"]["dx"].tolist() == [6.0, 10.0]


def test_there_is_no_slope_along_an_input_that_the_output_does_not_depend_on():
    def function(a):
        return {"y": 2 * a["x"][:1], "still": np.ones(1)}

    result = certify(function, {"x": np.array([3.0, 5.0])}, {"y": np.ones(1), "still": np.ones(1)})
    assert result.values["float64"]["dx"].tolist() == [2.0, 0.0]


# ---- precision


def test_the_precision_is_raised_until_it_suffices():
    def function(a):
        return {"y": (a["x"] + 1e30) - 1e30}

    inputs = {"x": np.array([1.2345e-40, 1.0])}
    result = certify(function, inputs)
    assert (result.bits, result.undecided) == (512, [])
    assert result.values["float64"]["y"].tolist() == inputs["x"].tolist()
    assert list(result.enclosures) == ["y"]
    short = certify(function, inputs, max_bits=200)
    assert (short.bits, short.undecided) == (200, ["y[0]"])


def test_a_tie_is_distinguished_from_near_ties():
    def function(a):
        return {"y": 1 + a["x"] + 2.0**-53}

    result = certify(function, {"x": np.array([0.0, 2.0**-300, -(2.0**-300)])})
    assert result.values["float64"]["y"].tolist() == [1.0, 1 + 2**-52, 1.0]
    assert result.bits == 512


def test_a_kink_leaves_undecided_what_depends_on_it_and_no_more():
    a = {"x": np.array([-1.0, -1e-300, 0.0, 1e-300, 0.4, 0.5, 7.0])}
    result = certify(
        lambda a: {"y": clip(a["x"], 0.0, 0.5)}, a, {"y": np.full(7, 3.0)}, max_bits=256
    )
    assert result.values["float64"]["y"].tolist() == [0, 0, 0, 1e-300, 0.4, 0.5, 0.5]
    assert result.undecided == ["dx[2]", "dx[5]"]
    np.testing.assert_array_equal(result.values["float64"]["dx"], [0, 0, np.nan, 3, 3, np.nan, 0])
    with_bias = certify(
        lambda a: {"y": clip(tanh(a["x"]) - tanh(a["x"]), 0.0, np.inf)},
        {"x": np.array([0.3])},
        max_bits=256,
    )
    assert with_bias.undecided == ["y[0]"]


def test_errors_are_those_of_exact_numbers():
    result = certify(lambda a: {"y": tanh(a["x"])}, {"x": np.array([[0.3, -2.0]])})
    error = result.absolute_errors("y", np.tanh(np.array([[0.3, -2.0]], "float32")))
    assert error.shape == (1, 2)
    assert (error < 2.0**-24).all()
    best = result.absolute_errors("y", result.values["float64"]["y"])
    assert (best > 0).all()
    assert (best <= np.spacing(abs(result.values["float64"]["y"])) / 2).all()
    assert np.isnan(result.absolute_errors("y", np.array([[np.nan, np.inf]]))).all()


# ---- what is given wrongly


@pytest.mark.parametrize(
    ("inputs", "cotangents", "message"),
    [
        ({"x": np.array([1.0, np.nan])}, None, "x holds nan, but should be finite"),
        ({"x": np.array([-np.inf, 1.0])}, None, "x holds -inf, but should be finite"),
        ({"x": np.array([1j, 1])}, None, "x has dtype complex128, but should be real numbers"),
        (
            {"x": np.zeros(2)},
            {"y": np.ones(3)},
            r"the cotangent y has shape \(3,\), but should have shape \(2,\)",
        ),
        (
            {"x": np.zeros(2)},
            {"z": np.ones(2)},
            r"the cotangent z has shape \(2,\), but should have the name of an output: y",
        ),
        ({"x": np.zeros(2)}, {"y": np.array([np.inf, 0])}, "y holds inf"),
    ],
)
def test_invalid_arguments(inputs, cotangents, message):
    with pytest.raises(InputError, match=message):
        enclose(lambda a: {"y": tanh(a["x"])}, inputs, cotangents)


def test_unknown_dtype():
    with pytest.raises(
        UsageError, match="'float16' in which values are certified; there are float32, float64"
    ):
        certify(lambda a: a, {"x": np.zeros(1)}, dtypes=["float16"])


def test_without_python_flint_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delitem(sys.modules, "gatecheck.oracles.ball_arithmetic")
    with pytest.raises(MissingExtraError, match=r'pip install "gatecheck\[certified\]"'):
        import gatecheck.oracles.ball_arithmetic  # noqa: F401
