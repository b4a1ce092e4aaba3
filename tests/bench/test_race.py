"""Points: every peer computes what we do, and one that does not is refused."""

import sys

import numpy as np
import pytest

from gatecheck.bench.job import Job
from gatecheck.bench.points import CELLS, Point, flops, parse_sizes, points
from gatecheck.bench.race import (
    PEER_MODULES,
    PRODUCTS,
    SUBJECT,
    RaceSettings,
    find_peers,
    first_mismatch,
    measure_point,
    subject_job,
)
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.checking.budgets import reference_results
from gatecheck.errors import TargetError, UsageError
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin

SIZES = Sizes(4, 3, 5, 2)
TERMS = RaceSettings(threads=1, rounds=2, least=0.0)
UNSUPPORTED = {("torch", "gru-before", w) for w in ("forward", "gradients")} | {
    ("onnxruntime", c, "gradients") for c in CELLS
}

CELLS_BY_NAME = {k: as_cell(k) for k in CELLS}


@pytest.fixture(scope="module")
def peers():
    everyone = find_peers((*PEER_MODULES, "gatecheck"))
    assert everyone.missing == {}
    return everyone.prepare


@pytest.mark.parametrize("work", ["forward", "gradients"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_peer_computes_every_number(peers, cell, work):
    case = draw(CELLS_BY_NAME[cell], SIZES, seed=1, dtype="float32")
    truth = {
        k: v
        for k, v in reference_results(case).items()
        if k.startswith("d") == (work == "gradients")
    }
    for name, prepare in peers.items():
        if (name, cell, work) in UNSUPPORTED:
            with pytest.raises(UsageError, match="has no"):
                prepare(case, work, 1)
            continue
        job = prepare(case, work, 1)
        results = job.results()
        assert results.keys() == truth.keys(), name
        assert first_mismatch(results, truth, "float32") is None, name
        job.call()
        assert first_mismatch(job.results(), truth, "float32") is None, (
            f"{name} is another the second time"
        )


def altered_peer(change):
    """Return a peer that is our kernels with results changed by `change`."""

    def prepare(case, work, threads):
        job = subject_job(subject(Builtin(case.cell)), case, work)
        return Job(job.call, lambda: change(job.results()))

    return prepare


POINT = Point("lstm", "float32", "gradients", SIZES)
LSTM = subject(Builtin("lstm"))


def test_a_peer_that_computes_something_else_is_refused_by_name_and_block():
    others = {
        "right": altered_peer(lambda r: r),
        "wrong": altered_peer(lambda r: r | {"dU": r["dU"] * np.float32(1.001)}),
        "short": altered_peer(lambda r: {k: v for k, v in r.items() if k != "dx"}),
        "nan": altered_peer(lambda r: r | {"dc0": r["dc0"] * np.float32("nan")}),
        "shape": altered_peer(lambda r: r | {"db": r["db"][None]}),
    }
    data = measure_point(POINT, LSTM, others, TERMS, 0.0)
    assert data["ratio"].keys() == data["interval"].keys() == {"right"}
    assert data["seconds"].keys() == {SUBJECT, PRODUCTS, "right"}
    assert data["refused"]["wrong"] == "dU is off by 1.0e-03 of its norm"
    assert data["refused"]["short"] == "there is no dx"
    assert data["refused"]["nan"] == "dc0 is off by nan of its norm"
    assert data["refused"]["shape"] == "db has the shape (1, 8), but should have (8,)"


def test_peer_that_changes_during_race_is_refused():
    calls = []

    def later(results):
        calls.append(None)
        return results if len(calls) == 1 else results | {"dx": 2 * results["dx"]}

    assert (
        "dx is off"
        in measure_point(POINT, LSTM, {"tired": altered_peer(later)}, TERMS, 0.0)["refused"][
            "tired"
        ]
    )


class Wrong(Builtin):
    def forward(self, *arguments):
        y, h, c = super().forward(*arguments)
        return y, h, -c


def test_wrong_subject_raises():
    with pytest.raises(
        TargetError,
        match=r"mine does not compute what a lstm does, at lstm float32 forward .*: "
        r"cT is off by 2.0e\+00",
    ):
        measure_point(
            Point("lstm", "float32", "forward", SIZES),
            subject(Wrong("lstm"), name="mine"),
            {},
            TERMS,
            0.0,
        )


def test_a_cell_without_kernels_is_held_against_the_equations():
    case = draw(as_cell("lstm-coupled"), SIZES, seed=0, dtype="float64")

    class Coupled:
        cell = "lstm-coupled"

        def forward(self, params, x, h0, c0):
            return tuple(reference_results(case)[k] for k in ("y", "hT", "cT"))

    data = measure_point(
        Point("lstm-coupled", "float64", "forward", SIZES),
        subject(Coupled()),
        find_peers(("torch", "gatecheck")).prepare,
        TERMS,
        0.0,
    )
    assert data["absent"].keys() == {"torch", "gatecheck"}
    assert data["ratio"] == {}


def test_a_missing_peer_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "gatecheck.bench.peers.jax", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    someone = find_peers(("jax", "numpy"))
    assert someone.missing == {"jax": 'pip install "gatecheck[jax]"'}
    assert someone.prepare.keys() == {"numpy"}


def test_operations_are_those_of_the_products():
    assert flops(as_cell("lstm"), Sizes(1, 1, 1, 1), "forward") == 2 * 2 * 4
    assert (
        flops(as_cell("gru"), Sizes(100, 32, 128, 64), "gradients")
        == 3 * 2 * 100 * 32 * (128 + 64) * 3 * 64
    )


def test_the_grid_is_every_combination_the_smallest_first():
    grid = points()
    assert len(grid) == len(set(grid)) == 4 * 2 * 2 * 6
    assert grid[0].sizes == Sizes(50, 1, 8, 16)
    assert grid[-1].sizes == Sizes(50, 64, 512, 512)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1.5,2,3,4"])
def test_malformed_sizes_are_refused(text):
    with pytest.raises(UsageError, match="written T,B,D,H"):
        parse_sizes(text)


def test_sizes_must_be_positive():
    with pytest.raises(UsageError, match="5,0,3,4, but should all be at least 1"):
        points(sizes=[parse_sizes("5,0,3,4")])
