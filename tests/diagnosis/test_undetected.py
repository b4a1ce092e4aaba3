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
from gatecheck.diagnosis.undetected import undetected_faults
from gatecheck.faults.edited_cell import EditedCell


def names(*cases):
    return {fault.name for fault in undetected_faults(cases)}


def draw_case(cell, T=5, dtype="float64", seed=1):
    return draw(cell, Sizes(T, 3, 4, 6), seed=seed, dtype=dtype)


@pytest.mark.parametrize("cell", [RNN(), GRU(), LSTM()], ids=str)
def test_drawn_cases_detect_all_but_overflows_and_truncations(cell):
    left = names(draw_case(cell), draw_case(cell, seed=2).replace(dhT=None))
    assert all("overflows" in name or "truncated after" in name for name in left), left


def test_a_zero_state_hides_faults_of_the_recurrence():
    zero = draw_case(LSTM()).replace(h0=np.zeros((3, 6)), c0=np.zeros((3, 6)))
    first = draw_case(LSTM(), T=1)
    assert "h0 ignored" in names(zero)
    assert "h0 ignored" not in names(first)
    one = first.replace(h0=np.zeros((3, 6)), c0=np.zeros((3, 6)))
    hidden = names(one)
    assert {"i/f swapped in U", "U_f transposed", "dc not carried"} <= hidden
    assert "i/f swapped in W" not in hidden
    assert not {"i/f swapped in U", "U_f transposed"} & names(one, draw_case(LSTM()))


def test_equal_blocks_hide_a_swap():
    case = draw_case(LSTM())
    equal = {k: case[k].copy() for k in ("W", "U", "b")}
    for array in equal.values():
        block(LSTM(), array, "f")[...] = block(LSTM(), array, "i")
    assert "i/f swapped" in names(case.replace(**equal))
    assert "i/f swapped" not in names(case)


def test_single_precision_hides_rounding_to_it():
    assert "i in float32" in names(draw_case(LSTM(), dtype="float32"))
    assert "i in float32" not in names(draw_case(LSTM()))


def test_no_cases_give_no_faults():
    assert undetected_faults([]) == []


@pytest.fixture
def printed(tmp_path):
    """Function that runs `gatecheck faults --case` on a case."""

    def printed(case):
        case.save(tmp_path / "case.npz")
        done = CliRunner().invoke(main, ["faults", "--case", str(tmp_path / "case.npz")])
        return done.exit_code, done.output

    return printed


def test_the_command_lists_undetected_faults(printed):
    status, output = printed(draw_case(RNN(), T=1))
    assert status == 0
    assert "rnn float64 T=1 B=3 D=4 H=6" in output
    assert re.search(r"cannot reveal \d+ of the known faults in the equations of a rnn", output)
    assert "dh not carried" in output


def test_a_file_without_a_case_is_a_usage_error(tmp_path):
    (tmp_path / "no.npz").write_bytes(b"not a case")
    done = CliRunner().invoke(main, ["faults", "--case", str(tmp_path / "no.npz")])
    assert done.exit_code == 2
    assert "does not hold a gatecheck case" in done.output


def test_an_audit_says_what_its_sizes_hide():
    class OneStep(EditedCell):
        sizes = {"T": 1}  # noqa: RUF012

    narrowed = audit(OneStep(RNN()), profile="quick", only=["forward_within_budget"]).limitations
    assert narrowed[0] == "T is always 1"
    assert narrowed[1].startswith("at these sizes no case could have detected: ")
    assert "every step starts from h0" in narrowed[1]
    assert re.search(r"and \d+ more$", narrowed[1])
    assert (
        audit(EditedCell(RNN()), profile="quick", only=["forward_within_budget"]).limitations == []
    )
