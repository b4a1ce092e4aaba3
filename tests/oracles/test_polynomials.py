"""Polynomials are exact, and keep the correlation in a mix that intervals lose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gatecheck.oracles.interval_arithmetic import Interval
from gatecheck.oracles.polynomials import (
    NotPolynomialError,
    bound_polynomial,
    linear_coefficients,
    symbol_arrays,
)


@pytest.fixture
def terms():
    return symbol_arrays({"z": (1, 2), "n": (1, 2), "h": (1, 2)})


def test_shares_of_a_mix_sum_to_one(terms):
    z, n, h = terms.values()
    old, new = linear_coefficients((z * n + (1 - z) * h)[0, 1], h[0, 1], n[0, 1])
    assert (str(old), str(new), old + new == 1) == ("-z_0_1 + 1", "z_0_1", True)
    assert str(bound_polynomial(old, {"z_0_1": Interval(0.25, 1)})) == "[0, 0.75]"
    assert str(bound_polynomial(old, {})) == "[-inf, inf]"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda z, n, h: z * n + (1 - z) * h + 0.1,
        lambda z, n, h: z * n * h + (1 - z) * h,
        lambda z, n, h: z * n + (1 - z) * h * h,
        lambda z, n, h: z * n + (1 - n) * h,
        lambda z, n, h: z * n + (1 - z) * h[:, ::-1],
    ],
)
def test_nonlinear_polynomials_have_no_coefficients(terms, wrong):
    z, n, h = terms.values()
    assert linear_coefficients(wrong(z, n, h)[0, 1], h[0, 1], n[0, 1]) is None


def test_numbers_are_taken_exactly(terms):
    assert (0.1 * terms["z"] - terms["z"] / 10)[0, 0] != 0  # a tenth is not a float
    assert (0.5 * terms["z"] - terms["z"] / 2)[0, 0] == 0
    assert (terms["z"] @ terms["n"].T)[0, 0] == (terms["z"] * terms["n"]).sum()


@pytest.mark.parametrize("function", [np.tanh, expit, np.abs, lambda a: np.maximum(a, 0)])
def test_non_polynomial_functions_raise(terms, function):
    with pytest.raises(NotPolynomialError, match="of a polynomial is not a polynomial"):
        function(terms["z"])
