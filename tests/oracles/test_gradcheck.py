"""gradcheck passes correct gradients and reports wrong ones with their place."""

import numpy as np
import pytest

from gatecheck.errors import InputError
from gatecheck.oracles import flattening
from gatecheck.oracles.gradcheck import gradcheck


@pytest.mark.parametrize("seed", range(10))
def test_a_right_gradient_passes_every_oracle(problem, seed):
    result = gradcheck(problem.fn, problem.inputs(seed), problem.vjp, problem.jvp, seed=seed)
    assert result
    assert {outcome.verdict for outcome in result.oracles.values()} == {"pass"}
    assert result.failures == result.notes == ()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("oracle", ["finite differences", "complex step", "Taylor"])
@pytest.mark.parametrize("columns", [slice(0, 6), slice(6, 12)], ids=["W", "x"])
def test_each_oracle_sees_a_millionth_of_an_entry_within_a_thousandth_of_the_largest(
    problem, oracle, seed, columns
):
    inputs = problem.inputs(seed)
    wrong, (p, i) = problem.planted(problem.jacobian(*inputs), seed, columns)
    result = gradcheck(problem.fn, inputs, problem.vjp_of(wrong), seed=seed)
    assert result.verdict == "fail"
    assert result.oracles[oracle].verdict == "fail"
    y = f"d y[{p // 2}, {p % 2}]"
    by = f"d W[{i // 2}, {i % 2}]" if i < 6 else f"d x[{(i - 6) // 3}, {(i - 6) % 3}]"
    assert result.failures[0].where == f"{y} / {by}"
    assert {failure.where for failure in result.failures} == {
        f"{y} / {by}",
        f"{y} / d a random direction",
    }


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_jvp_is_distinguished_from_a_wrong_vjp(problem, seed):
    inputs = problem.inputs(seed)
    wrong, _ = problem.planted(problem.jacobian(*inputs), seed)

    result = gradcheck(problem.fn, inputs, problem.vjp, problem.jvp_of(wrong), seed=seed)
    verdicts = {name: outcome.verdict for name, outcome in result.oracles.items()}
    assert verdicts == {
        "finite differences": "pass",
        "complex step": "pass",
        "Taylor": "pass",
        "Taylor of jvp": "fail",
        "adjoint": "fail",
    }


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_outputs_and_steps_are_judged_relative_to_their_own_size(scale):
    """A block 1e-8 of its neighbor is held to the same relative standard."""
    weights = np.array([1.0, scale])[:, None, None]
    x = np.array([0.3, 0.8, -0.4, 0.1]).reshape(2, 1, 2)

    def vjp(dy, x, error=0.0):
        right = dy * weights * np.cos(x)
        right[0 if scale > 1 else 1, 0, 1] *= 1 + error
        return right

    assert gradcheck(lambda x: weights * np.sin(x), x, vjp)
    result = gradcheck(lambda x: weights * np.sin(x), x, lambda dy, x: vjp(dy, x, error=1e-6))
    step = 0 if scale > 1 else 1
    assert result.failures[0].where == f"d y[{step}, 0, 1] / d x[{step}, 0, 1]"


def test_a_matrix_is_one_block_and_of_three_axes_each_step_is():
    blocks = flattening.layout_of(
        {"W": np.ones((3, 2)), "x": np.ones((2, 3, 2)), "b": np.ones(2)}, "x"
    )
    assert blocks.starts.tolist() == [0, 6, 12, 18]


def test_a_mapping_goes_in_and_out_by_name(problem):
    W, x = problem.inputs(0)

    def fn(W, x):
        return {"y": x @ W, "loss": (x**2).sum()}

    def vjp(cotangents, W, x):
        return {"x": cotangents["y"] @ W.T + 2 * cotangents["loss"] * x, "W": x.T @ cotangents["y"]}

    assert gradcheck(fn, {"W": W, "x": x}, vjp)
    result = gradcheck(fn, {"W": W, "x": x}, lambda c, W, x: vjp(c, W, x) | {"W": None})
    assert not result
    assert all(" / d W[" in f.where for f in result.failures if "random" not in f.where)


def test_the_message_says_what_where_and_how_sure():
    result = gradcheck(np.tanh, np.array([0.3, -0.2]), lambda dy, x: dy * (1 - np.tanh(x)), seed=7)
    text = str(result)
    for fragment in (
        "gradcheck: fail (seed 7)",
        "d y[1] / d x[1] is 1.19737532, but should be 0.961042983 ± 1e-10 (complex step)",
        "finite differences  fail: 2 wrong of 4 derivatives",
        "Taylor              fail: 2 of 2 outputs leave a remainder of order 1",
        "adjoint             not applicable: no jvp was given",
    ):
        assert fragment in text
    absent = result.oracles["adjoint"]
    assert (
        absent.n_compared,
        absent.n_failed,
        absent.inconclusive_share,
        np.isnan(absent.worst_ratio),
    ) == (
        0,
        0,
        0,
        True,
    )


def test_the_message_shows_the_five_worst_and_counts_the_others():
    few, many, most = (
        str(gradcheck(np.sin, np.linspace(1, 2, n), lambda dy, x: dy * x)) for n in (2, 10, 200)
    )
    assert "in all" not in few
    # 10, and 10 along a random direction, one for each output.
    assert "\n  … 20 wrong derivatives in all\n" in many
    assert "\n  … 200 wrong derivatives in all\n" in most
    assert [text.count(" ± ") for text in (few, many, most)] == [4, 5, 5]


def test_nan_in_the_gradient_is_a_failure_with_its_place():
    result = gradcheck(
        np.sin, np.array([0.1, 0.2]), lambda dy, x: np.where(x > 0.15, np.nan, dy * np.cos(x))
    )
    assert result.verdict == "fail"
    assert "d y[1] / d x[1] is nan, but should be 0.98" in str(result)


@pytest.mark.parametrize("size", [np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("fast", [False, True])
def test_a_derivative_without_bound_is_a_failure_and_no_warning(size, fast):
    result = gradcheck(
        np.sin,
        np.ones(3),
        lambda dy, x: np.full(3, size),
        lambda dx, x: np.full(3, size),
        fast=fast,
    )
    assert result.verdict == "fail"


@pytest.mark.parametrize(
    ("vjp", "message"),
    [
        (lambda dy, a, b: (dy[:1], dy), "vjp's gradient for a has shape (1,), but should be (2,)"),
        (
            lambda dy, a, b: dy.sum(),
            "vjp's gradient is a float64, but should be a sequence of 2 arrays: a, b",
        ),
        (
            lambda dy, a, b: [dy],
            "vjp's gradient is a sequence of 1, but should be a sequence of 2 arrays",
        ),
        (
            lambda dy, a, b: (dy, dy * 1j),
            "vjp's gradient for b has dtype complex128, but should be real numbers",
        ),
    ],
)
def test_a_gradient_of_the_wrong_shape_is_a_failure(vjp, message):
    result = gradcheck(lambda a, b: a * b, (np.ones(2), np.ones(2)), vjp)
    assert result.verdict == "fail"
    assert message in str(result)


def test_a_jvp_of_the_wrong_shape_is_a_failure():
    result = gradcheck(np.sin, np.ones(2), lambda dy, x: dy * np.cos(x), lambda dx, x: dx[:1])
    assert result.verdict == "fail"
    assert "jvp's result for y has shape (1,), but should be (2,)" in str(result)


def fn_that_writes(x):
    y = np.sin(x)
    x += 1
    return y


def vjp_that_writes(dy, x):
    dy *= np.cos(x)
    return dy


@pytest.mark.parametrize(
    ("fn", "vjp", "verdict", "note"),
    [
        (
            fn_that_writes,
            lambda dy, x: dy * np.cos(x),
            "pass",
            "an input was written to while being used, first at x[0]",
        ),
        (np.sin, vjp_that_writes, "pass", "vjp writes to its cotangents"),
        (np.array, lambda dy, x: None, "fail", ""),
    ],
)
def test_side_effects_are_reported(fn, vjp, verdict, note):
    result = gradcheck(fn, np.array([0.4, 1.0]), vjp)
    assert result.verdict == verdict
    assert note in str(result)


@pytest.mark.parametrize(
    ("pushed", "verdict", "worst"),
    [(0.0, "pass", 0.0), (np.nan, "fail", np.inf), (np.inf, "fail", np.inf)],
)
def test_adjoint_identity_is_exact_for_a_constant(pushed, verdict, worst):
    result = gradcheck(
        lambda x: 0 * x + 2, np.ones(2), lambda dy, x: 0 * dy, lambda dx, x: pushed * np.ones(2)
    )
    assert (result.oracles["adjoint"].verdict, result.oracles["adjoint"].worst_ratio) == (
        verdict,
        worst,
    )


def test_a_function_that_is_not_deterministic_is_inconclusive():
    rng = np.random.default_rng(0)
    result = gradcheck(
        lambda x: x * (rng.uniform(size=x.shape) < 0.5), np.ones(20), lambda dy, x: dy
    )
    assert result.verdict == "inconclusive"
    assert "fn is not deterministic: two calls with the same inputs differ by 1 at y[" in str(
        result
    )


def test_a_gradient_accumulated_between_calls_is_reported():
    accumulated = np.zeros(2)

    def vjp(dy, x):
        accumulated[:] += dy * np.cos(x)
        return accumulated

    result = gradcheck(np.sin, np.array([0.4, 1.0]), vjp)
    assert result.verdict == "fail"
    assert "it keeps state between calls" in str(result)


@pytest.mark.parametrize(
    ("fn", "x", "vjp"),
    [
        (lambda x: np.maximum(x, 0), 0.0, lambda dy, x: 0 * dy),
        (np.abs, 0.0, lambda dy, x: dy),
        (lambda x: np.tanh(x.astype(np.float32)), 0.3, lambda dy, x: dy * (1 - np.tanh(x) ** 2)),
        (lambda x: 1 + 1e-30 * np.abs(x), 0.3, lambda dy, x: 0 * dy),
    ],
    ids=["relu's kink", "modulus at 0", "single precision", "below the rounding"],
)
def test_what_cannot_be_decided_is_inconclusive(fn, x, vjp):
    result = gradcheck(fn, np.array([x]), vjp)
    assert result.verdict == "inconclusive", result
    assert not result.ok
    assert not result


def test_what_does_not_depend_on_an_input_is_decided():
    """The noncausal half of a recurrent Jacobian is exactly zero."""
    x = np.array([0.2, 0.5, 0.9]).reshape(3, 1, 1)
    result = gradcheck(
        lambda x: np.abs(np.cumsum(x, axis=0)), x, lambda dy, x: np.cumsum(dy[::-1], axis=0)[::-1]
    )
    assert result.verdict == "pass"
    assert result.oracles["finite differences"].inconclusive_share == 0


def test_an_exactly_zero_derivative_is_known_next_to_noisy_ones():
    x = 1 + 1e-8 * np.arange(1, 6)
    result = gradcheck(lambda x: (x - 1) ** 2, x, lambda dy, x: 2 * dy * (x - 1))
    assert result.oracles["complex step"].inconclusive_share == pytest.approx(5 / 25)


def test_nothing_to_check_is_not_a_pass():
    result = gradcheck(lambda x: x, np.zeros((0, 3)), lambda dy, x: dy)
    assert result.verdict == "inconclusive"
    assert "there is nothing to check: the Jacobian has 0 x 0 entries" in str(result)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradcheck(np.sin, np.ones(3, np.float32), len), "inputs has dtype float32"),
        (lambda: gradcheck(np.sin, {}, len), "inputs is empty"),
        (
            lambda: gradcheck(np.log, np.array([1.0, -1.0]), len),
            "fn returned nan at y[1], but should be finite",
        ),
        (
            lambda: gradcheck(lambda x: x[:10], np.ones(12), len, max_entries=119),
            "10 x 12 entries, but should have at most max_entries = 119",
        ),
        (
            lambda: gradcheck(lambda x: np.append(x, x), np.ones(5), len, max_entries=49),
            "10 x 5 entries, but should have at most max_entries = 49",
        ),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)


def test_the_same_seed_gives_the_same_result(problem):
    a, b = (
        gradcheck(problem.fn, problem.inputs(0), problem.vjp, problem.jvp, seed=3) for _ in range(2)
    )
    assert str(a) == str(b)


def test_an_undecided_pair_of_arrays_is_not_outvoted():
    """Many decided derivatives of one input do not hide undecided ones of another."""
    result = gradcheck(
        lambda a, b: np.sin(a) + np.abs(b),
        (np.linspace(1, 2, 9), np.zeros(1)),
        lambda dy, a, b: (dy * np.cos(a), dy.sum() * np.ones(1)),
    )
    assert result.verdict == "inconclusive"
    assert result.oracles["finite differences"].inconclusive_share < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_fast_sees_a_hundred_thousandth(problem, seed):
    inputs = problem.inputs(seed)
    result = gradcheck(problem.fn, inputs, problem.vjp, fast=True)
    assert result
    assert list(result.oracles) == ["central differences"]
    assert result.notes == (
        "fast: one central difference for each derivative, whose truncation is not bounded",
    )
    J = problem.jacobian(*inputs)
    p, i = np.unravel_index(np.argmax(np.abs(J)), J.shape)
    J[p, i] *= 1 + 1e-5
    assert [
        f.oracle for f in gradcheck(problem.fn, inputs, problem.vjp_of(J), fast=True).failures
    ] == ["central differences"]
