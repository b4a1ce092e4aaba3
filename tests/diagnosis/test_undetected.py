"""Known faults that a case does not detect: zero states, one step, equal weights."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.auditing.audit import audit
from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, RNN, Sizes
from gatecheck.cells.gate_blocks import block
from gatecheck.cli import main
from gatecheck.diagnosis.undetected import untold
from gatecheck.faults.edited_cell import Edited


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


@pytest.fixture
def printed(tmp_path):
    """Function that runs `gatecheck faults --case` on a case."""

    def printed(case):
        case.save(tmp_path / "case.npz")
        done = CliRunner().invoke(main, ["faults", "--case", str(tmp_path / "case.npz")])
        return done.exit_code, done.output

    return printed


def test_the_command_names_what_a_case_could_not_have_told(printed):
    status, output = printed(drawn(RNN(), T=1))
    assert status == 0
    assert "rnn float64 T=1 B=3 D=4 H=6" in output
    assert re.search(r"cannot reveal \d+ of the known faults in the equations of a rnn", output)
    assert "dh not carried" in output


def test_a_file_that_holds_no_case_is_a_wrong_call(tmp_path):
    (tmp_path / "no.npz").write_bytes(b"not a case")
    done = CliRunner().invoke(main, ["faults", "--case", str(tmp_path / "no.npz")])
    assert done.exit_code == 2
    assert "does not hold a gatecheck case" in done.output


def test_an_audit_says_what_its_sizes_hide():
    class OneStep(Edited):
        sizes = {"T": 1}  # noqa: RUF012

    narrowed = audit(OneStep(RNN()), profile="quick", only=["forward_within_budget"]).narrowings
    assert narrowed[0] == "T is always 1"
    assert narrowed[1].startswith("at these sizes no case could have detected: ")
    assert "every step starts from h0" in narrowed[1]
    assert re.search(r"and \d+ more$", narrowed[1])
    assert audit(Edited(RNN()), profile="quick", only=["forward_within_budget"]).narrowings == []
