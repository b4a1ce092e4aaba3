"""Formulations: they are the mathematics, and differ in their rounding.

Their functions err no more than those of frameworks.
"""

import numpy as np
import pytest

from gatecheck.accuracy.activations import exact_values
from gatecheck.accuracy.arithmetic import ORDERS, SIGMOID, TANH, Arithmetic, arithmetic_array_type
from gatecheck.accuracy.formulations import FORMULATIONS, REWRITES, Formulation, require_correct
from gatecheck.accuracy.report import certified_values
from gatecheck.accuracy.tightness import FINER_DTYPE, true_results
from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, Sizes
from gatecheck.errors import InputError

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
ALL_FORMULATIONS = [
    *FORMULATIONS,
    *(Formulation("textbook", Arithmetic(s, t, o)) for s in SIGMOID for t in TANH for o in ORDERS),
]


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("kind", ["rnn", "gru", "gru-before", "lstm"])
def test_every_formulation_is_exact_in_exact_arithmetic(kind, dtype):
    """It agrees with certified values in longdouble, to far less than a float64 holds."""
    case = draw(CELLS[kind], Sizes(4, 1, 2, 3), seed=3, dtype=dtype)
    certified = certified_values(case, gradients=True)
    true = {k: nearest.astype(np.longdouble) + rest for k, (nearest, rest) in certified.items()}
    for formulation in ALL_FORMULATIONS:
        require_correct(
            formulation, case, true, {k: np.full(v.shape, 2.0**-57) for k, v in true.items()}
        )


def test_wrong_formulation_is_refused():
    case = draw(GRU(), Sizes(4, 1, 2, 3), seed=3, dtype="float32")
    other = draw(GRU(), Sizes(4, 1, 2, 3), seed=4, dtype="float32")
    with pytest.raises(InputError, match="is wrong: in float64 its y is off by"):
        require_correct(
            FORMULATIONS[0],
            case,
            true_results(other),
            {k: np.full(v.shape, 1e-3) for k, v in true_results(other).items()},
        )


def test_formulations_differ_in_their_rounding():
    case = draw(LSTM(), Sizes(10, 2, 5, 12), seed=0, dtype="float32")
    results = [formulation.run(case)["dU"].tobytes() for formulation in FORMULATIONS]
    assert len(set(results)) == len(FORMULATIONS)


def test_ensemble_contains_every_variant():
    for table, used in (
        (REWRITES, {s.rewrite for s in FORMULATIONS}),
        (SIGMOID, {s.arithmetic.sigmoid for s in FORMULATIONS}),
        (TANH, {s.arithmetic.tanh for s in FORMULATIONS}),
        (ORDERS, {s.arithmetic.order for s in FORMULATIONS}),
    ):
        assert used == set(table)


def test_a_case_with_lengths_is_refused():
    with pytest.raises(InputError, match="this case has lengths"):
        FORMULATIONS[0].run(draw(GRU(), Sizes(4, 3, 2, 3), seed=0, dtype="float32", ragged=True))


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("tanh", TANH)
def test_tanh_is_as_accurate_as_those_of_frameworks(tanh, dtype):
    """ONNX Runtime's tanh is off by 8 units of roundoff.

    The error is relative to the value also near zero, where a formula that cancels is inaccurate.
    """
    x = np.concatenate([np.linspace(-25, 25, 4001), np.geomspace(1e-8, 1, 1000)]).astype(dtype)
    nearest, rest = exact_values("tanh", x)
    off = np.abs(TANH[tanh](x).astype(np.longdouble) - nearest - rest)
    assert (off <= 8.5 * ROUNDOFF[dtype] * np.abs(nearest)).all()
    assert off.max() > 0.25 * ROUNDOFF[dtype]


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("tanh", ["library", "polynomials"])
@pytest.mark.parametrize("sigmoid", SIGMOID)
def test_sigmoid_is_off_by_a_few_roundoffs(sigmoid, tanh, dtype):
    x = np.linspace(-45, 45, 4001).astype(dtype)
    nearest, rest = exact_values("sigmoid", x)
    off = np.abs(SIGMOID[sigmoid](x, TANH[tanh]).astype(np.longdouble) - nearest - rest)
    assert off.max() <= 4.5 * ROUNDOFF[dtype]


@pytest.mark.parametrize("n", [1, 7, 8, 30])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_of_sums_is_that_order(order, n):
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((3, n)).astype("f4"), rng.standard_normal((n, 5)).astype("f4")
    array_type = arithmetic_array_type(Arithmetic("1 / (1 + e^-a)", "library", order))
    product = (a.view(array_type) @ b).view(np.ndarray)
    assert product.dtype == np.float32
    np.testing.assert_allclose(product, a.astype(float) @ b.astype(float), atol=1e-5)
    np.testing.assert_allclose(
        a.view(array_type).sum(-1, keepdims=True).view(np.ndarray),
        a.astype(float).sum(-1, keepdims=True),
        atol=1e-5,
    )
    if order in ("forwards", "backwards"):
        total = np.zeros((3, 5), np.float32)
        for k in range(n) if order == "forwards" else reversed(range(n)):
            total = total + a[:, k : k + 1] * b[k]
        assert (product == total).all()


def test_the_finer_format_is_that_of_the_true_values():
    assert {FINER_DTYPE[d].itemsize > np.dtype(d).itemsize for d in ROUNDOFF} == {True}
