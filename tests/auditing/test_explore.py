"""The cases that are drawn, and where a search stops."""

import subprocess
import sys

import pytest

from gatecheck.auditing import explore as exploring
from gatecheck.auditing.explore import draw_cases, explore
from gatecheck.auditing.selection import select_properties
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import LSTM
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin

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
