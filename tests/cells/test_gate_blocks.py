"""Blocks of gates: views of parameters, split and joined."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import CELLS
from gatecheck.cells.gate_blocks import block, join, split

D, H = 4, 5

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=str)


@every_cell
def test_blocks_are_views_in_the_order_of_the_gates(cell):
    G = len(cell.gates)
    matrix = np.arange(D * G * H).reshape(D, G * H)
    for k, gate in enumerate(cell.gates):
        view = block(cell, matrix, gate)
        np.testing.assert_array_equal(view, matrix[:, k * H : (k + 1) * H])
        assert np.shares_memory(view, matrix)


@every_cell
def test_join_is_the_inverse_of_split(cell):
    rng = np.random.default_rng(0)
    params = {k: rng.standard_normal(s) for k, s in cell.param_shapes(D, H).items()}
    blocks = split(cell, params)
    assert set(blocks) == {f"{name}_{gate}" for name in "WUb" for gate in cell.gates} | (
        {"c_n"} & set(params)
    )
    # A join in another order would show: no two blocks are equal.
    again = join(cell, blocks)
    assert again.keys() == params.keys()
    assert all(again[k].tobytes() == params[k].tobytes() for k in params)
