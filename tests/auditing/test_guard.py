"""The guard names what hides in a case: zero states, one step, equal weights."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.auditing.guard import untold
from gatecheck.blocks import block
from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, RNN, Sizes


def names(*cases):
    return {fault.name for fault in untold(cases)}


def drawn(cell, T=5, dtype="float64", seed=1):
    return draw(cell, Sizes(T, 3, 4, 6), seed=seed, dtype=dtype)


@pytest.mark.parametrize("cell", [RNN(), GRU(), LSTM()], ids=str)
def test_cases_as_they_are_drawn_tell_all_but_what_needs_large_numbers_or_many_steps(cell):
    left = names(drawn(cell), drawn(cell, seed=2).having(dhT=None))
    assert all("overflows" in name or "truncated after" in name for name in left), left


def test_a_zero_state_hides_it_and_what_it_meets():
    zero = drawn(LSTM()).having(h0=np.zeros((3, 6)), c0=np.zeros((3, 6)))
    first = drawn(LSTM(), T=1)
    assert "h0 ignored" in names(zero)
    assert "h0 ignored" not in names(first)
    one = first.having(h0=np.zeros((3, 6)), c0=np.zeros((3, 6)))
    hidden = names(one)
    assert {"i/f swapped in U", "U_f transposed", "dc not carried"} <= hidden
    assert "i/f swapped in W" not in hidden
    assert not {"i/f swapped in U", "U_f transposed"} & names(one, drawn(LSTM()))


def test_equal_blocks_hide_a_swap():
    case = drawn(LSTM())
    equal = {k: case[k].copy() for k in ("W", "U", "b")}
    for array in equal.values():
        block(LSTM(), array, "f")[...] = block(LSTM(), array, "i")
    assert "i/f swapped" in names(case.having(**equal))
    assert "i/f swapped" not in names(case)


def test_single_precision_hides_rounding_to_it():
    assert "i in float32" in names(drawn(LSTM(), dtype="float32"))
    assert "i in float32" not in names(drawn(LSTM()))


def test_no_cases_tell_nothing_of_no_cell():
    assert untold([]) == []
