"""The adjoint identity holds for right pairs and fails for wrong ones."""

import numpy as np
import pytest

from gatecheck.errors import InputError
from gatecheck.oracles.adjoint import measure_adjoint_mismatch


def draw_pair(inputs, seed):
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(0.5, 1, a.shape) for a in inputs), rng.uniform(0.5, 1, (2, 2))


@pytest.mark.parametrize("seed", range(20))
def test_a_right_pair_agrees_to_rounding(problem, seed):
    inputs = problem.inputs(seed)
    tangent, cotangent = draw_pair(inputs, seed)
    result = measure_adjoint_mismatch(
        problem.jvp, problem.vjp, inputs, tangent, cotangent, seed=seed
    )
    assert result.ok
    assert result.tolerance < 1e-12


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("side", ["jvp", "vjp"])
def test_an_entry_off_by_a_millionth_is_seen_on_either_side(problem, seed, side):
    inputs = problem.inputs(seed)
    wrong, _ = problem.planted(problem.jacobian(*inputs), seed)

    pair = (
        (problem.jvp_of(wrong), problem.vjp)
        if side == "jvp"
        else (problem.jvp, problem.vjp_of(wrong))
    )
    tangent, cotangent = draw_pair(inputs, seed)
    assert not measure_adjoint_mismatch(*pair, inputs, tangent, cotangent, seed=seed).ok


def test_a_gradient_of_none_is_zero_and_nan_is_wrong():
    one = np.ones(2)
    assert measure_adjoint_mismatch(
        lambda t, a, b: t[0], lambda u, a, b: (u, None), (one, one), (one, one), one
    ).ok
    for wrong in (np.nan, np.inf):
        assert not measure_adjoint_mismatch(
            lambda t, a: t, lambda u, a, w=wrong: u * [w, -w], one, one, one
        ).ok


def test_both_sides_are_at_the_given_point():
    for seed in range(20):
        x, v, u = np.random.default_rng(seed).uniform(0.5, 1, (3, 2))
        result = measure_adjoint_mismatch(
            lambda t, x: x * t, lambda u, x: x * u, x, v, u, seed=seed
        )
        assert (result.forward_product, result.backward_product) == (
            (u * (x * v)).sum(),
            (v * (x * u)).sum(),
        )


@pytest.mark.parametrize(
    ("jvp", "vjp", "message"),
    [
        (
            lambda t, x: t[:1],
            lambda u, x: u,
            "jvp's result for y has shape (1,), but should be (2,)",
        ),
        (lambda t, x: t, lambda u, x: {"x": u}, "vjp's result for x has dtype object"),
    ],
)
def test_wrong_shapes_are_named(jvp, vjp, message):
    with pytest.raises(InputError) as caught:
        measure_adjoint_mismatch(jvp, vjp, np.ones(2), np.ones(2), np.ones(2))
    assert message in str(caught.value)
