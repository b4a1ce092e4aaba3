from __future__ import annotations

import mpmath
import numpy as np
import pytest

from gatecheck.kernels import activations
from gatecheck.kernels.activations import relu, sigmoid, tanh

REAL = [np.float32, np.float64]
EXACT = {"tanh": mpmath.tanh, "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v))}


def sample_inputs(dtype, n=1500):
    """Draw inputs of both signs from every range that matters.

    These are all magnitudes down to subnormals, the usual range, and the neighborhoods of tanh's
    change of formula, of saturation and of underflow.
    """
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    gone = -np.log(float(info.smallest_subnormal))
    size = np.concatenate(
        [
            np.exp(rng.uniform(np.log(float(info.smallest_subnormal)), np.log(float(info.max)), n)),
            rng.uniform(0, 1, n),
            rng.uniform(0, 30, n),
            rng.uniform(0.6, 0.65, n),
            rng.uniform(gone - 25, gone + 2, n),
            # e^-x near powers of two.
            np.log(2)
            * rng.integers(0, int(gone / np.log(2)), n)
            * (1 + 1e-3 * rng.standard_normal(n)),
            [0, info.smallest_subnormal, info.tiny, info.max, 0.625, 10, 20, 120, 800, 1000],
        ]
    ).astype(dtype)
    return np.concatenate([size, -size])


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", EXACT)
def test_within_two_ulp_and_within_bounds(name, dtype):
    x = sample_inputs(dtype)
    got = getattr(activations, name)(x)
    assert got.dtype == dtype
    assert np.all((got >= (-1 if name == "tanh" else 0)) & (got <= 1))
    with mpmath.workdps(40):
        exact = [EXACT[name](mpmath.mpf(float(v))) for v in x]
        error = [
            float(abs(mpmath.mpf(float(g)) - e) / float(np.spacing(abs(dtype(e)))))
            for g, e in zip(got, exact, strict=True)
        ]
    worst = int(np.argmax(error))
    assert error[worst] <= 2, (
        f"{name}({x[worst]!r}) = {got[worst]!r} is off by {error[worst]:.2f} ulp"
    )


def test_every_hundredth_float32_within_two_ulp():
    # float64 values from the C library are exact enough, to 1e-8 ulp.
    for f, exact, reach in ((sigmoid, lambda v: 1 / (1 + np.exp(-v)), 104), (tanh, np.tanh, 11)):
        size = np.arange(0, np.float32(reach).view(np.int32), 100, dtype=np.int32).view(np.float32)
        for x in (size, -size):
            want = exact(x.astype("float64"))
            error = abs(f(x) - want) / np.spacing(abs(want).astype("float32"))
            worst = int(np.argmax(error))
            assert error[worst] <= 2, f"{f.__name__}({x[worst]!r}) is off by {error[worst]:.2f} ulp"


@pytest.mark.parametrize("dtype", REAL)
def test_odd_to_the_bit(dtype):
    x = np.concatenate([sample_inputs(dtype), [np.inf]]).astype(dtype)
    assert tanh(-x).tobytes() == (-tanh(x)).tobytes()


@pytest.mark.parametrize("dtype", REAL)
def test_special_values(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 1000, -1000, 0.0, -0.0], dtype)
    np.testing.assert_array_equal(tanh(x), np.array([np.nan, 1, -1, 1, -1, 0, 0], dtype))
    np.testing.assert_array_equal(sigmoid(x), np.array([np.nan, 1, 0, 1, 0, 0.5, 0.5], dtype))
    np.testing.assert_array_equal(relu(x), np.array([np.nan, np.inf, 0, 1000, 0, 0, 0], dtype))


def test_polynomials_are_chebyshev_fits():
    def exponential(r):
        return sum(r**k / mpmath.factorial(k + 2) for k in range(30))

    def tangent(z):
        w = mpmath.sqrt(z)
        return (
            (mpmath.tanh(w) / w - 1) / z
            if z > 1e-9
            else mpmath.mpf(-1) / 3 + 2 * z / 15 - 17 * z**2 / 315
        )

    with mpmath.workdps(60):
        # Slightly more than the remainder of rounding to nearest.
        half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
        for form in (activations._FLOAT32, activations._FLOAT64):
            for got, function, interval in (
                (form.exp, exponential, [-half, half]),
                (form.tanh, tangent, [0, mpmath.mpf("0.390625")]),
            ):
                assert list(got) == [
                    float(c) for c in mpmath.chebyfit(function, interval, len(got))
                ]


def test_complex_agrees_with_real():
    x = np.concatenate([sample_inputs(np.float64), [np.nan, np.inf, -np.inf]])
    assert tanh(x.astype(complex)).real.tobytes() == tanh(x).tobytes()
    np.testing.assert_array_max_ulp(sigmoid(x.astype(complex)).real, sigmoid(x), maxulp=4)
    np.testing.assert_array_equal(relu(x.astype(complex)).real, relu(x))
    finite = ~np.isnan(x)
    for f in (tanh, sigmoid):
        assert np.all(f(x[finite].astype(complex)).imag == 0)


@pytest.mark.parametrize(("step", "reach"), [(1e-200, 230), (1e-8, 680)])
def test_imaginary_part_is_the_derivative(step, reach):
    # The product of step and derivative must stay a normal number, and step² below the roundoff:
    # hence a larger step for a larger range.
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(-reach, reach, 1000), rng.uniform(-2, 2, 1000), [0.0]])
    for f, slope, inputs in (
        (sigmoid, lambda v: 1 / (4 * mpmath.cosh(v / 2) ** 2), x),
        (tanh, lambda v: 1 / mpmath.cosh(v) ** 2, x / 2),
    ):
        got = f(inputs + 1j * step).imag / step
        with mpmath.workdps(40):
            error = [
                float(abs(g / slope(mpmath.mpf(v)) - 1)) for v, g in zip(inputs, got, strict=True)
            ]
        assert max(error) < 2e-15  # some six roundings of 1.1e-16 each, and exp's own


def test_complex_values_off_the_axis():
    rng = np.random.default_rng(3)
    z = rng.uniform(-30, 30, 500) + 1j * rng.uniform(-3, 3, 500)
    for f, exact in ((tanh, mpmath.tanh), (sigmoid, EXACT["sigmoid"])):
        with mpmath.workdps(40):
            want = np.array([complex(exact(mpmath.mpc(v))) for v in z])
        # tan and cos of angles up to 3 are well conditioned: a few roundings.
        np.testing.assert_allclose(f(z), want, rtol=1e-13)
