"""Certified cells: against formulas in mpmath, and against the reference."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from flint import arb, ctx

from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, RNN, VARIANTS, Sizes
from gatecheck.certified.cells import certify
from gatecheck.checking.budgets import case_budget, reference_results
from gatecheck.errors import InputError
from gatecheck.oracles.complex_step import directional
from gatecheck.reference import equations, network_forward

SIZES = Sizes(T=5, B=2, D=2, H=3)

EVERY = (CELLS | VARIANTS | NETWORKS).values()

DIGITS = 100

# ---- against formulas of a few lines in mpmath: one unit, one input, three steps


def sigma(a):
    return 1 / (1 + mpmath.exp(-a))


def rnn(p, x, h, c):
    return mpmath.tanh(p["W"][0] * x + p["U"][0] * h + p["b"][0]), c


def gru(p, x, h, c):
    r, z = (sigma(p["W"][k] * x + p["U"][k] * h + p["b"][k]) for k in (0, 1))
    n = mpmath.tanh(p["W"][2] * x + p["b"][2] + r * (p["U"][2] * h + p["c_n"][0]))
    return z * n + (1 - z) * h, c


def lstm(p, x, h, c):
    i, f, g, o = (p["W"][k] * x + p["U"][k] * h + p["b"][k] for k in range(4))
    c = sigma(f) * c + sigma(i) * mpmath.tanh(g)
    return sigma(o) * mpmath.tanh(c), c


def gru_of_the_other_polarity(p, x, h, c):
    r, z = (sigma(p["W"][k] * x + p["U"][k] * h + p["b"][k]) for k in (0, 1))
    n = mpmath.tanh(p["W"][2] * x + p["b"][2] + r * (p["U"][2] * h + p["c_n"][0]))
    return (1 - z) * n + z * h, c


def lstm_off_by_1e_30(p, x, h, c):
    i, f, g, o = (p["W"][k] * x + p["U"][k] * h + p["b"][k] for k in range(4))
    c = sigma(f) * c + sigma(i) * mpmath.tanh(g) * (1 + mpmath.mpf(10) ** -30)
    return sigma(o) * mpmath.tanh(c), c


class Numbers:
    """A case of one unit as lists of mpmath's numbers, and a formula's results."""

    def __init__(self, case):
        self.lists = {
            k: [mpmath.mpf(v) for v in a.ravel().tolist()] for k, a in case.arrays.items()
        }

    def outputs(self, step):
        h, c = self.lists["h0"][0], self.lists.get("c0", [0])[0]
        ys = []
        for x in self.lists["x"]:
            h, c = step(self.lists, x, h, c)
            ys.append(h)
        return {"y": ys, "hT": [h], "cT": [c]}

    def loss(self, step):
        return sum(
            d * v
            for k, a in self.outputs(step).items()
            for d, v in zip(self.lists.get(f"d{k}", [0] * len(a)), a, strict=True)
        )

    def slope(self, step, name, k):
        """Return a central difference at 250 digits, of which 160 are right."""
        numbers, h = self.lists[name], mpmath.mpf(10) ** -80
        here = numbers[k]
        numbers[k] = here + h
        up = self.loss(step)
        numbers[k] = here - h
        down = self.loss(step)
        numbers[k] = here
        return (up - down) / (2 * h)


def one_unit(cell):
    case = draw(cell, Sizes(T=3, B=1, D=1, H=1), seed=3, dtype="float64")
    return case, certify(case), Numbers(case)


def ball(number):
    return arb(mpmath.nstr(number, DIGITS))


@pytest.mark.parametrize(
    ("cell", "step"),
    [(RNN(), rnn), (GRU(), gru), (LSTM(), lstm)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_enclosures_contain_mpmaths_digits(cell, step):
    with mpmath.workdps(250), ctx.workprec(400):
        case, found, numbers = one_unit(cell)
        for name in ("y", *(f"{k}T" for k in cell.state)):
            for enclosed, number in zip(
                found.enclosures[name].ravel(), numbers.outputs(step)[name], strict=True
            ):
                assert enclosed.contains(ball(number)), name
                assert enclosed.rad() < 1e-30
        for name in case.inputs:
            for k, enclosed in enumerate(found.enclosures[f"d{name}"].ravel()):
                assert enclosed.contains(ball(numbers.slope(step, name, k))), (name, k)
                assert enclosed.rad() < 1e-30


@pytest.mark.parametrize(
    ("cell", "step"),
    [(GRU(), gru_of_the_other_polarity), (LSTM(), lstm_off_by_1e_30)],
    ids=["gru", "lstm"],
)
def test_a_wrong_formula_falls_outside(cell, step):
    with mpmath.workdps(250), ctx.workprec(400):
        _, found, numbers = one_unit(cell)
        for name in ("y", "hT"):
            for enclosed, number in zip(
                found.enclosures[name].ravel(), numbers.outputs(step)[name], strict=True
            ):
                assert not enclosed.overlaps(ball(number)), name
        assert not found.enclosures["dW"][0, 2].overlaps(ball(numbers.slope(step, "W", 2)))


# ---- against the reference


@pytest.mark.parametrize("cell", EVERY, ids=str)
@pytest.mark.parametrize(
    "how",
    [{}, {"ragged": True}, {"absent": ("h0", "c0", "dhT")}],
    ids=lambda how: next(iter(how), "whole"),
)
def test_the_reference_is_within_its_budget_and_a_few_ulps(cell, how):
    case = draw(cell, SIZES, seed=5, dtype="float64", **how)
    found, budget = certify(case), case_budget(case)
    assert found.undecided == []
    assert found.bits == 128
    values = found.values["float64"]
    assert values.keys() == budget.exact.keys()
    for name, value in values.items():
        error = found.absolute_errors(name, budget.exact[name])
        assert value.shape == budget.exact[name].shape
        assert (error <= budget.tolerance[name]).all(), name
        assert (error <= 16 * np.spacing(abs(value).max(initial=0))).all(), name
        # One is nearest in float32, the other in float64, so they are half a unit of float32 apart
        # and half of one of float64.
        apart = abs(found.values["float32"][name] - value)
        assert (apart <= np.spacing(abs(value).astype("float32")) * 0.5000001).all(), name


@pytest.mark.parametrize("cell", [c for c in EVERY if "analytic" in c.traits], ids=str)
def test_gradients_are_the_complex_step_of_another_forward(cell):
    case = draw(cell, SIZES, seed=6, dtype="float64")
    found = certify(case).values["float64"]
    rng = np.random.default_rng(0)
    direction = {name: rng.choice([-1.0, 1.0], case[name].shape) for name in case.inputs}

    def loss(**arrays):
        results, _ = network_forward(equations(cell), arrays)
        return np.array(sum((results[k[1:]] * case[k]).sum() for k in case.cotangents))

    slope = directional(loss, {name: case[name] for name in case.inputs}, direction)
    terms = [found[f"d{name}"] * v for name, v in direction.items()]
    # Both are sums of products, each off by tens of roundings.
    assert abs(slope - sum(a.sum() for a in terms)) < 1e-13 * sum(abs(a).sum() for a in terms)


def test_outputs_without_gradients():
    case = draw(
        LSTM(projection=2, layers=2, bidirectional=True),
        SIZES,
        seed=7,
        dtype="float32",
        ragged=True,
    )
    both, outputs = certify(case).values, certify(case, gradients=False).values
    assert set(outputs["float32"]) == {"y", "hT", "cT"}
    for dtype, arrays in outputs.items():
        for name, value in arrays.items():
            np.testing.assert_array_equal(value, both[dtype][name])


# ---- edges


@pytest.mark.parametrize("sizes", [Sizes(0, 2, 2, 3), Sizes(3, 0, 2, 3), Sizes(1, 1, 1, 1)])
@pytest.mark.parametrize("cell", [GRU(), LSTM(layers=2, bidirectional=True)], ids=str)
def test_empty_and_smallest_cases(cell, sizes):
    case = draw(cell, sizes, seed=1, dtype="float64")
    found, expected = certify(case).values["float64"], reference_results(case)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-14, atol=0, err_msg=name)


def test_padding_has_no_effect():
    case = draw(GRU(), SIZES, seed=5, dtype="float64", ragged=True)
    after = np.arange(SIZES.T)[:, None] >= case["lengths"]
    assert after.any()
    x = case["x"].copy()
    x[after] = np.nan
    found, before = certify(case.replace(x=x)).values["float64"], certify(case).values["float64"]
    for name, value in before.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert (found["dx"][after] == 0).all()
    with pytest.raises(InputError, match="x holds nan"):
        certify(draw(GRU(), SIZES, seed=5, dtype="float64").replace(x=x))


@pytest.mark.parametrize(
    ("cell", "gate", "bias", "bits"),
    [
        (GRU(), "z", 1000.0, 128),
        (LSTM(), "f", 1000.0, 128),
        (LSTM(), "f", -1000.0, 128),
        (LSTM(coupled=True), "f", 1000.0, 128),
        (LSTM(coupled=True), "f", -1000.0, 128),
        # dh0 is the sum of all dy, which may be a tie; that the gate is not quite 0 breaks it, in
        # the 1443rd bit.
        (GRU(), "z", -1000.0, 2048),
    ],
    ids=str,
)
def test_saturated_gates_cost_no_precision(cell, gate, bias, bits):
    case = draw(cell, SIZES, seed=5, dtype="float64").with_gate(gate, bias)
    found = certify(case)
    assert (found.undecided, found.bits) == ([], bits)
    size = max(abs(v).max() for v in found.values["float64"].values())
    assert all(
        abs(v - found.values["float64"][k]).max() < 1e-13 * size
        for k, v in reference_results(case).items()
    )


def test_a_gate_of_almost_one_loses_no_digits():
    case = (
        draw(GRU("before"), SIZES, seed=5, dtype="float64")
        .with_gate("n", 0.5, weights=False)
        .with_gate("z", 100.0, weights=False)
    )
    found = certify(case)
    assert (found.undecided, found.bits) == ([], 128)
    kept = np.exp(-100.0 * (1 + np.arange(SIZES.T)))[:, None, None] * case["dy"]
    np.testing.assert_allclose(
        found.values["float64"]["dh0"], kept.sum(0) + np.exp(-500.0) * case["dhT"], rtol=1e-12
    )


def test_zeros_are_exact():
    case = draw(LSTM(), Sizes(1, 2, 2, 3), seed=5, dtype="float64", absent=("h0", "c0"))
    found = certify(case)
    assert (found.undecided, found.bits) == ([], 128)
    assert (found.values["float64"]["dU"] == 0).all()


def test_a_unit_on_its_kink_has_a_value_and_no_gradient():
    case = draw(RNN("relu"), Sizes(1, 1, 2, 2), seed=5, dtype="float64")
    zero = {k: case[k].copy() for k in ("W", "U", "b")}
    for a in zero.values():
        a[..., 0] = 0
    found = certify(case.replace(**zero), max_bits=256)
    assert found.values["float64"]["y"][0, 0, 0] == 0
    assert found.bits == 256
    undecided = ["dW[0, 0]", "dW[1, 0]", "dU[0, 0]", "dU[1, 0]", "db[0]"]
    assert found.undecided == undecided  # dx and dh0 go by weights that are zero
