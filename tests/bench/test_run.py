"""``gatecheck bench`` from the outside: what it writes, and usage errors."""

import json
import os

import pytest
from click.testing import CliRunner

from gatecheck.bench import run as running
from gatecheck.bench.run import BenchResult, Plan, environment, ratio_summary, run
from gatecheck.cli import main
from gatecheck.errors import TargetLostError
from gatecheck.report.bench.figure import save_bench_figure

TARGET = """
import os
import numpy as np

class Mine:
    cell = "rnn"

    def forward(self, params, x, h0):
        print("a target may print")
        h, y = h0, np.empty((*x.shape[:2], h0.shape[1]), x.dtype)
        for t in range(len(x)):
            h = y[t] = np.tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
        return y, h

class Dies(Mine):
    def forward(self, params, x, h0):
        print("about to go", flush=True)
        os._exit(7)
"""
QUICK_OPTIONS = (
    "--quick",
    "--threads",
    "1",
    "--size",
    "3,2,4,5",
    "--dtype",
    "float32",
    "--against",
    "numpy,gatecheck",
)


@pytest.fixture
def gk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "mine.py").write_text(TARGET)

    def gk(*arguments):
        done = CliRunner().invoke(main, ["bench", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, " ".join(done.output.split())

    return gk


def test_a_target_is_measured_and_the_files_say_what_the_table_says(gk, tmp_path):
    status, printed = gk(
        "mine.py:Mine", *QUICK_OPTIONS, "--json", "out.json", "--figure", "out.svg"
    )
    assert status == 0, printed
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["schema"] == "gatecheck-bench-2"
    assert data["subject"] == "mine.py:Mine"
    (point,) = data["points"]
    assert {
        k: point[k] for k in ("cell", "dtype", "work", "T", "B", "D", "H", "threads", "rounds")
    } == {
        "cell": "rnn",
        "dtype": "float32",
        "work": "forward",
        "T": 3,
        "B": 2,
        "D": 4,
        "H": 5,
        "threads": 1,
        "rounds": 3,
    }
    assert point["ratio"].keys() == {"numpy", "gatecheck"}
    assert all(
        point["interval"][k][0] <= r <= point["interval"][k][1] for k, r in point["ratio"].items()
    )
    assert point["gemm_fraction"] > 0
    assert data["floors"]["1"]["float32"].keys() == {"gemm", "gemv"}
    assert data["summary"]["1"]["numpy"]["lowest"] == point["ratio"]["numpy"]
    assert data["bars"] == {}
    assert {"processor", "cores", "load_before", "load_after"} <= data["machine"].keys()
    assert "numpy" in data["versions"]
    assert data["missing"] == {}
    assert not data["interrupted"]
    assert f"{point['ratio']['numpy']:.2f}" in printed
    assert "gradients are not measured: there is no backward" in printed
    assert "a target may print" not in printed
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")


def test_target_that_ends_its_process_is_reported(gk):
    status, printed = gk("mine.py:Dies", *QUICK_OPTIONS)
    assert status == 3
    assert (
        printed
        == "gatecheck: the process that measures mine.py:Dies ended in the middle of a point: "
        "about to go"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--against", "tensorflow"],
            "there is no peer tensorflow; the peers are torch, jax, onnxruntime, numpy, gatecheck",
        ),
        (["--threads", "0"], "the numbers of threads are 0, but should lie between 1 and"),
        (
            ["--threads", "100000"],
            "the numbers of threads are 100000, but should lie between 1 and",
        ),
        (
            ["--threads", "two"],
            "--threads is 'two', but should be comma-separated whole numbers, such as 1,2",
        ),
        (["--size", "1,2,3"], "sizes are written T,B,D,H, as 100,32,128,128; '1,2,3' is not"),
        (["--limit", "nan"], "'nan' is not a number of seconds above 0"),
        (["--convention", "keras"], "--convention needs a TARGET"),
        (
            ["x.py:Y", "--cell", "gru", "--cell", "lstm"],
            "x.py:Y is one cell, but 2 were named: gru, lstm",
        ),
        (["--json", "no/such/out.json"], "there is no folder no/such"),
        (["--figure", "out.doc"], "should end in .png, .svg, .pdf"),
    ],
)
def test_usage_errors_exit_2_before_measuring(gk, arguments, said, monkeypatch):
    monkeypatch.setattr(running, "_answers", lambda *_: pytest.fail("something was measured"))
    status, printed = gk(*arguments)
    assert status == 2
    assert printed.startswith("gatecheck: ")
    assert said in printed


# ---- what children answer, without children

POINT = {
    "cell": "gru",
    "dtype": "float32",
    "work": "forward",
    "T": 5,
    "B": 1,
    "D": 2,
    "H": 3,
    "threads": 1,
    "rounds": 3,
    "seconds": {"subject": 1e-3, "torch": 4e-3, "jax": 5e-4, "products": 1e-4},
    "ratio": {"torch": 4.0, "jax": 0.5},
    "interval": {"torch": [3.0, 5.0], "jax": [0.4, 1.1]},
    "gemm_fraction": 0.1,
    "gigaflops": 1.0,
    "absent": {"numpy": "NumPy rests"},
    "refused": {"onnxruntime": "y is off by 1.0e-03 of its norm"},
}
START = {
    "kind": "start",
    "missing": {"keras": "pip install it"},
    "limitations": [],
    "versions": {"python": "3"},
    "blas": ["openblas 1"],
    "floors": {"float32": {"gemm": 10.0, "gemv": 2.0}},
}


def fake_answers(monkeypatch, *answers):
    def fake(spec, threads):
        yield START
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            yield answer

    monkeypatch.setattr(running, "_answers", fake)


def test_ctrl_c_prints_and_writes_partial_result(gk, tmp_path, monkeypatch):
    fake_answers(monkeypatch, {"kind": "point", "point": POINT}, KeyboardInterrupt())
    status, printed = gk("--threads", "1", "--json", "out.json")
    assert status == 130
    assert "interrupted: these results are incomplete" in printed
    assert json.loads((tmp_path / "out.json").read_text())["points"] == [POINT]
    assert json.loads((tmp_path / "out.json").read_text())["interrupted"]


def test_shortfalls_and_omissions_are_printed(gk, monkeypatch):
    fake_answers(
        monkeypatch,
        {"kind": "point", "point": POINT},
        {"kind": "unmeasured", "point": "lstm float64"},
    )
    status, printed = gk("--threads", "1")
    assert status == 0
    assert (
        "torch: geometric mean 4.00 over 1 points, aim 2: reached; lowest 4.00; below 1: 0"
        in printed
    )
    assert (
        "jax: geometric mean 0.50 over 1 points, aim 2: not reached; lowest 0.50; below 1: 1"
        in printed
    )
    assert (
        "1 ratios fall short of 1, the lowest first: "
        "0.50 jax at gru float32 forward (5,1,2,3), 1 thread" in printed
    )
    assert (
        "onnxruntime was refused at gru float32 forward (5,1,2,3), 1 thread: "
        "y is off by 1.0e-03 of its norm" in printed
    )
    assert "keras was not measured: it is not installed (pip install it)" in printed
    assert "NumPy rests" in printed
    assert "no time for 1 points (--limit), the first being lstm float64" in printed
    assert "0.50~" in printed


def test_the_mean_is_geometric():
    two = [{"ratio": {"torch": 8.0}}, {"ratio": {"torch": 0.5}}]
    assert ratio_summary(two) == {
        "torch": {"geometric_mean": pytest.approx(2.0), "lowest": 0.5, "points": 2, "below_1": 1}
    }
    assert ratio_summary([]) == {}


def test_thread_counts_are_set_and_user_flags_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_mine=1")
    variables = environment(1)
    assert variables["OMP_NUM_THREADS"] == variables["OPENBLAS_NUM_THREADS"] == "1"
    assert variables["XLA_FLAGS"] == "--xla_mine=1 --xla_cpu_multi_thread_eigen=false"
    assert os.environ["XLA_FLAGS"] == "--xla_mine=1"


def test_the_time_is_shared_by_the_numbers_of_threads(monkeypatch):
    requests = []
    monkeypatch.setattr(running, "available_cores", lambda: 4)
    monkeypatch.setattr(
        running,
        "_answers",
        lambda spec, threads: requests.append((threads, spec["limit"])) or iter(()),
    )
    run(BenchResult(Plan(threads=(1, 2, 4), limit=90.0)))
    assert requests == [(1, 30.0), (2, 30.0), (4, 30.0)]


def test_silent_child_is_reported_as_lost(monkeypatch):
    monkeypatch.setattr(running.sys, "executable", "/bin/true")
    with pytest.raises(TargetLostError, match="the process that measures our cells"):
        run(BenchResult(Plan(threads=(1,))))


def test_the_figure_is_the_same_file_twice(tmp_path):
    bench = BenchResult(Plan(threads=(1,)), points=[POINT], starts={1: START})
    for name in ("a.svg", "b.svg"):
        save_bench_figure(bench.to_json(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
