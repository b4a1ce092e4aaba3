"""Exponents and singular values against theory, exact products and determinants."""

from __future__ import annotations

import math
import re

import mpmath
import numpy as np
import pytest
from scipy.special import digamma, polygamma

from gatecheck.cells import CELLS, LSTM, RNN, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.initializers import uniform
from gatecheck.decay.jacobians import qr_frames
from gatecheck.decay.jacobians.profile import adjoint_profile, tangent_profile
from gatecheck.decay.jacobians.sweep import prepare_run, run_passes
from gatecheck.decay.measures import volume
from gatecheck.decay.measures.lyapunov import lyapunov_spectrum, product_spectrum
from gatecheck.decay.measures.volume import VolumeVisitor
from gatecheck.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


def test_ground_truth_2_products_of_gaussian_matrices():
    H, g, T = 8, 1.3, 10_000
    found = product_spectrum(rng(1).standard_normal((T, H, H)) * g / math.sqrt(H), rng())
    half = (H - np.arange(H)) / 2
    expected = math.log(g) + (digamma(half) + math.log(2 / H)) / 2
    assert expected[[0, -1]] == pytest.approx([0.197276, -1.412538], abs=5e-7)
    theirs = np.sqrt(polygamma(1, half) / (4 * T / 2))  # over the later half of the steps
    assert (abs(found.exponents - expected) < 4 * theirs).all()
    # The sd of 50 batches is itself uncertain by 10 %.
    np.testing.assert_allclose(found.errors, theirs, rtol=0.4)
    assert found.degrees_of_freedom >= 48


def test_ground_truth_3_a_transient_that_the_rate_hides():
    J = np.array([[0.9, 5.0], [0.0, 0.9]])
    norms = np.array(
        [
            np.exp(product_spectrum(np.tile(J, (T, 1, 1)), rng()).log_singular[0])
            for T in range(1, 61)
        ]
    )
    assert norms.argmax() + 1 == 9
    assert norms[8] == pytest.approx(19.3788, abs=5e-5)
    assert np.flatnonzero(norms < 1)[0] + 1 == 55
    found = product_spectrum(np.tile(J, (4000, 1, 1)), rng())
    # A Jordan block grows like T 0.9^T, so the exponent over the later half is off by ln 2 / 2000.
    assert found.exponents == pytest.approx(math.log(0.9), abs=1.01 * math.log(2) / 2000)
    assert found.exponents.sum() == pytest.approx(2 * math.log(0.9), rel=1e-12)


def test_ground_truth_18_henon_map():
    a, b, T = 1.4, 0.3, 4000
    point, jacobians = np.array([0.1, 0.1]), []
    for _ in range(T):
        jacobians.append([[-2 * a * point[0], 1.0], [b, 0.0]])
        point = np.array([1 - a * point[0] ** 2 + point[1], b * point[0]])
    found = product_spectrum(np.array(jacobians), rng())
    assert found.log_growth.sum() / T == pytest.approx(math.log(0.3), rel=1e-11)
    assert found.exponents.sum() == pytest.approx(math.log(0.3), rel=1e-11)
    # The largest is 0.41922 (Sprott 2003).
    assert found.exponents[0] == pytest.approx(0.41922, abs=4 * found.errors[0])


CYCLE = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
W_CYCLE = np.array([[0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.9, 0.0, 0.1]])


def test_ground_truth_17_order_of_the_product():
    params = {"W": np.eye(3), "U": W_CYCLE.T.copy(), "b": np.zeros(3)}
    x, h, jacobians = np.tile(CYCLE, (1000, 1)), np.zeros(3), []
    for x_t in x:
        h = np.tanh(W_CYCLE @ h + x_t)
        jacobians.append((1 - h * h)[:, None] * W_CYCLE)
    for found in (
        product_spectrum(np.array(jacobians), rng()),
        lyapunov_spectrum(RNN(), params, x, rng()),
    ):
        assert found.exponents[0] == pytest.approx(-3.08887, abs=5e-6)
    wrong = product_spectrum(np.array(jacobians[::-1]), rng())
    # The leading pair of eigenvalues is complex here and turns, so the exponent is read to 1/T;
    # test_profile has the digits.
    assert wrong.exponents[0] == pytest.approx(-0.96456, abs=3 / 1500)


def problem(name, T, H=4, D=2, seed=3):
    cell = as_cell(name)
    params = {key: 1.5 * array for key, array in uniform(rng(seed), cell, D, H).items()}
    return (
        cell,
        params,
        rng(seed + 1).standard_normal((T, D)),
        rng(seed + 2).standard_normal((len(cell.state), H)) / 2,
    )


def dense_jacobians(cell, params, x, state):
    """Return the Jacobians by one-step tangents of a basis.

    Those are compared with complex steps in test_profile.
    """
    n, H = state.shape
    basis = np.eye(n * H).reshape(n * H, n, H).transpose(1, 0, 2)
    jacobians = []
    for x_t in x:
        step = tangent_profile(cell, params, x_t[None], basis, state)
        jacobians.append(
            math.exp(step.log_norm[1]) * step.direction.transpose(0, 2, 1).reshape(n * H, n * H)
        )
        state = step_state(cell, params, x_t, state)
    return np.array(jacobians)


def step_state(cell, params, x_t, state):
    run, after = prepare_run(cell, params, x_t[None], state), state.copy()
    run.kernel.advance(
        x_t[None] @ params["W"] + params["b"], after, np.empty((1, run.kernel.rows, state.shape[1]))
    )
    return after


def exact_log_singular(jacobians):
    """Return the logs of the singular values of the product, by 1000 digits or more."""
    # two, as PᵀP is squared
    digits = 60 + 2 * int(sum(np.log10(np.linalg.cond(J)) for J in jacobians))
    with mpmath.workdps(digits):
        P = mpmath.eye(jacobians.shape[1])
        for J in jacobians:
            P = mpmath.matrix(J.tolist()) * P
        squares = mpmath.eigsy(P.T * P, eigvals_only=True)
        return np.sort([float(mpmath.log(s) / 2) for s in squares])[::-1]


@pytest.mark.parametrize(("name", "H"), [("rnn", 4), ("gru", 4), ("gru-before", 4), ("lstm", 2)])
def test_singular_values_are_those_of_the_dense_product(name, H):
    cell, params, x, state = problem(name, 400, H)
    jacobians = dense_jacobians(cell, params, x, state)
    expected = exact_log_singular(jacobians)
    gaps = -np.diff(expected, prepend=np.inf, append=-np.inf)
    nearest = np.minimum(gaps[:-1], gaps[1:])
    assert nearest.max() > 14  # where 1e-12 is asked for
    for found in (
        lyapunov_spectrum(cell, params, x, rng(), state=state),
        product_spectrum(jacobians, rng()),
    ):
        # What 400 steps round, between two QR e^10 times as much at the slow end: 2e-11 was seen,
        # of a thousand nats.
        np.testing.assert_array_less(
            abs(found.log_singular - expected),
            1e-12 * abs(expected) + 1e-10 + 3 * np.exp(-2 * nearest),
        )
    # The exponents are no singular values: nats off.
    assert abs(found.log_growth - expected).max() > 0.1


@pytest.mark.parametrize("name", [name for name in CELLS if name != "rnn-relu"])
@pytest.mark.parametrize("T", [1, 7, 400])
def test_ground_truth_12_volume(name, T):
    cell, params, x, state = problem(name, T)
    found = lyapunov_spectrum(cell, params, x, rng(), state=state)
    assert found.volume_residual < 1e-10 * max(1, T)  # e^10 roundings a step at most
    dense = np.linalg.slogdet(dense_jacobians(cell, params, x, state))[1].sum()
    assert found.log_volume == pytest.approx(dense, rel=1e-9)


def test_the_volume_of_an_lstm_sees_only_its_output_block():
    cell, params, x, state = problem("lstm", 1)
    changed = params | {"U": params["U"].copy()}
    block(cell, changed["U"], "i")[:] += 1
    volumes = []
    for p in (params, changed):
        # at h = 0, so that the gates stay what they are
        run = prepare_run(cell, p, x, state * [[0], [1]])
        total = VolumeVisitor(run)
        run_passes(run, forward=[total])
        volumes.append(total.log)
    assert volumes[0] == volumes[1]


def test_a_wrong_determinant_leaves_a_residual(monkeypatch):
    cell, params, x, state = problem("gru", 50)
    monkeypatch.setattr(
        volume, "_log_det", lambda matrices: np.log(abs(np.einsum("lii->li", matrices))).sum(axis=1)
    )
    assert lyapunov_spectrum(cell, params, x, rng(), state=state).volume_residual > 1


def test_directions_that_a_step_loses_have_no_exponent():
    # Ground truth 9: at zero state J has H eigenvalues that are structurally zero, the others are
    # those of f + o i g.
    H = 5
    params = {key: 2 * array for key, array in uniform(rng(5), LSTM(), 1, H).items()}
    params["b"][:] = 0
    found = lyapunov_spectrum(LSTM(), params, np.zeros((3000, 1)), rng())
    moduli = np.sort(
        abs(np.linalg.eigvals(0.5 * np.eye(H) + 0.25 * block(LSTM(), params["U"], "g")))
    )[::-1]
    assert np.isneginf(found.exponents[H:]).all()
    assert np.isneginf(found.log_singular[H:]).all()
    assert np.isfinite(found.exponents[:H]).all()
    # A complex pair turns, so its two exponents are read to 1/T only, but their sum is a
    # determinant.
    np.testing.assert_allclose(found.exponents[:H], np.log(moduli), atol=2e-3)
    assert found.exponents[:H].sum() == pytest.approx(np.log(moduli).sum(), rel=1e-9)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_the_first_exponents_are_those_of_all(name):
    cell, params, x, state = problem(name, 400)
    whole, two = (
        lyapunov_spectrum(cell, params, x, rng(), state=state),
        lyapunov_spectrum(cell, params, x, rng(8), count=2, state=state),
    )
    # Another frame to start from, so they differ by a few nats over the 200 steps.
    np.testing.assert_allclose(two.exponents, whole.exponents[:2], atol=3 / 200)
    assert two.volume_residual is None
    basis = np.eye(state.size).reshape(state.size, *state.shape).transpose(1, 0, 2)
    frobenius = adjoint_profile(cell, params, x, basis, state).log_norm[-1]
    gap = whole.log_singular[0] - whole.log_singular[1]
    assert frobenius == pytest.approx(
        np.logaddexp.reduce(2 * whole.log_singular) / 2, abs=1e-9 + math.exp(-2 * gap)
    )


def test_the_interval_adapts_and_changes_nothing(monkeypatch):
    cell, params, x, state = problem("rnn", 900)
    often = lyapunov_spectrum(cell, params, x, rng(), state=state)
    monkeypatch.setattr(qr_frames, "MAX_SPREAD", 1e-9)
    always = lyapunov_spectrum(cell, params, x, rng(), state=state)
    assert always.interval == 1 < often.interval
    np.testing.assert_allclose(often.log_growth, always.log_growth, rtol=1e-9)
    monkeypatch.setattr(qr_frames, "MAX_SPREAD", 300.0)  # far too long: the volume shows it
    assert (
        lyapunov_spectrum(cell, params, x, rng(), state=state).volume_residual
        > 1e3 * often.volume_residual
    )


def test_what_does_not_fit_is_named():
    cell, params, x, _ = problem("rnn", 5)
    with pytest.raises(InputError, match="5 exponents were asked for, but there are from 1 to 4"):
        lyapunov_spectrum(cell, params, x, rng(), count=5)
    with pytest.raises(InputError, match="x has no steps"):
        lyapunov_spectrum(cell, params, x[:0], rng())
    for shape in ((3, 2), (3, 2, 4), (0, 2, 2)):
        with pytest.raises(InputError, match=rf"matrices have shape {re.escape(str(shape))}, but"):
            product_spectrum(np.ones(shape), rng())
    with pytest.raises(InputError, match="not finite"):
        product_spectrum(np.full((3, 2, 2), np.nan), rng())
    with pytest.raises(InputError, match="not finite"):
        lyapunov_spectrum(cell, params, np.where(np.arange(5)[:, None] == 3, np.nan, x), rng())


def test_a_product_that_is_exactly_zero():
    params = {"W": np.zeros((1, 3)), "U": np.eye(3), "b": -np.ones(3)}
    found = lyapunov_spectrum(RNN("relu"), params, np.zeros((20, 1)), rng())
    assert np.isneginf(found.exponents).all()
    assert np.isneginf(found.log_singular).all()
    assert math.isnan(found.volume_residual)


def test_a_single_step_has_no_error():
    found = product_spectrum(np.array([[[2.0]]]), rng())
    assert found.exponents == pytest.approx(math.log(2))
    assert np.isnan(found.errors).all()
