"""The accuracy table: ulps, errors from certified values, inaccurate code."""

import json
import sys
from math import inf, nan

import mpmath
import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.accuracy import report as accuracy
from gatecheck.accuracy.activations import (
    activation_errors,
    exact_values,
    measure_activations,
    sample_arguments,
)
from gatecheck.accuracy.report import Point, accuracy_report, certified_values, measure_errors
from gatecheck.accuracy.ulps import absolute_errors, ulp, ulp_errors
from gatecheck.cases import draw
from gatecheck.cells import LSTM, Sizes
from gatecheck.cli import main
from gatecheck.errors import UsageError
from gatecheck.report.accuracy_figure import save_accuracy_figure
from gatecheck.targets.loading import load

TINY_POINTS = (
    Point(Sizes(2, 1, 2, 3)),
    Point(Sizes(4, 1, 2, 3)),
    Point(Sizes(12, 1, 2, 6), recurrence=12, gradients=False),
)

TARGET_SOURCE = '''
import numpy as np


class Weak:
    """An RNN whose tanh is 2 sigmoid(2a) - 1: inaccurate near zero."""
    cell, convention = "rnn", "canonical"

    def forward(self, params, x, h0, c0=None):
        y = []
        for step in x:
            a = step @ params["W"] + h0 @ params["U"] + params["b"]
            with np.errstate(over="ignore"):
                h0 = 2 / (1 + np.exp(-2 * a)) - 1
            y.append(h0)
        return np.stack(y), h0


class Nan(Weak):
    """An RNN whose last step is NaN."""
    def forward(self, params, x, h0, c0=None):
        y, _ = super().forward(params, x, h0)
        y[-1] = np.nan
        return y, y[-1]


class Broken(Weak):
    def forward(self, params, x, h0, c0=None):
        raise RuntimeError("no luck today")


class Own:
    cell = "custom"

    def example(self, rng):
        return {"a": np.ones(2)}

    def forward(self, a):
        return a
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("targets") / "made.py"
    path.write_text(TARGET_SOURCE)
    return path


@pytest.fixture(scope="module")
def found(file):
    calls = []
    targets = [
        ("builtin:rnn", None),
        (f"{file}:Weak", None),
        (f"{file}:Nan", None),
        (f"{file}:Broken", None),
        ("torch.nn:RNN", "rnn-relu"),
    ]
    how = {"cases": 2, "seed": 0, "sample": 4096, "points": TINY_POINTS}
    return accuracy_report(targets, **how, progress=lambda *call: calls.append(call)), calls


def row(found, target, dtype="float32", work="forward"):
    (one,) = [
        r
        for r in found["totals"]
        if target in r["target"] and (r["dtype"], r["work"]) == (dtype, work)
    ]
    return one


@pytest.mark.parametrize(
    ("exact", "dtype", "one"),
    [
        (1.0, "float32", 2**-23),
        (np.nextafter(1.0, 0), "float32", 2**-24),  # in its own binade, though it rounds to 1
        (-3.0, "float32", 2**-22),
        (1e-45, "float32", 2**-149),
        (0.0, "float32", 2**-149),
        (1.0, "float64", 2**-52),
        (5e-324, "float64", 2**-1074),
    ],
)
def test_one_ulp(exact, dtype, one):
    assert ulp(np.array([exact]), dtype) == [one]


def test_remainder_of_exact_number_counts():
    assert ulp_errors(np.array([1.0]), np.array([1.0]), "float64", np.array([2**-54])) == [0.25]
    assert absolute_errors(np.array([nan, inf, 1.0]), np.array([1.0, 1.0, nan])).tolist()[:2] == [
        inf,
        inf,
    ]


def test_errors_are_from_certified_values():
    case = draw(LSTM(), Sizes(3, 2, 2, 3), seed=4, dtype="float32")
    certified = certified_values(case, gradients=True)
    nearest = {k: v.nearest.astype(np.float32) for k, v in certified.items()}
    for block_errors in measure_errors(case, nearest, certified, "float32").values():
        assert 0 < block_errors.own.max() <= 0.5
        assert (block_errors.norm <= block_errors.own).all()
    doubles = measure_errors(
        case, {k: v.nearest for k, v in certified.items()}, certified, "float64"
    )
    # Without the remainder they would be zero.
    assert all(0 < block_errors.own.max() <= 0.5 for block_errors in doubles.values())
    moved = nearest["dW"][0, 0] + 7 * ulp(nearest["dW"][:1, :1], "float32")
    nearest["dW"][0, 0] = moved[0, 0]
    assert 6.5 <= measure_errors(case, nearest, certified, "float32")["dW"].own.max() <= 7.5


def test_a_small_entry_is_judged_by_the_largest_of_its_block():
    case = draw(LSTM(), Sizes(1, 1, 2, 2), seed=4, dtype="float32")
    nearest = np.array([[[1.0, 2.0**-20]], [[2.0**-20, 2.0**-20]]])
    certified = {"y": accuracy.CertifiedArray(nearest, np.zeros_like(nearest))}
    entry_errors = measure_errors(case, {"y": nearest + 2.0**-23}, certified, "float32")["y"]
    assert entry_errors.own.tolist() == [1.0, 2.0**20, 2.0**20, 2.0**20]
    assert entry_errors.norm.tolist() == [1.0, 1.0, 2.0**20, 2.0**20]  # a step is a block


def test_undecided_entries_are_left_out_and_counted():
    case = draw(LSTM(), Sizes(1, 1, 2, 2), seed=4, dtype="float32")
    certified = {"y": accuracy.CertifiedArray(np.array([[[1.0, nan]]]), np.array([[[0.0, nan]]]))}
    entry_errors = measure_errors(case, {"y": np.array([[[1.0, 5.0]]])}, certified, "float32")["y"]
    assert (entry_errors.own.tolist(), entry_errors.undecided) == ([0.0], 1)


def test_our_cell_is_accurate_and_weak_ones_are_not(found):
    ours, weak = (row(found[0], name)["total"] for name in ("builtin:rnn", ":Weak"))
    assert ours["norm_ulps"]["worst"] < 4
    assert weak["norm_ulps"]["median"] > ours["norm_ulps"]["median"]
    assert row(found[0], "builtin:rnn", "float64", "gradients")["total"]["norm_ulps"]["worst"] < 20
    # Two draws; the chaotic point is not part of the total.
    assert ours["values"] == 2 * (2 + 4 + 2) * 3
    assert len(row(found[0], "builtin:rnn")["by_point"]) == len(TINY_POINTS)


def test_lost_values_are_counted_and_not_in_quantiles(found):
    lost = row(found[0], ":Nan")["total"]
    # The last step of y, and hT, at two points and two draws.
    assert lost["lost"] == 2 * 2 * (3 + 3)
    assert lost["norm_ulps"]["worst"] < 100


def test_target_that_cannot_run_is_named(found):
    ((target, reason),) = found[0]["refused"].items()
    assert target.endswith(":Broken")
    assert "no luck today" in reason
    assert "builtin:rnn" not in found[0]["refused"]


def test_progress_stays_within_its_total(found):
    done, totals, _ = zip(*found[1], strict=True)
    assert done == tuple(range(totals[0]))
    assert set(totals) == {totals[0]}


def test_inaccuracy_near_zero_is_located(found):
    seen = {
        (a["target"].rpartition(":")[2], a["dtype"]): a
        for a in found[0]["activations"]
        if a.get("function") == "tanh"
    }
    ours, weak = seen["rnn", "float32"], seen["Weak", "float32"]
    assert ours["worst"] < 2
    assert weak["ulps"]["p999"] > 1000
    assert abs(weak["worst_at"]) < 1e-6
    assert weak["subnormal"]["flushed"] > 100
    assert ours["subnormal"] | {"values": 0} == {
        "values": 0,
        "flushed": 0,
        "worst": pytest.approx(0, abs=0.5),
    }
    by_start = {region["from"]: region["worst"] for region in weak["regions"]}
    assert by_start[-1.0] > 1e6
    assert by_start[8.0] < 2
    assert not any("relu" in a["target"] for a in found[0]["activations"])


@pytest.mark.parametrize(
    "target", ["builtin:gru", "torch.nn:GRU", "builtin:lstm", "onnx.reference:LSTM"]
)
def test_both_activations_are_measured_in_any_polarity(target):
    rows = {(r["function"], r["dtype"]): r for r in measure_activations(load(target), 8192, 0)}
    assert len(rows) == 4
    # A gate that is seen as 1 - σ(-a) would be off by 2^20 ulps and more at a = -15.
    assert all(r["regions"][0]["median"] < 2 for r in rows.values())
    assert all(r["values"] >= 8192 * 0.9 for r in rows.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arguments_are_of_every_binade(dtype):
    x, info = sample_arguments(dtype, 1 << 16, 3), np.finfo(dtype)
    assert x.dtype == dtype
    assert np.isfinite(x).all()
    _, exponent = np.frexp(x[x > 0])
    assert set(exponent.tolist()) >= set(range(info.minexp - info.nmant + 2, info.maxexp + 1))
    assert abs((x > 0).mean() - 0.5) < 0.01
    bends = (np.abs(x) >= 2.0**-16) & (np.abs(x) < 2.0**7)
    assert 0.5 < bends.mean() < 0.7
    binade = np.sort(x[(x >= 1) & (x < 2)])
    assert np.diff(binade).max() < 3 / (binade.size / 2)  # a stratum each, of half of them
    assert (x == sample_arguments(dtype, 1 << 16, 3)).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_exact_values_are_those_of_mpmath(name):
    x = np.array([0.3, -7.25, 1e-30, 40.0, -300.0])
    nearest, rest = exact_values(name, x)
    with mpmath.workdps(60):
        for a, n, r in zip(x, nearest, rest, strict=True):
            true = (
                mpmath.tanh(mpmath.mpf(a))
                if name == "tanh"
                else 1 / (1 + mpmath.exp(-mpmath.mpf(a)))
            )
            assert n == float(true)
            assert abs(n + mpmath.mpf(r) - true) < abs(true) * mpmath.mpf(2) ** -104


def test_values_outside_are_counted():
    x = np.full((1, 16), 20.0, np.float32)
    above = np.nextafter(np.ones_like(x), np.float32(2))
    assert activation_errors("tanh", x, above, *exact_values("tanh", x))["outside"] == 16
    assert activation_errors("tanh", x, np.ones_like(x), *exact_values("tanh", x))["outside"] == 0


def test_custom_cell_has_no_certified_values(file):
    with pytest.raises(UsageError, match="for which there are no certified values"):
        accuracy_report([(f"{file}:Own", None)], cases=1, seed=0, sample=16, points=TINY_POINTS)


def gk(*arguments):
    done = CliRunner().invoke(main, ["accuracy", *map(str, arguments)], env={"COLUMNS": "160"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "POINTS", TINY_POINTS)
    how = ("builtin:rnn", "--cases", "1", "--sample", "512")
    status, printed = gk(*how, "--json", tmp_path / "a.json", "--figure", tmp_path / "a.png")
    assert status == 0
    data = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert (data["schema"], data["seed"]) == ("gatecheck-accuracy-1", 0)
    assert "python-flint" in data["versions"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "Gradients: errors in ulps, without T=12 B=1 D=2 H=6 chaotic" in printed
    gk(*how, "--json", tmp_path / "b.json")
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()


def test_usage_errors_exit_at_once(tmp_path):
    assert gk("builtin:rnn", "--figure", tmp_path / "a.txt")[0] == 2
    assert gk("builtin:rnn", "--json", tmp_path / "none" / "a.json")[0] == 2
    assert gk("builtin:nothing")[0] == 2
    with pytest.raises(UsageError, match="there is no error to draw"):
        save_accuracy_figure({"points": [], "totals": []}, tmp_path / "a.png")


def test_without_python_flint_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(accuracy, "POINTS", TINY_POINTS)
    monkeypatch.setitem(sys.modules, "flint", None)
    for name in ("oracles.ball_arithmetic", "oracles.certified", "certified.cells"):
        monkeypatch.delitem(sys.modules, f"gatecheck.{name}", raising=False)
    status, printed = gk("builtin:rnn", "--cases", "1")
    assert status == 3
    assert 'pip install "gatecheck[certified]"' in printed
