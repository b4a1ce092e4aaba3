"""The cases that are drawn, and where a search stops."""

import subprocess
import sys

import pytest

from gatecheck.auditing import explore as exploring
from gatecheck.auditing.audit import audit
from gatecheck.auditing.explore import draw_cases, explore
from gatecheck.auditing.selection import select_properties
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import LSTM
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from helpers.targets import with_attributes

FORWARD, BACKWARD = "forward_within_budget", "gradients_within_budget"
NO_FORGET = misread("dc_prev", f=1)


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(exploring.PROFILES, "quick", 4)


def test_the_same_seed_draws_the_same_cases_in_every_process():
    code = (
        "from gatecheck.auditing.explore import draw_cases; "
        "from gatecheck.cells import LSTM; "
        "from gatecheck.implementation import subject; "
        "from gatecheck.kernels import Builtin; "
        "from gatecheck.cases.strategies import SCOPES; "
        "own = Builtin('lstm'); own.sizes = {'B': 2}; "
        "print(*(case.key for case in draw_cases(subject(own), 'float32', SCOPES['any'], 40, 7)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    own = Builtin("lstm")
    own.sizes = {"B": 2}
    here, other = (draw_cases(subject(own), "float32", SCOPES["any"], 40, s) for s in (7, 8))
    assert [case.key for case in here] == there
    assert len(here) == 40
    assert here != other


def test_stopping_at_a_failure():
    target, chosen = subject(EditedCell(LSTM(), NO_FORGET)), select_properties([FORWARD, BACKWARD])
    whole = explore(target, chosen, "quick", 0)
    assert {name: t.examples for name, t in whole.items()} == {FORWARD: 8, BACKWARD: 8}
    assert whole[BACKWARD].failures > 2
    once = explore(target, chosen, "quick", 0, stop_at_first_failure=True)
    assert once[FORWARD].examples == 8
    assert once[BACKWARD].failures == 1
    assert once[BACKWARD].examples < 8
    first = explore(target, chosen, "quick", 0, stop_at_first_failing_property=True)
    assert first[FORWARD].examples == first[BACKWARD].examples == once[BACKWARD].examples
    assert first[BACKWARD].case == once[BACKWARD].case == whole[BACKWARD].case


# ---- listed sizes

BIG = "big_sizes_within_budget"


def drawn_sizes(dtypes=("float32", "float64"), **declared):
    target = subject(with_attributes(Builtin("lstm"), dtypes=dtypes, **declared))
    return {
        dtype: [case.sizes for case in draw_cases(target, dtype, SCOPES["big"], 12, 0)]
        for dtype in dtypes
    }


def test_two_dtypes_share_the_listed_sizes_and_one_has_all_of_them():
    both, alone = drawn_sizes(), drawn_sizes(("float32",))["float32"]
    assert len(alone) == 12
    assert sorted(alone) == sorted([*both["float32"], *both["float64"]])
    for sizes in both.values():
        # Each dtype sees long sequences, many rows and many units.
        assert max(s.T for s in sizes) > 128
        assert max(s.B for s in sizes) > 64
        assert max(s.H for s in sizes) >= 64


def test_fixed_sizes_leave_others_big():
    sizes = [s for of_dtype in drawn_sizes(sizes={"B": 1}).values() for s in of_dtype]
    assert {s.B for s in sizes} == {1}
    assert len(sizes) == 12
    target = subject(with_attributes(Builtin("lstm"), sizes={"T": 2, "B": 3, "D": 5, "H": 4}))
    (prop,) = select_properties([BIG])
    assert "needs sizes other than the only ones" in prop.why_not_applicable(target)
    assert prop.why_not_applicable(subject(Builtin("lstm"))) is None


def test_the_progress_of_listed_sizes_ends_at_its_total():
    seen = []
    explore(
        subject(Builtin("rnn")),
        select_properties([BIG, FORWARD]),
        "quick",
        0,
        lambda done, total, label: seen.append((done, total)),
    )
    assert seen[-1] == (len(seen), len(seen)) == (2 + 8, 2 + 8)


@pytest.mark.parametrize(
    ("label", "sizes"),
    [
        ("lstm: last H mod 32 units zero", (1, 1, 1, 33)),
        ("gru: rows beyond 32 zero", (1, 33, 1, 1)),
    ],
)
def test_a_counterexample_of_listed_sizes_is_shrunk(label, sizes, monkeypatch):
    monkeypatch.setattr(exploring, "SHRINKING_S", 60)
    monkeypatch.setitem(exploring.PROFILES, "quick", 12)
    (result,) = audit(find(label).inject(), profile="quick", only=[BIG], diagnose=False).properties
    assert result.outcome == "failed"
    assert result.counterexample.sizes == sizes


def test_a_counterexample_of_many_steps_stays_as_long(monkeypatch):
    monkeypatch.setitem(exploring.PROFILES, "quick", 12)
    (result,) = audit(
        find("rnn: steps beyond 128 frozen").inject(), profile="quick", only=[BIG], diagnose=False
    ).properties
    assert 128 < result.counterexample.sizes.T <= 130
