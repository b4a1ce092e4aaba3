"""Edits change the equations that they name, and leave the rest and the original."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, RNN, Sizes
from gatecheck.cells.gate_blocks import block
from gatecheck.errors import UsageError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import (
    apply,
    both,
    exchanged,
    misread,
    other,
    replaced,
    times,
    transposed,
)
from gatecheck.faults.fault import Fault
from gatecheck.reference import equations, run

SIZES = Sizes(4, 3, 2, 5)


def case(cell):
    return draw(cell, SIZES, seed=11, dtype="float64")


def results(cell, *edits, **arrays):
    given = case(cell).replace(**arrays).arrays
    return run(apply(equations(cell), *edits), given)


def equal(a, b):
    """Return whether two results are equal bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_constant_is_read_in_place_of_a_symbol():
    b = case(LSTM())["b"].copy()
    block(LSTM(), b, "f")[:] = 0
    assert equal(results(LSTM(), misread("a_f", b_f=0)), results(LSTM(), b=b))


def test_misread_changes_the_named_equations_only():
    plain, wrong = (
        equations(LSTM()),
        apply(equations(LSTM()), misread("a_f df", b_f=0, c_prev=other("c"))),
    )
    changed = {
        k
        for part in ("step", "back", "total")
        for k, e in getattr(plain, part).items()
        if getattr(wrong, part)[k] is not e
    }
    assert changed == {"a_f", "df"}


def test_edits_leave_the_original_unchanged():
    before = results(GRU())
    results(GRU(), misread("h", z=1))
    assert equal(results(GRU()), before)


@pytest.mark.parametrize(
    ("reading", "U"),
    [
        (transposed("U_n"), lambda U: U.T),
        (times(2, "U_n"), lambda U: 2 * U),
        (lambda s: -s.U_n, lambda U: -U),
    ],
    ids=["transposed", "times", "function"],
)
def test_readings_of_a_matrix(reading, U):
    edit = both(misread("a_n", U_n=reading), misread("dh_prev", U_n=reading))
    assert equal(results(RNN(), edit), results(RNN(), U=U(case(RNN())["U"])))


def test_both_edits_of_one_equation_are_made():
    twice = both(misread("a_n", b_n=0), misread("a_n", U_n=transposed("U_n")))
    assert equal(
        results(RNN(), twice), results(RNN(), misread("a_n", b_n=0, U_n=transposed("U_n")))
    )
    assert equal(
        results(RNN(), twice),
        results(RNN(), misread("a_n", b_n=0), misread("a_n", U_n=transposed("U_n"))),
    )


@pytest.mark.parametrize("cell", [c for c in CELLS.values() if len(c.gates) > 1], ids=str)
@pytest.mark.parametrize("parts", ["W", "U", "b", "WUb"])
def test_exchanged_blocks(cell, parts):
    """Gates that read each other's blocks are a correct cell with exchanged blocks."""
    first, last = cell.gates[0], cell.gates[-1]
    arrays = {part: case(cell)[part].copy() for part in parts}
    for part, a in arrays.items():
        block(cell, a, first)[...], block(cell, a, last)[...] = (
            block(cell, case(cell)[part], k) for k in (last, first)
        )
    right, wrong = results(cell, **arrays), results(cell, exchanged(parts, first, last))
    for name in ("y", "hT"):
        # The same operations on the same numbers, but for the order of the columns in a product.
        np.testing.assert_allclose(wrong[name], right[name], rtol=0, atol=1e-13)


def test_an_edit_made_twice_is_made_once():
    """A misreading replaces what a symbol stands for.

    So the second one finds what the first has put there.
    """
    swap = exchanged("WUb", "r", "n")
    assert equal(results(GRU(), swap, swap), results(GRU(), swap))
    assert not equal(results(GRU(), swap), results(GRU()))


def test_unknown_equations_are_refused():
    with pytest.raises(UsageError, match="a gru has no equation c"):
        apply(equations(GRU()), replaced(c=other("h")))


@pytest.mark.parametrize("cell", CELLS.values(), ids=str)
def test_without_edits_it_is_the_reference(cell):
    given = case(cell)
    right = results(cell)
    initial = [given.get("h0"), given.get("c0")]
    forward = EditedCell(cell).forward(given.params, given["x"], *initial)
    backward = EditedCell(cell).backward(
        given.params, given["x"], *initial, *(given.get(k) for k in ("dy", "dhT", "dcT"))
    )
    seen = dict(zip(("y", "hT", "cT"), forward, strict=False)) | {
        f"d{k}": v for k, v in backward.items()
    }
    assert equal({k: seen[k] for k in right}, right)


def test_a_fault_that_changes_nothing_cannot_be_planted():
    with pytest.raises(UsageError, match="changes nothing"):
        Fault("nothing", "gru", "It does nothing.").inject()


TARGETS = [
    EditedCell(RNN(), misread("a_n", b_n=0)),
    EditedCell(LSTM(peepholes=True), misread("dc_prev", f=1)),
    EditedCell(GRU(layers=2, bidirectional=True)),
]


def inputs(given):
    """Return the arguments of a forward, in order; c0 is None if there is none."""
    return given.params, given["x"], given["h0"], given.get("c0")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize(
    "values",
    [np.array([0.5, -2.0, 1e3]), np.array([1e-200j, 1 - 1j, 0.25])],
    ids=["real", "complex"],
)
def test_many_replaced_entries_give_what_each_gives(target, values):
    given, entries = case(target.cell), np.array([0, 3, 1])
    for name in given.inputs:
        many = target.forward_each(name, entries, values, *inputs(given))
        for k in range(3):
            changed = given[name].astype(values.dtype)
            changed.reshape(-1)[entries[k]] = values[k]
            for found, expected in zip(
                many,
                target.forward(*inputs(given.with_arrays({**given.arrays, name: changed}))),
                strict=True,
            ):
                np.testing.assert_allclose(found[k], expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_many_cotangents_give_what_each_gives(target):
    given = case(target.cell)
    cotangents = {k: np.stack([given[k], 0 * given[k], -2 * given[k]]) for k in given.cotangents}
    many = target.backward_each(*inputs(given), **cotangents)
    for k in range(3):
        alone = target.backward(
            *inputs(given),
            *(cotangents[d][k] if d in cotangents else None for d in ("dy", "dhT", "dcT")),
        )
        assert many.keys() == alone.keys()
        for name, gradient in alone.items():
            np.testing.assert_allclose(many[name][k], gradient, rtol=1e-13, atol=1e-15)
