"""Sections other than the kernels: rows, printed text, figures, usage errors."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from gatecheck.bench import decays, gradchecks, roofline
from gatecheck.bench import run as running
from gatecheck.bench.decays import QUICK, draw_problem
from gatecheck.bench.gradchecks import QUICK_SIZES
from gatecheck.bench.rows import Bar, Row, Section, answers, race_rows
from gatecheck.bench.run import BenchResult, Plan, run
from gatecheck.cases import draw
from gatecheck.cells import as_cell
from gatecheck.cli import main
from gatecheck.errors import BugError, TargetError
from gatecheck.kernels import Builtin
from gatecheck.oracles.gradcheck import gradcheck
from gatecheck.report.bench.figure import save_bench_figure
from gatecheck.report.bench.sections import section_tables, share_reached


@pytest.fixture
def gk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def gk(*arguments):
        done = CliRunner().invoke(main, ["bench", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, " ".join(done.output.split())

    return gk


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        (Bar("seconds", 4.0), True),
        (Bar("seconds", 3.9), False),
        (Bar("ratio", 2.0, least=True), True),
        (Bar("ratio", 2.1, least=True), False),
        (Bar("rate", 25.0, least=True), True),
        (Bar("rate", 26.0, least=True), False),
        (Bar("number", 100), True),
        (Bar("number", 0), False),
        (Bar("ratio", float("nan"), least=True), False),
        (None, None),
    ],
)
def test_a_bar_is_met_on_its_side(bar, met):
    row = Row("it", seconds=4.0, ratio=2.0, number=100, bar=bar)
    assert row.is_met is met
    assert row.to_json()["met"] is met
    assert row.to_json()["rate"] == 25.0


def test_rows_of_a_race_are_ratios_over_the_subject_and_a_single_round_has_no_quantiles():
    (row,) = race_rows({"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 6.0, 12.0]}, "ours", number=6)
    assert (row.what, row.seconds, row.ratio, row.rate) == ("theirs", 6.0, pytest.approx(3.0), 1.0)
    assert row.interval == pytest.approx((3.0, 3.0))
    (once,) = race_rows({"ours": [1.0], "theirs": [3.0]}, "ours")
    assert once.interval is None


# ---- what sections measure, small


def test_gradcheck_and_decay_are_measured_and_the_report_holds_all_of_it(gk, tmp_path):
    status, printed = gk(
        "--section",
        "gradcheck",
        "--section",
        "decay",
        "--quick",
        "--threads",
        "1",
        "--report",
        "out",
    )
    assert status == 0, printed
    data = json.loads((tmp_path / "out/speed.json").read_text())
    assert data["schema"] == "gatecheck-bench-2"
    assert data["points"] == []
    assert list(data["sections"]) == ["gradcheck", "decay"]
    assert {"numpy", "torch"} <= data["versions"].keys()
    gradient, decay = (section["rows"] for section in data["sections"].values())
    fast = [r for r in gradient if "fast_mode" in r["what"]]
    full = [r for r in gradient if r["what"].startswith("torch gradcheck: ")]
    doubled = [r for r in gradient if "doubled" in r["what"]]
    assert [len(rows) for rows in (fast, full, doubled)] == [2, 2, 8]
    assert {r["bar"]["limit"] for r in fast} == {1 / 3}
    assert {r["bar"]["limit"] for r in full} == {1000.0}
    # y has T B H = 4 entries; W, U, the biases, x, h0 and c0 have 16 + 16 + 8 or 16 + 4 + 2 + 2.
    assert gradient[0]["number"] == 4 * 48
    assert {r["number"] for r in full} == {4 * 56}
    assert [r["number"] for r in doubled] == 2 * [8 * 52, 8 * 56, 4 * 68, 8 * 124]
    lengths = [r["number"] for r in decay if "autograd" in r["what"]]
    assert lengths == [QUICK.first_steps * 2**k for k in range(len(lengths))]
    assert "the most: " in [r["what"] for r in decay if "autograd" in r["what"]][-1]
    (judged,) = [r for r in decay if r["bar"]]
    assert judged["what"] == f"its products alone, lstm, {QUICK.T} steps"
    assert all(
        r["seconds"] > 0 and (r["bar"] is None) == (r["met"] is None) for r in gradient + decay
    )
    table = (tmp_path / "out/speed.txt").read_text()
    assert "Gradient checking: the full Jacobian of an LSTM" in table
    assert table.index("Gradient checking") < table.index("Decay: ")
    assert "torch gradcheck: torch.nn.LSTM" in table
    assert "geometric mean" not in table
    assert (tmp_path / "out/speed.png").read_bytes().startswith(b"\x89PNG")


def test_entry_count_of_the_jacobian():
    for name, sizes in {"base": QUICK_SIZES, "T": QUICK_SIZES._replace(T=3)}.items():
        case = draw(as_cell("lstm"), sizes, seed=0, dtype="float64")
        y = Builtin("lstm").forward(case.params, *(case[k] for k in ("x", "h0", "c0")))[0]
        inputs = sum(a.size for a in (*case.params.values(), case["x"], case["h0"], case["c0"]))
        assert gradchecks._entries(sizes) == y.size * inputs, name


@pytest.mark.parametrize("fast", [True, False])
def test_failing_check_raises(fast, monkeypatch):
    case = draw(as_cell("lstm"), QUICK_SIZES, seed=0, dtype="float64")
    gradchecks.check_ours(case, fast)
    monkeypatch.setattr(
        gradchecks,
        "gradcheck",
        lambda fn, inputs, vjp, fast, **each: gradcheck(
            fn, inputs, lambda *a, **k: vjp(*a, **k) | {"x": None}
        ),
    )
    with pytest.raises(BugError, match=r"does not pass our own LSTM at .*: fail"):
        gradchecks.check_ours(case, fast)


def test_gradients_by_lag_are_those_of_autograd():
    theirs = pytest.importorskip("gatecheck.bench.peers.torch_decay")
    drawn = draw_problem("lstm", 40, 6)
    log_norms = theirs.prepare(drawn.cell, drawn.params, drawn.x, drawn.probes, 1)()
    decays._require_agreement(drawn.profile().log_norm, log_norms)
    with pytest.raises(TargetError, match=r"up to 1\.0e-03 nats apart"):
        decays._require_agreement(drawn.profile().log_norm, log_norms + 1e-3 * np.eye(41)[7])


def test_the_products_of_a_long_profile_are_as_many_and_come_in_turns(monkeypatch):
    steps = []
    monkeypatch.setattr(decays.roofline, "profile_products", lambda *sizes: steps.append)
    profile, products = decays._measure_long("lstm", QUICK._replace(T=130, H=3))
    assert sum(steps) == 130
    assert len(steps) > 10
    assert (profile.number, products.number) == (130, 130)
    assert products.bar == Bar("ratio", 0.5, least=True)


def test_products_of_a_profile_are_those_of_all_its_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(
        roofline,
        "_products",
        lambda steps, a, b, out: calls.append((steps, a.shape, b.shape, out.shape)),
    )
    roofline.profile_products(as_cell("lstm"), 3, 5, 4)(2500)
    assert calls == [(2500, (5,), (5, 20), (20,)), (2500, (4, 20), (20, 5), (4, 5))]


def test_the_search_ends_where_memory_does(monkeypatch):
    theirs = pytest.importorskip("gatecheck.bench.peers.torch_decay")
    monkeypatch.setattr(decays, "peak", iter([0, 10 * 2**30, 20 * 2**30]).__next__)
    monkeypatch.setattr(decays, "free", lambda: 50 * 2**30)
    rows = list(decays._race_autograd(QUICK._replace(H=3, first_steps=4, patience=60.0), 1, theirs))
    assert [r.number for r in rows] == [4, 4, 8, 8]
    assert rows[-1].what.endswith(
        "the most: it takes 20.0 GiB, and twice as many steps more than is free"
    )


@pytest.mark.parametrize("module", [gradchecks, decays])
def test_without_torch_the_rest_is_measured(module, monkeypatch):
    for name in ("torch_gradcheck", "torch_decay"):
        monkeypatch.delitem(sys.modules, f"gatecheck.bench.peers.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    section = module.section(quick=True, threads=1)
    assert section.missing == {"torch": 'pip install "gatecheck[torch]"'}
    assert section.steps
    assert not any("autograd" in label or "fast_mode" in label for label, _ in section.steps)


# ---- what is printed and drawn

ROWS = [
    Row("slow", seconds=8.0, ratio=4.0, number=1000, bar=Bar("seconds", 2.0, why="as measured")),
    Row("few", seconds=1.0, number=1200, bar=Bar("rate", 1000.0, least=True)),
    Row("none", number=3, bar=Bar("number", 0)),
    Row("beside", seconds=2.0, ratio=1.0),
]


def make_section(*rows, missing=()):
    return Section(
        "What is slow",
        "that of the rest",
        "checks",
        [("all", lambda: iter(rows))],
        dict(missing),
        ["a note"],
    )


@pytest.fixture
def stored(monkeypatch):
    """Return a function that replaces the measurement of a section by its rows."""

    def stored(section, *ends):
        def fake(spec, threads):
            yield from answers(section)
            yield from (_raise(error) for error in ends)

        monkeypatch.setattr(running, "_answers", fake)

    return stored


def _raise(error):
    raise error


def printed(section, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        for part in section_tables(section):
            console.print(part)
    return " ".join(capture.get().split())


def test_unmet_bars_are_printed_with_figures(stored):
    stored(make_section(*ROWS, missing={"torch": "pip install it"}.items()))
    bench = BenchResult(Plan(sections=("decay",)))
    run(bench)
    text = printed(bench.sections["decay"])
    assert (
        "2 of 3 bars are not met: slow: 8 s, but should be at most 2 s, as measured "
        "none: 3, but should be at most 0" in text
    )
    assert "few 1 1,200 1,200 ≥ 1,000/s yes" in text
    assert "slow 8 4 1,000 125 ≤ 2 s no" in text
    assert "times: over that of the rest a note" in text
    assert "torch was not compared: it is not installed (pip install it)" in text
    assert "all 1 bars are met" in printed(bench.sections["decay"] | {"rows": [ROWS[1].to_json()]})


def test_reached_fraction_of_a_bar():
    assert [share_reached(row.to_json()) for row in ROWS] == [0.25, 1.2, None, None]


def test_a_figure_of_bars_alone_is_the_same_file_twice(stored, tmp_path):
    stored(make_section(*ROWS))
    bench = BenchResult(Plan(sections=("decay",)))
    run(bench)
    for name in ("a.svg", "b.svg"):
        save_bench_figure(bench.to_json(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_ctrl_c_keeps_the_rows_that_were_measured(gk, stored, tmp_path):
    stored(make_section(*ROWS), KeyboardInterrupt())
    status, said = gk("--section", "gradcheck", "--section", "decay", "--report", "out")
    assert status == 130
    assert "interrupted: these results are incomplete" in said
    data = json.loads((tmp_path / "out/speed.json").read_text())
    assert data["interrupted"]
    assert [row["what"] for row in data["sections"]["gradcheck"]["rows"]] == [
        "slow",
        "few",
        "none",
        "beside",
    ]
    assert "decay" not in data["sections"]
    assert "interrupted" in (tmp_path / "out/speed.txt").read_text()


def test_an_error_keeps_the_rows_that_were_measured(gk, stored, tmp_path):
    stored(make_section(*ROWS), TargetError("it went wrong"))
    status, said = gk("--section", "decay", "--json", "out.json")
    assert status == 3
    assert said.endswith("gatecheck: it went wrong")
    assert "What is slow" in said
    assert len(json.loads((tmp_path / "out.json").read_text())["sections"]["decay"]["rows"]) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["builtin:gru", "--section", "decay"],
            "decay: these are about gatecheck itself; leave builtin:gru out, or the sections",
        ),
        (["--section", "speed"], "'speed' is not one of 'kernels', 'gradcheck', 'audits', 'decay'"),
        (["--report", "mine.txt/out"], "the folder mine.txt/out cannot be written"),
    ],
)
def test_usage_errors_exit_2_before_measuring(gk, arguments, said, monkeypatch, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    monkeypatch.setattr(running, "_answers", lambda *_: pytest.fail("something was measured"))
    status, printed = gk(*arguments)
    assert status == 2
    assert said in printed


def test_a_report_is_of_all_sections_and_of_a_target_of_its_kernels(gk, monkeypatch):
    sections = []
    monkeypatch.setattr(
        "gatecheck.bench.run.run", lambda bench, tick: sections.append(bench.plan.sections)
    )
    gk("--report", "out")
    gk("builtin:gru", "--report", "out")
    gk("--section", "decay", "--report", "out")
    gk()
    assert sections == [
        ("kernels", "gradcheck", "audits", "decay"),
        ("kernels",),
        ("decay",),
        ("kernels",),
    ]
