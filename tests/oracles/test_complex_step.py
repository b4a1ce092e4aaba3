"""The complex step is exact, and refuses functions to which it does not apply."""

import mpmath
import numpy as np
import pytest

from gatecheck.oracles import complex_step
from gatecheck.oracles.flat_function import FlatFunction, perturb_ulps


def textbook(x):
    """Compute the test function of Squire & Trapp 1998 and Martins et al. 2003."""
    return np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)


def exact_textbook(x):
    with mpmath.workdps(50):
        return float(
            mpmath.diff(
                lambda t: mpmath.exp(t) / mpmath.sqrt(mpmath.sin(t) ** 3 + mpmath.cos(t) ** 3),
                mpmath.mpf(x),
            )
        )


def test_the_textbook_function_is_exact_to_the_last_places():
    J, error = complex_step.jacobian(textbook, np.array([1.5]))
    assert J[0, 0] == pytest.approx(exact_textbook(1.5), rel=4 * 2.0**-52, abs=0)
    assert error[0, 0] < 1e-13


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_bound_covers_the_error_at_every_scale(scale):
    x = np.array([-0.6, 0.2, 1.4])
    J, error = complex_step.jacobian(lambda z: np.tanh(z / scale), scale * x)
    assert (np.abs(J - np.diag(1 / (scale * np.cosh(x) ** 2))) <= error).all()
    assert (error <= 1e-12 / scale).all()


def test_rounding_is_shuffled_by_an_ulp_up_and_down_and_by_none():
    x = np.ones(100)
    assert set(perturb_ulps(x, np.random.default_rng(0))) == {1 - 2**-52, 1, 1 + 2**-52}


def test_directional_is_the_jacobian_times_the_direction():
    x, v = np.array([0.3, 0.9]), np.array([2.0, -1.0])
    np.testing.assert_allclose(
        complex_step.directional(textbook, x, v),
        [exact_textbook(t) * d for t, d in zip(x, v, strict=True)],
        rtol=1e-14,
    )


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (np.abs, "not complex-analytic or drops the imaginary part"),
        (lambda x: x * np.abs(x), "not complex-analytic"),
        (lambda x: x.real * 2, "drops the imaginary part"),
        (lambda x: np.conj(x) ** 2, "not complex-analytic"),
        (lambda x: x.astype(np.float64), "casts complex numbers to real ones"),
        (lambda x: np.asarray(x, dtype=np.float64), "casts complex numbers to real ones"),
        (lambda x: np.arctan2(x, 1.0), "does not take complex arrays, it raised TypeError"),
        (lambda x: np.where(x > 1e-3, x, x.real), "should be"),
    ],
)
def test_not_applicable_states_the_reason(fn, reason):
    with pytest.raises(complex_step.NotApplicableError, match=reason):
        complex_step.jacobian(fn, np.array([0.5, -0.3]))


def test_dropped_imaginary_part_of_any_input_is_detected():
    for at in range(30):
        with pytest.raises(complex_step.NotApplicableError, match="drops the imaginary part"):
            complex_step.jacobian(
                lambda x, at=at: np.where(np.arange(30) == at, x.real, x).sum(), np.ones(30)
            )


def test_a_direction_moves_every_input_by_half_to_all_of_the_size_of_its_array():
    subject = FlatFunction(lambda a, b: a.sum() + b.sum(), (1e6 * np.ones(40), 1e-6 * np.ones(40)))
    for direction in complex_step.draw_directions(subject, np.random.default_rng(0), 3):
        share = direction / subject.input_scales()
        assert (abs(abs(share) - 0.75) <= 0.25).all()
        assert share.min() < 0 < share.max()


def test_constant_output_applies_and_noise_does_not():
    J, _ = complex_step.jacobian(lambda x: np.array([x[0] ** 2, 3.0]), np.array([0.5, -0.3]))
    np.testing.assert_array_equal(J, [[1, 0], [0, 0]])
    rng = np.random.default_rng(0)
    with pytest.raises(complex_step.NotApplicableError, match=r"too noisy at y\[1\] to confirm"):
        complex_step.jacobian(
            lambda x: np.sin(x) + 1e-3 * rng.normal() * (x < 0), np.array([0.5, -0.3])
        )


def test_comparisons_are_applicable():
    J, _ = complex_step.jacobian(lambda x: np.where(x > 0, np.sin(x), 0), np.array([0.5, -0.3]))
    np.testing.assert_allclose(J, np.diag([np.cos(0.5), 0]), rtol=1e-15)
