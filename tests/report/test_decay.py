"""The decay table and figure say what the result says."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from gatecheck.decay.result import Curve, DecayResult, Row
from gatecheck.errors import MissingExtraError
from gatecheck.report.decay_figure import save_decay_figure
from gatecheck.report.decay_table import COLUMNS, decay_rows, decay_table

CURVE = Curve(
    (1, 2, 10, 100), (0.0, -1.0, -9.0, -math.inf), (0.0, -1.5, -math.inf, -math.inf), (0.0, -0.5, -7.0, -80.0), (0.0, -1.0, -9.0, -99.0)
)
FADING = Row("gru", "uniform", -0.4509, -0.4613, -0.4403, 0.013, 2, 2, 8, None, -0.43953, "edge", CURVE)
DEAD = Row(
    "rnn-relu",
    "uniform",
    -math.inf,
    math.nan,
    math.nan,
    math.nan,
    1,
    1,
    1,
    1,
    None,
    None,
    replace(CURVE, median=(-math.inf,) * 4, theory=None),
)
RESULT = DecayResult(8, 3, 100, 5, 42, 16, {"gru": -0.03}, (FADING, DEAD), (), {})


def test_rows_round_to_the_uncertainty_and_censor():
    fading, dead = decay_rows(RESULT)
    assert list(fading) == list(COLUMNS)
    assert list(fading.values()) == ["gru uniform", "-0.45 ± 0.01", "-0.440", "2", "2", "8", "> T"]
    assert list(dead.values()) == ["rnn-relu uniform", "-inf", "–", "1", "1", "1", "1"]


def test_the_table_fits_a_terminal_of_80_columns_and_names_the_seed():
    slow = replace(
        FADING, cell="lstm", initialiser="unit_forget_bias", rate=-0.00105, rate_low=-0.00107, rate_high=-0.00103, predicted_rate=-0.001
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(decay_table(replace(RESULT, rows=(slow,))))
    text = console.export_text()
    assert "lstm unit_forget_bias  -0.00105 ± 0.00002  -0.00100" in text
    assert "…" not in text
    assert "T = 100, 5 seeds, --seed 42" in text


def test_the_figure_is_written_twice_the_same(tmp_path):
    first, again = (save_decay_figure(RESULT, tmp_path / name) for name in ("one", "two"))
    assert [path.name for path in first] == ["decay.png", "decay.svg"]
    for a, b in zip(first, again, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert first[0].read_bytes().startswith(b"\x89PNG")
    svg = first[1].read_text()
    assert "<dc:date>" not in svg
    assert "Matplotlib" not in svg
    other = save_decay_figure(replace(RESULT, rows=(FADING,)), tmp_path / "three")
    assert other[0].read_bytes() != first[0].read_bytes()


def test_the_figure_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gatecheck\[report\]"'):
        save_decay_figure(RESULT, tmp_path)
