"""The rounding budget, tried on correct code and on slightly wrong code."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from gatecheck.accuracy import tightness
from gatecheck.accuracy.calibration import RELATIVE_ERRORS, calibrate, calibration_report, wide_case
from gatecheck.cells import GRU, LSTM
from gatecheck.checking import evidence
from gatecheck.errors import InputError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread, times
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from gatecheck.report.calibration_table import calibration_table


def silent(label):
    pass


@pytest.fixture(scope="module")
def found():
    calls = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tightness, "LENGTHS", (1, 10))
        result = calibration_report(
            [subject(Builtin("gru"), name="builtin:gru")],
            cases=3,
            seed=0,
            tightness_cases=1,
            progress=lambda *call: calls.append(call),
        )
    return result, calls


def test_correct_code_raises_no_alarm(found):
    rows = found[0]["calibration"]
    assert [row["dtype"] for row in rows] == ["float32", "float64"]
    for row in rows:
        assert row["alarms"] == 0
        assert row["values"] > 1000
        assert 0 < row["median"] < row["p999"] <= row["largest"] < 8
        assert 0 <= row["inconclusive"] < 1


def test_a_small_error_in_any_equation_is_seen(found):
    seen = {
        (row["cell"], row["equation"]): row["relative_error_seen"] for row in found[0]["sharpness"]
    }
    assert {("gru", "z"), ("gru", "dh_prev"), ("lstm", "c"), ("lstm", "dc_prev")} <= set(seen)
    # The design's figure is 2e-6 to 8e-6; float32 rounding itself is 6e-8.
    assert all(1e-7 < value < 1e-4 for value in seen.values()), seen
    assert set(seen.values()) <= set(RELATIVE_ERRORS)


def test_a_gradient_cut_half_way_is_always_seen(found):
    cut = found[0]["truncation"]
    assert cut["caught"] == cut["runs"] == 3


def test_progress_reaches_its_total(found):
    done, totals, _ = zip(*found[1], strict=True)
    assert done == tuple(range(1, totals[0] + 1))
    assert set(totals) == {totals[0]}


def test_the_report_is_plain_data_and_prints(found):
    assert json.loads(json.dumps(found[0], allow_nan=False))["schema"] == "gatecheck-calibration-3"
    out = Console(width=100, file=io.StringIO())
    out.print(calibration_table(found[0]))
    text = out.file.getvalue()
    assert "builtin:gru" in text
    assert "Spread over true error at the median" in text
    assert re.search(
        r"of (2\d) rows that could be judged \1 are within 5 by blocks and by values", text
    )
    assert re.search(r"in place of its rms 2\d are, by the target's own error alone \d+", text)
    assert "a gradient cut at step 30 of 60 is seen in 3 of 3 runs" in text


@pytest.mark.parametrize(
    "wrong",
    [
        EditedCell(GRU(), misread("h", n=times(1.001, "n"))),
        EditedCell(GRU(), misread("dh_prev", z=times(1.01, "z"))),
        EditedCell(LSTM(), misread("c", f=lambda s: s.f * np.nan)),
    ],
    ids=["forward", "backward", "NaN"],
)
def test_wrong_code_raises_alarms(wrong):
    row = calibrate(subject(wrong), "float64", 3, 0, silent)
    assert row.alarms > 0


def test_no_judgeable_case_is_an_error(monkeypatch):
    monkeypatch.setattr(evidence, "is_conclusive", lambda exact, tolerance: False)
    with pytest.raises(InputError, match="no value of 1 cases could be judged in float32"):
        calibrate(subject(Builtin("gru")), "float32", 1, 0, silent)


def test_wide_cases_are_wide_and_repeatable():
    cases = [wide_case(LSTM(), "float32", np.random.default_rng(k)) for k in range(30)]
    assert cases[3] == wide_case(LSTM(), "float32", np.random.default_rng(3))
    assert max(case.sizes.T for case in cases) > 100
    assert max(case.sizes.H for case in cases) > 60
    biases = np.concatenate([case["b"] for case in cases])
    assert biases.min() < -15
    assert biases.max() > 15
    assert 0 < sum(case.get("dy") is None for case in cases) < 30
