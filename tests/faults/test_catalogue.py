"""Every fault of the catalogue can be made, shows, and has a description."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import CELLS, NETWORKS, VARIANTS, Sizes, as_cell
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults, find, mutants
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import apply
from gatecheck.faults.fault import Fault
from gatecheck.implementation import subject
from gatecheck.reference import equations, run

SIZES = Sizes(3, 4, 2, 7)
EVERY_CELL = [*CELLS, *VARIANTS, *NETWORKS]
SOURCE = re.compile(r"[\w.-]+/[\w.-]+(#| PR )\d+")

# Rewriting 1 - (1 - z) as z changes a result by some units in the last place, at most a few
# thousand after five steps.
SAME_RTOL = {"float64": 1e-12, "float32": 1e-4, "int64": 0.0}


def reversed_memory(array):
    """Return the same values with the memory in the opposite order."""
    return np.asfortranarray(array)


def arguments(case, layout=np.copy):
    """Return the arguments of a call.

    They are params, x, the initial states, the cotangents, and lengths if there are any.
    """
    optional = {
        k: None if case.get(k) is None else layout(case[k])
        for k in ("h0", "c0", "dy", "dhT", "dcT")
    }
    lengths = {} if case.get("lengths") is None else {"lengths": case["lengths"].copy()}
    return (
        {"params": {k: layout(v) for k, v in case.params.items()}, "x": layout(case["x"])}
        | optional
        | lengths
    )


def call(planted, given):
    """Return all that can be observed of one forward and one backward.

    It is the results or the exception, and the arguments afterwards.
    """
    layer = subject(planted)
    lengths = given.get("lengths")
    taken = given | {
        k: layer.to_layout(given[k], lengths)
        for k in ("x", "dy")
        if layer.options and given[k] is not None
    }
    forward = {k: taken[k] for k in ("params", "x", "h0", "c0", "lengths") if k in taken}
    try:
        seen = dict(zip(("y", "hT", "cT"), planted.forward(**forward), strict=False))
        seen |= {f"d{k}": v for k, v in planted.backward(**taken).items()}
    except ValueError as error:
        return {"raised": str(error)}, given
    return seen | {
        k: layer.from_layout(seen[k], lengths) for k in ("y", "dx") if layer.options
    }, given


@cache
def detecting_cases(cell):
    """Return cases that together detect every fault, each with its array layout.

    The plain one is the first.
    """
    plain, other, strong, saturated = (
        draw(cell, SIZES, seed=seed, dtype="float64", regime=regime)
        for seed, regime in enumerate(("generic", "generic", "strong", "saturated"), start=1)
    )
    hot = plain.replace(x=1e3 * plain["x"])
    row = plain["x"].copy()
    row[1, 2, 0] = np.nan
    no_rows = {k: v[..., :0, :] for k, v in plain.arrays.items() if k not in plain.params}
    one_row = {k: v[..., :1, :] for k, v in plain.arrays.items() if k not in plain.params}
    drawn = [draw(cell, SIZES, seed=seed, dtype="float64", ragged=True) for seed in (7, 8)]
    past = np.arange(SIZES.T)[:, None] >= drawn[0]["lengths"]
    ragged = [*drawn, drawn[0].replace(x=np.where(past[..., None], np.nan, drawn[0]["x"]))]
    absent = [plain.replace(**{k: None}) for k in plain.arrays if k not in (*plain.params, "x")]
    return [
        *(
            (case, np.copy)
            for case in (plain, plain, other, strong, saturated, hot, plain.replace(x=row))
        ),
        *((case, np.copy) for case in absent),
        *((case, np.copy) for case in ragged),
        (plain.replace(h0=None, c0=None), np.copy),
        (plain.replace(x=plain["x"][:0], dy=plain["dy"][:0]), np.copy),
        (plain.replace(x=plain["x"][:1], dy=plain["dy"][:1]), np.copy),
        (plain.replace(**no_rows), np.copy),
        (plain.replace(**one_row), np.copy),
        (plain, reversed_memory),
        (draw(cell, SIZES, seed=5, dtype="float32"), np.copy),
        (draw(cell, Sizes(100, 2, 1, 3), seed=6, dtype="float64", regime="slow"), np.copy),
        *(
            (draw(cell, sizes, seed=9, dtype="float64"), np.copy)
            for sizes in (Sizes(2, 66, 1, 47), Sizes(258, 2, 1, 3))
        ),
    ]


@cache
def correct_results(cell, k):
    case, layout = detecting_cases(cell)[k]
    return call(EditedCell(cell), arguments(case, layout))


def flat(seen):
    """Yield the arrays of a nested dict by name."""
    for name, value in seen.items():
        if isinstance(value, dict):
            yield from flat(value)
        elif value is not None:
            yield name, value


def is_same(seen, right):
    """Return whether two collections of results are equal except for rounding."""
    seen, right = dict(flat(seen)), dict(flat(right))
    if list(seen) != list(right):
        return False
    for name, value in right.items():
        got = seen[name]
        if isinstance(value, str) or not isinstance(got, np.ndarray):
            return False
        if (
            got.shape != value.shape
            or got.dtype != value.dtype
            or not np.array_equal(np.isfinite(got), np.isfinite(value))
        ):
            return False
        finite = np.isfinite(value)
        scale = np.max(np.abs(value[finite]), initial=0.0)
        if np.any(np.abs(got[finite] - value[finite]) > SAME_RTOL[value.dtype.name] * scale):
            return False
    return True


def first_detecting_case(fault, cases=None):
    """Return the number of the first case on which the fault shows, or None."""
    cell = as_cell(fault.cell)
    planted, kept = fault.inject(), []
    for k, (case, layout) in enumerate(detecting_cases(cell)[:cases]):
        seen, given = call(planted, arguments(case, layout))
        right, untouched = correct_results(cell, k)
        if not is_same(seen, right) or not is_same(given, untouched):
            return k
        kept.append((seen, right))
        if not all(is_same(a, b) for a, b in kept[-2:]):
            return k
    return None if cases or keeps_its_tape(planted, cell) else "tape"


def keeps_its_tape(planted, cell):
    """Return whether a backward stays the same after a forward of another case."""
    (plain, layout), (other, _) = detecting_cases(cell)[0], detecting_cases(cell)[2]
    right, _ = correct_results(cell, 0)
    planted.forward(*list(arguments(other).values())[:4])
    gradients = {f"d{k}": v for k, v in planted.backward(**arguments(plain, layout)).items()}
    return is_same(gradients, {k: v for k, v in right.items() if k in gradients})


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_named_faults_are_detected(cell):
    told = {f.name: first_detecting_case(f) for f in faults(cell)}
    assert [name for name, k in told.items() if k is None] == [
        f.name for f in faults(cell) if f.equivalent
    ]


@pytest.mark.parametrize("cell", CELLS)
def test_mutants_are_detected(cell):
    generated = list(mutants(cell))
    told = {f.name: first_detecting_case(f, cases=5) for f in generated}
    assert [name for name, k in told.items() if k is None] == [
        f.name for f in generated if f.equivalent
    ]


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_faults_run(cell):
    """A fault is a wrong result, not a crash, unless the crash is the fault.

    A plain case never crashes. Each fault runs on a third of the cases, and on another third for
    its neighbor and for the next cell: what wraps one cell wraps others too.
    """
    for turn, fault in enumerate(faults(cell), start=EVERY_CELL.index(cell)):
        # Each of the first five differs from the others in its numbers alone.
        plain, _, _, _, _, *others, _, _, _ = detecting_cases(as_cell(cell))
        for k, (case, layout) in enumerate([plain, *others[turn % 3 :: 3]]):
            seen, _ = call(fault.inject(), arguments(case, layout))
            assert "raised" not in seen or (k and "raises an exception" in fault.description), (
                fault.label,
                k,
                seen,
            )


@pytest.mark.parametrize("cell", CELLS)
def test_mutants_run(cell):
    case, layout = detecting_cases(as_cell(cell))[0]
    for fault in mutants(cell):
        assert "raised" not in call(fault.inject(), arguments(case, layout))[0], fault.label


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_edits_keep_leading_axes(cell):
    """Faulty cells can be run in replicates along a leading axis.

    The diagnosis and the rounding budget do so.
    """
    case = detecting_cases(as_cell(cell))[0][0]
    twice = {k: np.stack([v, v]) for k, v in case.arrays.items()}
    for fault in faults(cell):
        if fault.edit:
            wrong = apply(equations(case.cell), fault.edit)
            with np.errstate(all="ignore"):
                alone, both = run(wrong, case.arrays), run(wrong, twice)
            assert all(
                is_same({k: v[0], "2": v[1]}, {k: alone[k], "2": alone[k]}) for k, v in both.items()
            ), fault.label


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_every_fault_has_a_description(cell):
    known = [*faults(cell), *(mutants(cell) if cell in CELLS else [])]
    for fault in known:
        assert fault.cell == cell
        assert fault.description[0].isupper(), fault
        assert ". " not in fault.description, fault
        assert fault.description.endswith("."), fault
        assert "\n" not in fault.description
        assert (fault.edit is None) != (fault.wrap is None), fault
        for source in filter(None, fault.source.split(", ")):
            assert SOURCE.fullmatch(source), fault
    labels = [f.label for f in known]
    assert len(labels) == len(set(labels))


def test_there_are_enough_faults():
    counted = [f for f in faults() if not f.equivalent]
    assert len(counted) >= 250
    assert len({f.name for f in counted}) >= 250


@pytest.mark.parametrize(
    "label",
    [
        "lstm: dc not carried",
        "gru: h0 ignored",
        "rnn: noise",
        "gru-before: in dq: U_n as transposed",
    ],
)
def test_find_returns_the_fault_of_a_label(label):
    fault = find(label)
    assert isinstance(fault, Fault)
    assert fault.label == label
    assert first_detecting_case(fault) is not None


def test_labels_lead_back():
    assert all(find(f.label) is f for f in faults())
    assert all(find(f.label).description == f.description for cell in CELLS for f in mutants(cell))


@pytest.mark.parametrize(
    "label", ["", "lstm", "lstm: no such fault", "no such cell: h0 ignored", "rnn: dc not carried"]
)
def test_unknown_labels(label):
    with pytest.raises(UsageError, match="there is no fault"):
        find(label)


def test_unknown_cells():
    with pytest.raises(UsageError, match="there is no cell"):
        faults("mgu")


def test_injecting_twice_shares_nothing():
    """State that a fault keeps between calls belongs to one faulty implementation."""
    fault, cell = find("gru: state kept between calls"), as_cell("gru")
    case = detecting_cases(cell)[0][0].replace(h0=None)
    first, second = (call(fault.inject(), arguments(case))[0] for _ in range(2))
    assert is_same(first, second)


@pytest.mark.parametrize(
    ("label", "side"),
    [
        ("lstm: h0 ignored", "forward"),
        ("lstm: dc not carried", "backward"),
        ("lstm: in dW_i: x as 0", "backward"),
        ("lstm: noise", "around"),
    ],
)
def test_side_of_a_fault(label, side):
    assert find(label).side(as_cell("lstm")) == side
