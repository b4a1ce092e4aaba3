"""Fixtures for comparing weights of a file with a case and gatecheck's own cells."""

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.kernels import Builtin
from gatecheck.kernels.builtin import KERNEL_CELLS
from gatecheck.reference import equations, run

SIZES = Sizes(T=6, B=2, D=3, H=4)


@pytest.fixture
def make_case():
    """Return a function that draws a case without initial states; all sizes differ."""
    return lambda name, dtype="float64": draw(
        as_cell(name), SIZES, seed=0, dtype=dtype, absent=("h0", "c0")
    )


@pytest.fixture
def assert_same_weights():
    """Return a check that a layer is bitwise equal to a case."""

    def check(layer, case):
        assert (layer.cell, layer.D, layer.H) == (case.cell, SIZES.D, SIZES.H)
        assert set(layer.params) == set(case.params)
        for name, a in layer.params.items():
            assert a.dtype == np.float64
            np.testing.assert_array_equal(a, case.params[name])

    return check


@pytest.fixture
def compute_outputs():
    """Return a function that computes y of a layer by equations, checked by kernels."""

    def outputs(layer, x):
        arrays = {"x": np.asarray(x, np.float64), **layer.params}
        y = run(equations(layer.cell), arrays)["y"]
        if layer.cell in KERNEL_CELLS:
            np.testing.assert_allclose(
                Builtin(layer.cell).forward(layer.params, arrays["x"])[0], y, rtol=0, atol=1e-13
            )
        return y

    return outputs
