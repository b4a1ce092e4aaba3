"""Decay reports: table, figures, page and Markdown of any result."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from gatecheck.decay.result import Curve, Sentence, Training
from gatecheck.decay.spec import as_spec
from gatecheck.decay.study.run import decay
from gatecheck.errors import MissingExtraError
from gatecheck.report.decay.figures import REPORT_FIGURES, draw_figures, save_figures
from gatecheck.report.decay.page import decay_html, decay_markdown
from gatecheck.report.decay.table import TERMINAL_COLUMNS, decay_rows, decay_table

MINUS_INFINITY = -math.inf


@pytest.fixture(scope="module")
def study():
    small = {
        "steps": 80,
        "seeds": 2,
        "hidden": 6,
        "inputs": 2,
        "lag": 30,
        "title": "A <small> study",
    }
    networks = [
        {"cell": ["rnn", "gru", "lstm"], "init": "uniform"},
        {"cell": "lstm", "init": "chrono:40"},
    ]
    return decay(as_spec(small | {"network": networks, "measure": {"spectrum_steps": 40}}))


@pytest.fixture(scope="module")
def training():
    curve = Curve((0.0, -1.0, -2.0), (0.0, -1.5, MINUS_INFINITY), (0.0, -0.5, -1.0))
    setting = {
        "cell": "lstm",
        "task": "agreement",
        "init": "uniform",
        "lag": 3,
        "hidden": 4,
        "updates": 10,
        "seeds": 2,
    }
    words = ("the", "cat", ",", "which", "sees", ",", "was", "hungry")
    sentence = Sentence(words, {"i": (0.5,) * 8, "f": (0.9,) * 8}, 2, (0.1,) * 8)
    loss = Curve((0.7, 0.1), (0.6, 0.05), (0.8, 0.2))
    return Training(
        setting,
        (1, 10),
        loss,
        0.69,
        (0.1, 0.5),
        (True, False),
        (1, 2, 3),
        curve,
        curve,
        3,
        ("It <holds>.",),
        sentence,
    )


@pytest.fixture(scope="module")
def full_study(study, training):
    """Return a study with everything that it may hold."""
    return replace(
        study,
        training=(training,),
        rows=(*study.rows, row_with_zero_gradient(study.rows[3])),
        skipped=("rnn chrono:40: a rnn has no gate",),
    )


@pytest.fixture(scope="module")
def figures(full_study):
    """Draw the figures, which takes long, once."""
    return draw_figures(full_study)


def row_with_zero_gradient(row):
    """Return the row with a gradient of exactly zero from lag 1 on."""
    zero = Curve(*(((MINUS_INFINITY,) * len(row.lags),) * 3))
    nothing = dict(
        rate=MINUS_INFINITY,
        rate_low=math.nan,
        rate_high=math.nan,
        rate_sd=math.nan,
        theory=(),
        kind="undecided",
        truncation=None,
    )
    return replace(
        row,
        **nothing,
        curve=zero,
        input_curve=zero,
        lag_half=1,
        lag_e=1,
        lag_thousandth=1,
        lag_float32_zero=1,
    )


def test_rows_round_to_the_uncertainty_and_mark_unreached_lags(study):
    row = replace(
        study.rows[1],
        rate=-0.4509,
        rate_low=-0.4613,
        rate_high=-0.4403,
        lag_half=2,
        lag_e=2,
        lag_thousandth=8,
    )
    fading, gone = decay_rows(
        replace(study, rows=(replace(row, lag_float32_zero=None), row_with_zero_gradient(row)))
    )
    assert [fading[name] for name in TERMINAL_COLUMNS] == [
        "gru uniform",
        "-0.45 ± 0.01",
        "-0.440",
        "2",
        "2",
        "8",
        "> T",
    ]
    assert [gone[name] for name in TERMINAL_COLUMNS] == [
        "gru uniform",
        "-inf",
        "–",
        "1",
        "1",
        "1",
        "1",
    ]
    assert (gone["kind"], gone["K at 10 %"]) == ("undecided", "–")


def test_the_table_fits_a_terminal_of_80_columns_and_names_the_seed(study):
    slow = replace(
        study.rows[2],
        name="lstm unit_forget_bias",
        rate=-0.00105,
        rate_low=-0.00107,
        rate_high=-0.00103,
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(decay_table(replace(study, rows=(slow,))))
    text = console.export_text()
    assert "lstm unit_forget_bias  -0.00105 ± 0.00002" in text
    assert "…" not in text
    assert "H = 6, D = 2, inputs N(0, 1), T = 80, 2 seeds, --seed 0." in text


def test_figures_are_reproducible(full_study, figures, tmp_path):
    calls = []
    assert draw_figures(full_study, lambda *call: calls.append(call[:2])) == figures
    assert [p.figure for p in figures] == list(REPORT_FIGURES)
    assert calls == [(k, len(REPORT_FIGURES)) for k in range(len(REPORT_FIGURES))]
    assert len({p.png for p in figures}) == len(REPORT_FIGURES)
    assert all(
        p.png.startswith(b"\x89PNG") and "<dc:date>" not in p.svg and "Matplotlib" not in p.svg
        for p in figures
    )
    written = save_figures(figures, tmp_path)
    assert {path.suffix for path in written} == {".png", ".svg"}
    assert len(written) == 2 * len(REPORT_FIGURES)


def test_what_was_not_measured_is_not_drawn(study):
    bare = replace(
        study.rows[0], paths={}, gates={}, spectrum=None, input_curve=None, truncation=None
    )
    assert [p.figure.name for p in draw_figures(replace(study, rows=(bare,)))] == [
        "decay",
        "convergence",
    ]


def test_page_is_self_contained_and_shows_the_result(full_study, figures, open_page):
    page = open_page(decay_html(full_study, figures))
    assert page.title() == "A <small> study"
    assert page.locator("svg[role=img]").count() == len(REPORT_FIGURES)
    named = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(named) == len(set(named))
    broken = page.eval_on_selector_all(
        "use", "all => all.filter(e => !document.getElementById(e.href.baseVal.slice(1))).length"
    )
    assert broken == 0
    text = page.locator("body").inner_text()
    for row in full_study.rows:
        assert row.name in text
    assert "Your task's lag of 30 is reached by" in text
    assert "1 of 2 networks learned it (loss 0.3; 0.69 without memory)." in text
    assert "It <holds>." in text
    assert "skipped rnn chrono:40" in text
    assert "index of decay" in text


def test_page_fits_a_phone(full_study, figures, open_page):
    page = open_page(decay_html(full_study, figures), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_markdown_has_every_figure_and_number(full_study, figures):
    text = decay_markdown(full_study, figures)
    for picture in figures:
        assert f"]({picture.figure.name}.svg)" in text
    for row in decay_rows(full_study):
        assert "| " + " | ".join(row.values()) + " |" in text
    head, rule = (
        line
        for line in text.splitlines()
        if line.startswith(("| network | rate", "|---|---:|---:|---:|---:|---:|---:|---:"))
    )
    assert head.count("|") == rule.count("|")


@pytest.mark.parametrize(
    ("missing", "made"),
    [("matplotlib", lambda study, drawn: draw_figures(study)), ("jinja2", decay_html)],
    ids=["matplotlib", "jinja2"],
)
def test_a_missing_package_names_the_extra(full_study, figures, monkeypatch, missing, made):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r'pip install "gatecheck\[report\]"'):
        made(full_study, figures)
