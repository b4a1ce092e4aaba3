"""Breakdown of the time at the points that fall short of their bars.

The parts of each run alone, in this process and on one core. Run as ``OMP_NUM_THREADS=1 python
where.py``.
"""

import cProfile
import io
import pstats
import subprocess
import sys
import time
from functools import partial

import numpy as np

from gatecheck.auditing import audit as runner
from gatecheck.bench.audits import COMMAND
from gatecheck.bench.gradchecks import SIZES, check_ours
from gatecheck.bench.timing import race
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.cells.validation import check_inputs
from gatecheck.checking import budgets
from gatecheck.kernels import Builtin, loops
from gatecheck.kernels.activations import SIGMOID, TANH, activate
from gatecheck.kernels.gemm import choose_steps_per_gemm, gemm_acc, input_forward
from gatecheck.kernels.jit import jit
from gatecheck.kernels.schedule import make_schedule

STEPS = (
    Sizes(100, 16, 32, 64),
    Sizes(100, 32, 128, 128),
    Sizes(100, 64, 256, 256),
    Sizes(50, 64, 512, 512),
)
SHORT = Sizes(50, 1, 8, 16)


def best_microseconds(call, rounds=15):
    """Return the least microseconds that a call takes."""
    return 1e6 * min(race({"it": call}, rounds=rounds, least=0.01)["it"])


@jit
def _recurrent(T, a, h, U):
    for _ in range(T):
        for k in range(4):
            gemm_acc(a[k], h, U[k])


@jit
def _inputs(T, x, W, b, a, ahead, B):
    for t in range(T):
        input_forward(x, W, b, a, t, t % ahead, ahead, B, 0, B)


@jit
def _activations(T, a, m):
    for _ in range(T):
        for k in range(4):
            activate(TANH if k == 2 else SIGMOID, a[k])
        activate(TANH, m)


def time_forward(sizes, dtype):
    """Print the time of the LSTM's forward, its products and its activations."""
    T, B, D, H = sizes
    cell = as_cell("lstm")
    case = draw(cell, sizes, seed=0, dtype=dtype)
    order = make_schedule(T, B, None)
    arrays = loops.forward_loop(
        cell, case.params, case["x"].copy(), case["h0"], case["c0"], order, steps=1, states=2
    ).arrays
    rng = np.random.default_rng(0)
    a, m, h = (rng.standard_normal(shape).astype(dtype) for shape in ((4, B, H), (B, H), (B, H)))
    whole = best_microseconds(
        partial(Builtin(cell).forward, case.params, case["x"], case["h0"], case["c0"])
    )
    products = best_microseconds(partial(_recurrent, T, a.copy(), h, arrays["U"]))
    products += best_microseconds(
        partial(
            _inputs,
            T,
            arrays["x"],
            arrays["W"],
            arrays["b"],
            arrays["a"],
            choose_steps_per_gemm(B),
            B,
        )
    )
    activations = best_microseconds(partial(_activations, T, a, m))
    rate = 2 * T * B * 4 * H * (D + H) / products / 1e3
    ns = 1e3 * activations / (5 * T * B * H)
    print(
        f"lstm forward {dtype} {','.join(map(str, sizes)):>14}: {whole:8.0f} µs; "
        f"products {products / whole:4.0%} ({rate:3.0f} GF/s), "
        f"activations {activations / whole:4.0%} ({ns:.2f} ns each), "
        f"the rest {1 - (products + activations) / whole:4.0%}"
    )


def time_short(name):
    """Print the time around the loop over time where the loop is short."""
    cell = as_cell(name)
    case = draw(cell, SHORT, seed=0, dtype="float32")
    given = [case.params, case["x"], *(case[f"{s}0"] for s in cell.state)]
    states = (given[2], given[3] if len(given) > 3 else None)
    order = make_schedule(SHORT.T, SHORT.B, None)
    prepare = partial(
        loops.forward_loop, cell, given[0], case["x"].copy(), *states, order, steps=1, states=2
    )
    loop, flag, arrays = prepare()
    whole = best_microseconds(partial(Builtin(cell).forward, *given))
    parts = {
        "loop": best_microseconds(
            partial(
                loop,
                flag,
                order.n_active,
                choose_steps_per_gemm(SHORT.B),
                *arrays.values(),
                0,
                SHORT.B,
            )
        ),
        "weights packed, room made": best_microseconds(prepare),
        "arguments checked": best_microseconds(partial(check_inputs, cell, *given)),
    }
    listed = ", ".join(f"{k} {v:.0f}" for k, v in parts.items())
    print(
        f"{name} forward float32 {','.join(map(str, SHORT))}: {whole:.0f} µs: "
        f"{listed}, the rest {whole - sum(parts.values()):.0f}"
    )


def time_gradcheck():
    """Print the time of the fast check of a full Jacobian, and of its passes.

    The passes are the forwards and backwards alone.
    """
    cell = as_cell("lstm")
    case = draw(cell, SIZES, seed=0, dtype="float64")
    builtin = Builtin(cell)
    at = case.params, case["x"], case["h0"], case["c0"]
    forwards = 0.0
    for name in case.inputs:
        entries = np.arange(case[name].size)
        forwards += best_microseconds(
            partial(builtin.forward_each, name, entries, case[name].reshape(-1) + 1e-6, *at),
            rounds=3,
        )
    T, B, _, H = case.sizes
    dy = np.eye(T * B * H).reshape(-1, T, B, H)
    none = np.zeros((len(dy), B, H))
    backwards = best_microseconds(
        partial(builtin.backward_each, *at, dy=dy, dhT=none, dcT=none), rounds=5
    )
    whole = best_microseconds(partial(check_ours, case, True), rounds=5)
    print(
        f"gradcheck, fast, lstm {','.join(map(str, SIZES))}: {whole / 1e3:.0f} ms: "
        f"two forwards of each of {sum(case[k].size for k in case.inputs)} inputs "
        f"{2 * forwards / 1e3:.0f}, "
        f"{len(dy)} backwards {backwards / 1e3:.0f}"
    )


CALLS = {
    "kernels loaded": ("jit.py", "load_overload"),
    "cases drawn": ("explore.py", "_draw_cases"),
    "target called": ("subject.py", "call"),
    "arrays spelt for it": ("subject.py", "arguments"),
    "full Jacobians": ("gradients.py", "_run_gradcheck"),
    "budgets read": ("budgets.py", "cached"),
    "compared": ("evidence.py", "check_agreement"),
}


def profile_audit(name):
    """Print shares of the time of an audit that compiles nothing.

    Every budget is on disk. Some shares lie within others.
    """
    subprocess.run(
        [sys.executable, "-c", COMMAND, "audit", f"builtin:{name}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    profiler = cProfile.Profile()
    start = time.perf_counter()
    profiler.enable()
    with budgets.use_disk_cache():
        result = runner.audit(Builtin(name))
    profiler.disable()
    seconds = time.perf_counter() - start
    stats = pstats.Stats(profiler, stream=io.StringIO()).stats
    shares = {
        what: sum(
            row[3]
            for place, row in stats.items()
            if place[0].endswith(f"/{file}") and place[2] == function
        )
        / seconds
        for what, (file, function) in CALLS.items()
    }
    listed = ", ".join(f"{k} {v:.0%}" for k, v in shares.items())
    print(
        f"audit builtin:{name}, profile ci, profiled: "
        f"{result.to_json()['counts']['checks']} checks in {seconds:.1f} s; {listed}"
    )


if __name__ == "__main__":
    for dtype in ("float32", "float64"):
        for sizes in STEPS:
            time_forward(sizes, dtype)
    for name in ("rnn", "gru", "lstm"):
        time_short(name)
    time_gradcheck()
    profile_audit("lstm")
