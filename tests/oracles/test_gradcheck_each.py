"""gradcheck with functions that take many values at once finds the same."""

import numpy as np
import pytest

from gatecheck.errors import InputError
from gatecheck.oracles import flat_function
from gatecheck.oracles.gradcheck import gradcheck


def make_fn_each(fn):
    """Return a function that calls `fn` for many values in place of one entry."""

    def many(name, entries, values, W, x):
        results = []
        for entry, value in zip(entries, values, strict=True):
            given = {k: v.astype(np.result_type(v, value)) for k, v in (("W", W), ("x", x))}
            given[name].reshape(-1)[entry] = value
            results.append(fn(**given))
        return np.stack(results)

    return many


def make_vjp_each(vjp):
    return lambda dys, *inputs: tuple(
        np.stack(parts) for parts in zip(*(vjp(dy, *inputs) for dy in dys), strict=True)
    )


@pytest.mark.parametrize("most", [flat_function.MAX_ENTRIES_PER_CALL, 9, 1])
@pytest.mark.parametrize("seed", range(2))
def test_many_at_once_find_what_one_at_a_time_finds(problem, seed, most, monkeypatch):
    for module in ("flat_function", "gradcheck"):
        monkeypatch.setattr(f"gatecheck.oracles.{module}.MAX_ENTRIES_PER_CALL", most)
    inputs = problem.inputs(seed)
    wrong, _ = problem.planted(problem.jacobian(*inputs), seed)
    for vjp in (problem.vjp, problem.vjp_of(wrong)):
        alone = gradcheck(problem.fn, inputs, vjp, seed=seed)
        together = gradcheck(
            problem.fn,
            inputs,
            vjp,
            fn_each=make_fn_each(problem.fn),
            vjp_each=make_vjp_each(vjp),
            seed=seed,
        )
        assert together == alone


def test_many_at_once_are_many(problem):
    sizes = []

    def counted(name, entries, values, W, x):
        sizes.append(len(entries))
        return make_fn_each(problem.fn)(name, entries, values, W, x)

    assert gradcheck(problem.fn, problem.inputs(0), problem.vjp, fn_each=counted)
    assert max(sizes) == 10 * 5  # the whole stencil, of all entries of an array but the first


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_many_at_once_may_round_otherwise(problem, scale):
    def fn(W, x):
        return scale * problem.fn(W, x)

    def otherwise(W, x):
        return fn(W, x) * (1 + 2.0**-52)

    assert gradcheck(
        fn,
        problem.inputs(0),
        lambda dy, W, x: problem.vjp(scale * dy, W, x),
        fn_each=make_fn_each(otherwise),
    )


def test_many_at_once_that_are_another_function_are_refused(problem):
    def off(W, x):
        return problem.fn(W, x) * (1 + 1e-6)

    with pytest.raises(
        InputError, match=r"fn_each gives .* for y\[1, 1\] with W\[0, 0\] replaced, but fn gives"
    ):
        gradcheck(problem.fn, problem.inputs(0), problem.vjp, fn_each=make_fn_each(off))
    with pytest.raises(
        InputError,
        match=r"fn_each's result for y has shape \(2, 2\), but should be \(2, 2, 2\), one for each",
    ):
        gradcheck(
            problem.fn,
            problem.inputs(0),
            problem.vjp,
            fn_each=lambda name, entries, values, W, x: problem.fn(W, x),
        )


def test_many_gradients_at_once_that_are_others_are_a_failure(problem):
    inputs = problem.inputs(0)
    wrong = problem.jacobian(*inputs) + 1e-3
    result = gradcheck(
        problem.fn, inputs, problem.vjp, vjp_each=make_vjp_each(problem.vjp_of(wrong))
    )
    assert result.verdict == "fail"
    assert result.notes == ("vjp_each and vjp give different gradients of y[1, 1]",)
