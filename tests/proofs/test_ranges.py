"""True statements about cell equations are proven; false ones are refuted or open."""

from __future__ import annotations

import importlib
import re
import sys

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, VARIANTS
from gatecheck.cells.gate_blocks import join
from gatecheck.errors import MissingExtraError
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import apply, misread, other, replaced, times
from gatecheck.oracles.ball_arithmetic import ctx
from gatecheck.proofs import ranges as of_ranges
from gatecheck.proofs.ranges import prove, prove_cell
from gatecheck.reference import equations, forward


def proofs_by_statement(cell, *edits):
    """Return the proofs about a cell with some edits, by statement."""
    return {p.statement: p for p in prove(EditedCell(cell, *edits).equations)}


@pytest.mark.parametrize("cell", [*CELLS.values(), *VARIANTS.values()], ids=str)
def test_everything_claimed_of_every_cell_is_proven(cell):
    results = prove_cell(cell)
    assert [p.outcome for p in results] == ["proved"] * len(results), [
        p for p in results if p.outcome != "proved"
    ]
    assert len(results) >= (1 if cell.kind == "rnn" else 3)
    assert all(p.box.startswith("all ") and p.topic == f"the equations of {cell}" for p in results)


def test_the_statements():
    assert [p.statement for p in prove_cell(LSTM())] == [
        "i, f, o in [0, 1]",
        "i, f, o in (0, 1)",
        "|g| ≤ 1",
        "c' is f c + i g with f and i in [0, 1], so |c'| ≤ |c| + 1, and |c_t| ≤ |c_0| + t",
        "|h'| ≤ 1",
        "|h'| < 1",
    ]
    hull = prove_cell(GRU("before"))[-1]
    assert (
        hull.statement
        == "h' is (1 - z) h + z n, so it lies between h and n, and |h_t| ≤ max(|h_0|, 1)"
    )
    assert (
        hull.box
        == "all real inputs, states and parameters, of any sizes, after any number of steps"
    )
    assert hull.detail.startswith("h' = (-z + 1) h + (z) n as polynomials")
    assert prove_cell(LSTM(layers=2, bidirectional=True)) == prove_cell(LSTM())
    assert all(prove_cell(cell) for cell in NETWORKS.values())


def test_the_bounds_need_their_bits(monkeypatch):
    """Strict bounds need the precision: with that of float64 the same gate may be 1."""
    monkeypatch.setattr(of_ranges, "PRECISIONS_BITS", (64,))
    results = {p.statement: p.outcome for p in prove_cell(GRU())}
    assert results["r, z in [0, 1]"] == "proved"
    assert results["r, z in (0, 1)"] == "not proved"


REFUTED = [
    (GRU(), "z on both", "h' is (1 - z) h"),
    (GRU("before"), "no tanh on n", "|n| ≤ 1"),
    (GRU(), "tanh on r", "r, z in [0, 1]"),
    (GRU(), "1 - z missing on the old state", "h' is (1 - z) h"),
    (LSTM(), "no tanh on c", "|h'| ≤ 1"),
    (LSTM(), "no sigmoid on o", "i, f, o in [0, 1]"),
    (LSTM(), "relu on g", "|g| ≤ 1"),
    (LSTM(), "i + g", "c' is f c + i g"),
    (LSTM(), "Keras's hard sigmoid on f", "i, f, o in (0, 1)"),
    (LSTM(coupled=True), "i is f", "c' is f c + (1 - f) g"),
    (LSTM(clip=0.5), "c clipped from above only", "|c'| ≤ 0.5"),
]


@pytest.mark.parametrize(
    ("cell", "fault", "statement"), REFUTED, ids=lambda v: v if isinstance(v, str) else str(v)
)
def test_a_fault_is_refuted_by_a_point(cell, fault, statement):
    edit = find(f"{cell}: {fault}").edit
    (wrong,) = [
        p for says, p in proofs_by_statement(cell, edit).items() if says.startswith(statement)
    ]
    assert wrong.outcome == "refuted"
    label, value, low, high, point = re.fullmatch(
        r"(\w+) is (\S+), but should be between (\S+) and (\S+), at (.*)", wrong.detail
    ).groups()
    # The equations break the bound there in floating point too.
    at = {k: np.array([[float(v)]]) for k, v in (part.split(" = ") for part in point.split(", "))}
    rest = {k: at.pop(k) for k in ("x", "h0", "c0") if k in at}
    params = join(cell, {k: v[0] if k[0] in "bc" else v for k, v in at.items()})
    (step,) = forward(apply(equations(cell), edit), params, rest.pop("x")[None], **rest)
    assert step[label].item() == pytest.approx(float(value), rel=1e-5)
    assert not float(low) < step[label].item() < float(high)


@pytest.mark.parametrize(
    ("cell", "edit", "outcome", "detail"),
    [
        (GRU(), misread("h", z=times(1.0000001, "z")), "refuted", "h is "),
        (GRU(), misread("h", z=lambda s: 1 - s.z), "refuted", "h is "),
        (
            GRU(),
            replaced(h=lambda s: s.h_prev + s.z * (s.n - s.h_prev)),
            "proved",
            "h' = (-z + 1) h + (z) n as polynomials",
        ),
        (LSTM(), replaced(c=lambda s: s.f * s.c_prev + s.i * s.g + 1e-30), "refuted", "c is "),
        (
            LSTM(),
            replaced(c=lambda s: s.f * s.c_prev + s.i * s.g + np.maximum(abs(s.g) - 1, 0)),
            "not proved",
            "c' is not linear in c",
        ),
        (LSTM(), misread("i", a_i=other("a_f")), "proved", "c' = (f) c + (i) g"),
        (
            LSTM(),
            replaced(i=lambda s: 1 + np.tanh(s.a_i)),
            "not proved",
            "of which a share may reach all of [0, 2]",
        ),
        (LSTM(), misread("c", i=other("f")), "refuted", "c is "),
        (
            LSTM(),
            replaced(c=lambda s: np.sin(s.a_g)),
            "not proved",
            "the equations cannot be evaluated on symbols",
        ),
    ],
)
def test_a_slip_that_cases_would_hardly_see_is_not_proven(cell, edit, outcome, detail):
    (proof,) = [
        p for says, p in proofs_by_statement(cell, edit).items() if says[1:].startswith("' is")
    ]
    assert (proof.outcome, detail in proof.detail) == (outcome, True), proof


def test_a_later_step_is_checked_too():
    """A fault that does not show in the first step is detected."""
    late = replaced(h=lambda s: s.o * s.m if s.before is None else 2 * s.o * s.m)
    results = proofs_by_statement(LSTM(), late)
    assert results["|h'| ≤ 1"].outcome == "refuted"
    assert results["i, f, o in (0, 1)"].outcome == "not proved"
    assert results["i, f, o in (0, 1)"].detail == "states may leave the box"


def test_a_fault_that_breaks_no_bound_leaves_the_proofs_standing():
    """Proofs concern bounds, not whether the cell is correct."""
    exchanged = misread("h", o=other("i"))
    assert {p.outcome for p in proofs_by_statement(LSTM(), exchanged).values()} == {"proved"}


def test_the_precision_is_given_back():
    before = ctx.prec
    prove(equations(GRU()))
    assert ctx.prec == before


def test_missing_python_flint_names_the_extra(monkeypatch):
    for name in [
        m
        for m in sys.modules
        if m.startswith(("gatecheck.proofs", "gatecheck.oracles.ball_arithmetic", "flint"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gatecheck\[certified\]"'):
        importlib.import_module("gatecheck.proofs.ranges")
