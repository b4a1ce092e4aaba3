"""The reference, against the kernels and complex steps, and in edge cases."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cases import draw, optional_arrays
from gatecheck.cells import CELLS, GRU, LSTM, RNN, Sizes
from gatecheck.checking.budgets import case_budget, reference_results
from gatecheck.errors import LostNoiseError, UsageError
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from gatecheck.oracles.rounding import run_replicates
from gatecheck.reference import backward, equations, forward, outputs, run
from gatecheck.reference.scope import Scope

SIZES = Sizes(T=6, B=2, D=3, H=4)

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=str)


def draw_arrays(cell, sizes=SIZES, dtype="float64", **how):
    return dict(draw(cell, sizes, seed=5, dtype=dtype, **how).arrays)


def result_names(cell):
    return {
        "y",
        *(f"{k}T" for k in cell.state),
        *(f"d{k}" for k in (*cell.param_shapes(1, 1), "x", *(f"{s}0" for s in cell.state))),
    }


# ---- against the kernels


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_are_within_the_budget(cell, dtype):
    case = draw(cell, SIZES, seed=5, dtype=dtype)
    got, budget = subject(Builtin(cell)).run(case), case_budget(case)
    assert got.keys() == budget.exact.keys() == result_names(cell)
    for name in got:
        assert (abs(got[name] - budget.exact[name]) <= budget.tolerance[name]).all(), name
        if dtype == "float64":
            # The same to some tens of roundings, over six contracting steps.
            np.testing.assert_allclose(
                got[name],
                budget.exact[name],
                rtol=0,
                atol=1e-12 * abs(got[name]).max(),
                err_msg=name,
            )


@every_cell
def test_exact_equals_the_exact_run_of_the_budget(cell):
    case = draw(cell, SIZES, seed=6, dtype="float32")
    budget = case_budget(case)
    assert all(
        (v == budget.exact[k]).all() and v.dtype == "float64"
        for k, v in reference_results(case).items()
    )


def test_equal_cases_are_measured_once():
    first, second = (draw(LSTM(), SIZES, seed=8, dtype="float32") for _ in range(2))
    assert case_budget(first) is case_budget(second)
    assert case_budget(first) is not case_budget(draw(LSTM(), SIZES, seed=9, dtype="float32"))


# ---- against itself

STEP = 1e-100


@every_cell
def test_every_gradient_is_the_complex_step_of_the_forward(cell):
    given = draw_arrays(cell, Sizes(T=4, B=2, D=2, H=3))
    got = run(equations(cell), given)
    weights = {name: given[f"d{name}"] for name in ("y", *(f"{k}T" for k in cell.state))}
    for name in (*cell.param_shapes(1, 1), "x", *(f"{k}0" for k in cell.state)):
        # One replicate per entry: the leading axis is that of the Jacobian.
        array = given[name]
        perturbed = array + 1j * STEP * np.eye(array.size).reshape(array.size, *array.shape)
        replicated = {
            k: np.broadcast_to(v.astype(complex), (array.size, *v.shape)) for k, v in given.items()
        } | {name: perturbed}
        out = run(equations(cell), replicated)
        slope = (
            sum((out[k].imag * w).sum(axis=tuple(range(1, 1 + w.ndim))) for k, w in weights.items())
            / STEP
        )
        # Both are sums of products, each off by tens of roundings.
        np.testing.assert_allclose(
            got[f"d{name}"].ravel(), slope, rtol=1e-11, atol=1e-13 * abs(slope).max(), err_msg=name
        )


@every_cell
@pytest.mark.parametrize("lead", [(3,), (2, 2)], ids=str)
@pytest.mark.parametrize("T", [0, 1, 5])
def test_replicates_are_separate_runs(cell, lead, T):
    count = int(np.prod(lead))
    alone = [
        dict(draw(cell, SIZES._replace(T=T), seed=k, dtype="float64").arrays) for k in range(count)
    ]
    together = {
        k: np.stack([a[k] for a in alone]).reshape(*lead, *alone[0][k].shape) for k in alone[0]
    }
    got, want = run(equations(cell), together), [run(equations(cell), a) for a in alone]
    assert got.keys() == result_names(cell)
    for name, array in got.items():
        assert array.shape == (*lead, *want[0][name].shape), name
        for k, one in enumerate(array.reshape(count, *want[0][name].shape)):
            # BLAS and NumPy's loops may sum in another order for a stack: some roundings.
            np.testing.assert_allclose(one, want[k][name], rtol=1e-12, atol=1e-13, err_msg=name)


@every_cell
@pytest.mark.parametrize("name", ["W", "U", "b", "x", "h0", "dy", "dhT"])
def test_one_replicated_array_replicates_what_depends_on_it(cell, name):
    given = draw_arrays(cell)
    both = np.stack([given[name], 0.5 * given[name]])
    got = run(equations(cell), given | {name: both})
    for k, factor in enumerate((1, 0.5)):
        want = run(equations(cell), given | {name: factor * given[name]})
        for key, array in want.items():
            part = got[key][k] if got[key].ndim > array.ndim else got[key]
            np.testing.assert_allclose(part, array, rtol=1e-12, atol=1e-13, err_msg=key)
    assert got["dx"].shape == (2, *given["x"].shape)


@every_cell
@pytest.mark.parametrize("dtype", ["complex128", "longdouble", "float64", "float32"])
def test_the_dtype_is_kept(cell, dtype):
    given = {k: v.astype(dtype) for k, v in draw_arrays(cell).items()}
    got, double = run(equations(cell), given), run(equations(cell), draw_arrays(cell))
    eps = max(np.finfo(dtype).eps, np.finfo(float).eps)
    for name, array in got.items():
        assert array.dtype == dtype, name
        # Some tens of roundings of the less precise of the two, over six contracting steps.
        np.testing.assert_allclose(
            array, double[name], rtol=0, atol=100 * eps * abs(double[name]).max(), err_msg=name
        )


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps == np.finfo(float).eps, reason="here long double is double"
)
@pytest.mark.parametrize("cell", [CELLS["gru"], CELLS["lstm"], CELLS["rnn-sigmoid"]], ids=str)
def test_long_double_is_more_than_double(cell):
    given = draw_arrays(cell)
    wide = run(equations(cell), {k: v.astype("longdouble") for k, v in given.items()})["dU"]
    error = abs(run(equations(cell), given)["dU"] - wide).max()
    assert 0 < error < 1e-13
    assert (wide != wide.astype("float64")).any(), "no step on the way rounded to double"


# ---- edges


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("states", [True, False])
def test_no_steps(cell, dtype, states):
    given = {
        k: v.astype(dtype)
        for k, v in draw_arrays(
            cell, SIZES._replace(T=0), absent=() if states else ("h0", "c0")
        ).items()
    }
    got = run(equations(cell), given)
    assert got.keys() == result_names(cell)
    assert (got["y"].shape, got["dx"].shape) == ((0, 2, 4), (0, 2, 3))
    for k in cell.state:
        np.testing.assert_array_equal(got[f"{k}T"], given.get(f"{k}0", np.zeros((2, 4))))
        np.testing.assert_array_equal(got[f"d{k}0"], given[f"d{k}T"])
    for k in cell.param_shapes(1, 1):
        assert got[f"d{k}"].shape == given[k].shape
        assert not got[f"d{k}"].any()
    assert all(a.dtype == dtype for a in got.values())


@every_cell
def test_no_rows(cell):
    given = draw_arrays(cell, SIZES._replace(B=0))
    got = run(equations(cell), given)
    assert got["y"].shape == (6, 0, 4)
    for k in ("x", *(f"{s}0" for s in cell.state), *cell.param_shapes(1, 1)):
        assert got[f"d{k}"].shape == given[k].shape
    assert not any(got[f"d{k}"].any() for k in cell.param_shapes(1, 1))


@every_cell
@pytest.mark.parametrize("T", [0, 1, 6])
def test_absent_arrays_are_zero(cell, T):
    given = draw_arrays(cell, SIZES._replace(T=T))
    for name in [*optional_arrays(cell), None]:
        omitted = set(optional_arrays(cell)) if name is None else {name}
        absent = run(equations(cell), {k: v for k, v in given.items() if k not in omitted})
        zero = run(equations(cell), given | {k: np.zeros_like(given[k]) for k in omitted})
        assert absent.keys() == zero.keys()
        for key in zero:
            np.testing.assert_array_equal(
                absent[key], zero[key], err_msg=f"{key} without {omitted}"
            )


@every_cell
def test_the_parts_are_the_run(cell):
    given, mathematics = draw_arrays(cell), equations(cell)
    params = {k: given[k] for k in cell.param_shapes(1, 1)}
    initial = {f"{k}0": given[f"{k}0"] for k in cell.state}
    steps = forward(mathematics, params, given["x"], **initial)
    assert [s.t for s in steps] == list(range(6))
    assert steps[3].before is steps[2]
    out = outputs(mathematics, steps, given["x"], params, **initial)
    out |= backward(
        mathematics,
        steps,
        given["x"],
        params,
        **{k: given[k] for k in ("dy", "dhT", "dcT") if k in given},
    )
    whole = run(mathematics, given)
    assert out.keys() == whole.keys()
    assert all((out[k] == whole[k]).all() for k in whole)


@pytest.mark.parametrize(
    "cell", [RNN("relu"), RNN(), RNN("sigmoid"), GRU(), GRU("before"), LSTM()], ids=str
)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_nan_stays_nan_and_in_its_row(cell, dtype):
    given = {k: v.astype(dtype) for k, v in draw_arrays(cell).items()}
    clean = run(equations(cell), given)
    given["x"] = given["x"].copy()
    given["x"][2, 1, 0] = np.nan
    with np.errstate(invalid="ignore"):  # NumPy warns of NaN in a complex product
        got = run(equations(cell), given)
    assert np.isnan(got["y"][2:, 1]).all()
    assert np.isnan(got["hT"][1]).all()
    np.testing.assert_array_equal(got["y"][:2], clean["y"][:2])
    # BLAS may choose another kernel for a row next to a NaN; here it does not.
    np.testing.assert_array_equal(got["y"][:, 0], clean["y"][:, 0])
    assert np.isnan(got["dW"]).any()


@pytest.mark.parametrize("x", [1000.0, 1e30])
@pytest.mark.parametrize(
    "cell", [cell for cell in CELLS.values() if "bounded" in cell.traits], ids=str
)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_large_inputs_saturate(cell, x, dtype):
    given = {k: v.astype(dtype) for k, v in draw_arrays(cell).items()}
    with np.errstate(over="raise", invalid="raise"):
        got = run(equations(cell), given | {"x": x * given["x"]})
    assert all(np.isfinite(a).all() for a in got.values())
    # Apart from a rounding, no value of tanh exceeds one, nor does an LSTM's o tanh(c).
    assert (abs(got["y"].real) <= 1 + 1e-15).all()


# ---- equations as data


@every_cell
def test_an_edit_replaces_one_equation_in_its_place(cell):
    mathematics = equations(cell)
    edited = mathematics.edited({"h": lambda s: 0 * s.x[..., :1] + s.h0})
    for part in ("step", "back", "total"):
        assert list(getattr(edited, part)) == list(getattr(mathematics, part))
        assert [
            k for k, e in getattr(edited, part).items() if e is not getattr(mathematics, part)[k]
        ] == (["h"] if part == "step" else [])
    given = draw_arrays(cell)
    assert (run(edited, given)["y"] == given["h0"]).all()
    assert not (run(mathematics, given)["y"] == given["h0"]).any()


def test_an_edit_reaches_every_part():
    mathematics = equations(GRU())
    given, nothing = draw_arrays(GRU()), lambda s: 0 * s.dy
    assert not run(mathematics.edited({"dz": nothing}), given)["dW"][:, 4:8].any()
    doubled = mathematics.edited({"dW_r": lambda q: 2 * mathematics["dW_r"](q)})
    np.testing.assert_array_equal(
        run(doubled, given)["dW"][:, :4], 2 * run(mathematics, given)["dW"][:, :4]
    )


@pytest.mark.parametrize(
    ("cell", "edits", "message"),
    [
        (LSTM(), ["a_z"], "a lstm has no equation a_z"),
        (GRU("before"), ["dc_n", "h", "c"], "a gru-before has no equation c, dc_n"),
        (RNN("relu"), ["da_r"], "a rnn-relu has no equation da_r"),
    ],
)
def test_an_edit_of_an_unknown_equation_is_an_error(cell, edits, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        equations(cell).edited(dict.fromkeys(edits, lambda s: s.x))


@every_cell
def test_a_missing_term_lists_the_available_terms(cell):
    early = equations(cell).edited({"h": lambda s: s.h_next})
    with pytest.raises(
        AttributeError,
        match=r"no term 'h_next' here yet; there are W_.*, x, t, T, before, after, .*h_prev",
    ):
        run(early, draw_arrays(cell))


def test_a_scope_can_be_read_as_something_else():
    scope = Scope(a=1, b=2)
    other = scope.reading(b=3, c=4)
    assert (scope.b, other.a, other["b"], other.c) == (2, 1, 3, 4)
    with pytest.raises(AttributeError, match="no term 'c' here yet; there are a, b"):
        _ = scope["c"]


NOISE_LOSING_EQUATIONS = {
    "h": lambda s: np.asarray(s.x[..., :1] + s.h_prev).view(np.ndarray),
    "dh": lambda s: np.array(s.dy + s.dh_next),
    "db_n": lambda q: np.sum(np.asarray(q.da_n).view(np.ndarray), axis=(0, -2))[..., None, :],
}


@pytest.mark.parametrize("term", NOISE_LOSING_EQUATIONS)
def test_an_equation_that_loses_the_noise_is_named(term):
    careless = equations(GRU()).edited({term: NOISE_LOSING_EQUATIONS[term]})
    given = draw_arrays(GRU())
    assert run(careless, given).keys() == result_names(GRU())
    with pytest.raises(
        LostNoiseError, match=rf"the term {term} is a ndarray, but should be a Noisy like x"
    ):
        run_replicates(lambda a: run(careless, a), given, {}, "float32", 0)


def test_an_array_class_that_numpy_drops_is_an_error():
    class Plain(np.ndarray):
        """An array class without __array_function__: np.stack returns the base class."""

    given = {k: v.view(Plain) for k, v in draw_arrays(LSTM()).items()}
    with pytest.raises(LostNoiseError, match="is a ndarray, but should be a Plain like x"):
        run(equations(LSTM()), given)


@every_cell
@pytest.mark.parametrize("T", [0, 1, 3])
def test_every_result_of_a_noisy_run_is_noisy(cell, T):
    # A result without noise raises LostNoiseError.
    got = run_replicates(
        lambda a: run(equations(cell), a), draw_arrays(cell, SIZES._replace(T=T)), {}, "float32", 0
    )
    assert got.keys() == result_names(cell)
    if T:
        assert all((np.ptp(v, axis=0) > 0).any() for v in got.values())
