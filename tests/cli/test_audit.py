"""The command line: exit status, output and usage errors."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import gatecheck
from gatecheck.auditing import audit
from gatecheck.cli import main

HAND_WRITTEN = '''
"""An LSTM by hand, in PyTorch's convention."""
import numpy as np


def sigmoid(a):
    return 0.5 * (1 + np.tanh(a / 2))


class MyLSTM:
    cell = "lstm"
    convention = "pytorch"

    def forward(self, params, x, h0, c0=None):
        return self.run(params, x, h0, c0)[:3]

    def run(self, params, x, h0, c0):
        b = params["bias_ih_l0"] + params["bias_hh_l0"]
        H, (T, B, _) = len(b) // 4, x.shape
        h = np.zeros((B, H), x.dtype) if h0 is None else h0
        c = np.zeros((B, H), x.dtype) if c0 is None else c0
        y, tape = np.zeros((T, B, H), x.dtype), []
        for t in range(T):
            a = x[t] @ params["weight_ih_l0"].T + h @ params["weight_hh_l0"].T + b
            i, f, g, o = np.split(a, 4, axis=1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            tape.append((i, f, g, o, c, h))
            c = f * c + i * g
            h = y[t] = o * np.tanh(c)
        return y, h, c, tape

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        W, U = params["weight_ih_l0"], params["weight_hh_l0"]
        y, h, c, tape = self.run(params, x, h0, c0)
        dh = np.zeros_like(h) if dhT is None else dhT
        dc = np.zeros_like(h) if dcT is None else dcT
        dW, dU, dx = np.zeros_like(W), np.zeros_like(U), np.zeros_like(x)
        db = np.zeros(len(W), x.dtype)
        for t in reversed(range(len(x))):
            i, f, g, o, c, h = tape[t]
            dh = dh if dy is None else dh + dy[t]
            m = np.tanh(f * c + i * g)
            dc = dc + dh * o * (1 - m * m)
            di, df = dc * g * i * (1 - i), dc * c * f * (1 - f)
            dg, do = dc * i * (1 - g * g), dh * m * o * (1 - o)
            da = np.concatenate([di, df, dg, do], axis=1)
            dW, dU, db = dW + da.T @ x[t], dU + da.T @ h, db + da.sum(0)
            dx[t], dh = da @ W, da @ U
            dc = dc * f
        gradients = {"weight_ih_l0": dW, "weight_hh_l0": dU, "bias_ih_l0": db, "bias_hh_l0": db}
        return gradients | {"x": dx, "h0": dh, "c0": dc}
'''
DROPS_FORGET = HAND_WRITTEN.replace("            dc = dc * f\n", "")
TARGETS = {
    "correct.py": HAND_WRITTEN,
    "broken.py": DROPS_FORGET,
    "crashes.py": HAND_WRITTEN.replace("b = params", "b = params['no such']; b = params"),
    "import_error.py": "1 / 0",
    "no_class.py": "x = 1",
    "exits.py": "import sys; sys.exit(0)",
    "exits_later.py": HAND_WRITTEN.replace(
        "return self.run", "raise SystemExit(0); return self.run"
    ),
    "tells.py": HAND_WRITTEN.replace(
        "return self.run", "open('begun', 'w').close(); return self.run"
    ),
    "interrupted.py": HAND_WRITTEN.replace(
        "return self.run", "raise KeyboardInterrupt; return self.run"
    ),
}
TARGETS["net.py"] = """
import torch


class Net(torch.nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.layer = torch.nn.GRU(inputs, hidden)

    def forward(self, x, h=None):
        return self.layer(x, h)
"""
ONE_PROPERTY = ("--profile", "quick", "--only", "gradients_within_budget")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to a folder with a file for each of TARGETS."""
    for name, source in TARGETS.items():
        (tmp_path / name).write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def run_gatecheck(folder):
    """Return a function that runs a command in this process.

    It returns the exit status and the output of both streams.
    """

    def gk(*arguments):
        done = CliRunner().invoke(main, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output

    return gk


def shell(command, **more):
    """Run a command in a shell; return exit status, output and errors."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"PATH": path, **more},
    )
    return done.returncode, done.stdout, done.stderr


# ---- the audit of a file


def test_a_correct_file_ends_0(run_gatecheck, folder):
    status, printed = run_gatecheck(
        "audit", "correct.py:MyLSTM", "--profile", "quick", "--json", "out.json"
    )
    assert status == 0
    assert printed.splitlines()[-1].startswith("pass  correct.py:MyLSTM as lstm: ")
    assert not (folder / "gatecheck-cases").exists()
    data = json.loads((folder / "out.json").read_text())
    assert data["verdict"] == "pass"
    assert data["convention"] == "pytorch"
    assert data["implementation"] == "correct.py:MyLSTM"
    assert {p["outcome"] for p in data["properties"]} == {"passed", "skipped"}
    assert all(p["reason"] for p in data["properties"] if p["outcome"] == "skipped")


def test_a_dropped_forget_factor_ends_1_names_what_is_wrong_and_replays(run_gatecheck, folder):
    names = ["forward_within_budget", "gradients_within_budget", "long_sequences_within_budget"]
    names += ["gradients_match_finite_differences", "taylor_remainder_has_next_order"]
    only = [word for name in names for word in ("--only", name)]
    status, printed = run_gatecheck(
        "audit", "broken.py:MyLSTM", "--profile", "quick", "--json", "out.json", *only
    )
    assert status == 1
    assert printed.splitlines()[-1].startswith("fail  broken.py:MyLSTM as lstm: ")
    assert re.search(r"wrong: .*\bdc0\b", printed)
    assert re.search(r"wrong: dW\[gate=i f g", printed)
    assert re.search(r"dx\[t=0\.\.", printed)
    data = json.loads((folder / "out.json").read_text())
    failed = {p["name"]: p for p in data["properties"] if p["outcome"] == "failed"}
    assert set(failed) == set(names[1:])
    assert all(Path(p["counterexample"]["file"]).is_file() for p in failed.values())
    # The command is on one line that is not wrapped.
    commands = [line.split("replay: ")[1] for line in printed.splitlines() if "replay: " in line]
    assert len(commands) == len(failed)
    status, out, errors = shell(commands[0])
    assert (status, "failed" in out) == (1, True), errors
    (folder / "broken.py").write_text(HAND_WRITTEN)
    for command in commands:
        assert run_gatecheck(*shlex.split(command)[1:])[0] == 0, command


def test_a_target_whose_name_needs_quotes_is_replayed_as_printed(run_gatecheck, folder):
    (folder / "my cells").mkdir()
    (folder / "my cells" / "lstm 2.py").write_text(DROPS_FORGET)
    status, printed = run_gatecheck(
        "audit", "my cells/lstm 2.py:MyLSTM", *ONE_PROPERTY, "--cases", "my cases"
    )
    assert status == 1
    (command,) = [line.split("replay: ")[1] for line in printed.splitlines() if "replay: " in line]
    status, printed = run_gatecheck(*shlex.split(command)[1:])
    assert (status, "dc0[0, 0]" in printed) == (1, True), printed


def test_a_device_reaches_the_target_and_is_printed(run_gatecheck):
    status, printed = run_gatecheck(
        "audit",
        "net.py:Net",
        "--cell",
        "gru",
        "--device",
        "cpu:0",
        "--profile",
        "quick",
        "--only",
        "outputs_are_causal",
    )
    assert status == 0
    assert "it was computed on cpu:0" in printed


# ---- exit status

MISTAKES = [
    ("audit builtin:gru --no-such-option", 2, "No such option"),
    ("audit builtin:gru --profile slow", 2, "slow"),
    ("audit builtin:gru --only no_such", 2, "there is no property no_such"),
    ("audit builtin:gru --seed -1", 2, "-1"),
    ("audit gru", 2, "should be written builtin:CELL"),
    ("audit builtin:gruu", 2, "there is no cell 'gruu'"),
    ("audit torch.nn:Linear", 2, "not a recurrent class"),
    ("audit correct.py:MyLSTM --cell lstmm", 2, "there is no cell 'lstmm'"),
    ("audit correct.py:MyLSTM --convention torhc", 2, "there is no convention 'torhc'"),
    ("audit --replay x.npz", 2, "need a TARGET"),
    ("audit --cell gru", 2, "need a TARGET"),
    ("audit builtin:gru --profile quick --only outputs_are_causal --replay ''", 2, ""),
    (
        "audit builtin:gru --convention pytorch --profile quick --only outputs_are_causal",
        2,
        "convention",
    ),
    ("audit builtin:gru --cell lstm --profile quick --only outputs_are_causal", 2, "lstm"),
    ("audit --device cpu", 2, "need a TARGET"),
    (
        "audit builtin:gru --device cpu",
        2,
        "builtin:gru has no choice of devices; --device cpu does not apply to it",
    ),
    ("audit correct.py:MyLSTM --device cuda", 2, "has no choice of devices"),
    ("audit torch.nn:GRU --device cdua", 2, "PyTorch knows no device 'cdua'"),
    ("audit torch.nn:GRU --device cuda:77", 3, "PyTorch cannot compute on 'cuda:77' here: "),
    (
        "audit net.py:Net --cell gru --device cuda:77",
        3,
        "PyTorch cannot compute on 'cuda:77' here: ",
    ),
    ("audit builtin:gru --replay none.npz", 2, "there is no file none.npz"),
    ("audit builtin:gru --replay correct.py", 2, "correct.py does not hold a gatecheck case"),
    ("audit builtin:gru --replay .", 2, ". cannot be read: Is a directory"),
    (
        "audit builtin:rnn --profile quick --only outputs_are_causal --json none/out.json",
        2,
        "none/out.json cannot be written",
    ),
    ("audit builtin:rnn --json .", 2, "is a directory"),
    (
        "audit broken.py:MyLSTM --profile quick --only gradients_within_budget --cases correct.py",
        2,
        "correct.py",
    ),
    ("calibrate", 2, "Missing argument"),
    ("calibrate builtin:gru --cases 0", 2, "0"),
    ("decay --cell gruu", 2, "there is no cell 'gruu'"),
    ("decay --init none", 2, "there is no initializer 'none'"),
    ("decay --init chrono:x", 2, "chrono:TMAX"),
    ("decay --init chrono:1", 2, "chrono:TMAX"),
    ("decay --hidden 0", 2, ""),
    ("decay --steps 0", 2, ""),
    ("decay --steps -5", 2, ""),
    ("decay --inputs 0", 2, ""),
    ("decay --seeds 0", 2, ""),
    ("decay --cell rnn --hidden 4 --steps 20 --seeds 1 --out correct.py", 2, "correct.py"),
    ("nonsense", 2, "No such command"),
    ("audit none.py:MyLSTM", 3, "there is no file none.py"),
    ("audit no_such_package:MyLSTM", 3, "ModuleNotFoundError"),
    ("audit import_error.py:MyLSTM", 3, "ZeroDivisionError: division by zero"),
    ("audit no_class.py:MyLSTM", 3, "there is no MyLSTM there"),
    ("audit no_class.py:x", 3, "has no forward"),
    ("audit exits.py:MyLSTM", 3, "SystemExit"),
]


@pytest.mark.parametrize(("command", "status", "fragment"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_usage_error_is_one_line(run_gatecheck, command, status, fragment):
    got, printed = run_gatecheck(*shlex.split(command))
    assert got == status, printed
    assert fragment in printed
    assert "Traceback" not in printed
    # click's own: usage, a hint, an empty line, the error
    assert len(printed.strip().splitlines()) <= 4, printed


@pytest.mark.parametrize("option", ["--json", "--cases"])
def test_an_unwritable_output_fails_before_the_audit(run_gatecheck, monkeypatch, option):
    """Fail early, as an audit may take an hour."""
    monkeypatch.setattr(audit, "run_audit", lambda *a, **k: pytest.fail("the audit ran"))
    status, _ = run_gatecheck("audit", "builtin:rnn", option, "correct.py/none/it")
    assert status == 2


@pytest.mark.parametrize(
    ("target", "status", "fragment"),
    [("crashes.py", 1, "KeyError"), ("exits_later.py", 1, "SystemExit")],
)
def test_a_crash_in_the_target_is_a_finding(run_gatecheck, target, status, fragment):
    got, printed = run_gatecheck(
        "audit", f"{target}:MyLSTM", "--profile", "quick", "--only", "forward_within_budget"
    )
    assert got == status
    assert f"forward raised {fragment}" in printed
    assert "Traceback" not in printed


def test_nothing_to_run_does_not_pass(run_gatecheck, folder):
    (folder / "forward.py").write_text(HAND_WRITTEN.replace("def backward", "def no_backward"))
    status, printed = run_gatecheck("audit", "forward.py:MyLSTM", *ONE_PROPERTY)
    assert status == 1
    assert printed.splitlines()[-1].startswith(
        "error  forward.py:MyLSTM as lstm: 0 ran, 0 failed, 1 skipped"
    )


def test_a_target_that_interrupts_is_a_finding(run_gatecheck):
    status, printed = run_gatecheck(
        "audit", "interrupted.py:MyLSTM", *ONE_PROPERTY[:2], "--only", "forward_within_budget"
    )
    assert status == 1
    assert "the target raised KeyboardInterrupt" in printed
    assert "Traceback" not in printed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_ends_an_audit(folder):
    arguments = ["audit", "tells.py:MyLSTM", "--profile", "thorough"]
    code = f"from gatecheck.cli import main; main({arguments})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (folder / "begun").exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].startswith("gatecheck: interrupted")
    assert "Traceback" not in out + errors


# ---- what is printed


def test_the_verdict_is_one_line_however_narrow_the_output(run_gatecheck, monkeypatch):
    """Print the verdict unwrapped, for `grep ^pass` and `tail -1` on a pipe."""
    monkeypatch.setenv("COLUMNS", "50")
    _, printed = run_gatecheck(
        "audit", "correct.py:MyLSTM", "--profile", "quick", "--only", "outputs_are_causal"
    )
    last = "pass  correct.py:MyLSTM as lstm: 1 ran, 0 failed, 0 skipped, 0 inconclusive; seed 0"
    assert printed.splitlines()[-1] == last


@pytest.mark.parametrize("command", ["audit", "calibrate", "decay"])
def test_help_shows_examples(run_gatecheck, command):
    status, printed = run_gatecheck(command, "--help")
    assert status == 0
    assert "Example" in printed
    assert f"gatecheck {command} " in printed.partition("Example")[2]


def test_version(run_gatecheck):
    assert run_gatecheck("--version") == (0, f"gatecheck, version {gatecheck.__version__}\n")


def test_audit_of_installed_frameworks(run_gatecheck, monkeypatch, folder):
    from gatecheck.targets import loading

    monkeypatch.setattr(
        loading, "installed_targets", lambda: [("builtin:rnn", None), ("torch.nn:RNN", "rnn-relu")]
    )
    status, printed = run_gatecheck(
        "audit", "--only", "forward_within_budget", "--only", "empty_sequence", "--json", "all.json"
    )
    assert status == 0
    assert "PyTorch refuses T = 0" in printed
    data = json.loads((folder / "all.json").read_text())
    assert [(a["implementation"], a["cell"], a["verdict"]) for a in data["audits"]] == [
        ("builtin:rnn", "rnn", "pass"),
        ("torch.nn:RNN", "rnn-relu", "pass"),
    ]


def test_a_narrow_terminal_breaks_no_command(run_gatecheck, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    status, printed = run_gatecheck("audit", "broken.py:MyLSTM", *ONE_PROPERTY)
    assert status == 1
    (command,) = [line.split("replay: ")[1] for line in printed.splitlines() if "replay: " in line]
    assert command.endswith(".npz")
    assert "gradients_within_budget failed" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no head")
def test_a_closed_pipe_is_not_an_error(folder):
    status, out, errors = shell(
        f"gatecheck audit correct.py:MyLSTM {' '.join(ONE_PROPERTY)} | head -1"
    )
    assert status == 0
    assert len(out.splitlines()) <= 1
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_piped_output_has_no_escape_codes(folder):
    status, out, errors = shell(
        f"gatecheck audit broken.py:MyLSTM {' '.join(ONE_PROPERTY)}", NO_COLOR="1"
    )
    assert status == 1, errors
    assert "\x1b" not in out + errors


@pytest.mark.parametrize(
    ("target", "encoding"),
    [("broken.py:MyLSTM", "cp1252"), ("", "ascii")],
    ids=["finding", "matrix"],
)
def test_a_limited_encoding_still_shows_the_verdict(folder, target, encoding):
    """Replace characters that the encoding lacks, as in a file on Windows."""
    only_one = "from gatecheck.targets import loading"
    only_one += "; loading.installed_targets = lambda: [('broken.py:MyLSTM', None)]"
    only_one += "; from gatecheck.auditing import explore; explore.SHRINKING_S = 0"
    code = f"{only_one}; from gatecheck.cli import main; main()"
    status, out, errors = shell(
        f'"{sys.executable}" -c "{code}" audit {target} {" ".join(ONE_PROPERTY)}',
        PYTHONIOENCODING=encoding,
    )
    assert status == 1, errors
    assert "fail  broken.py:MyLSTM" in out
    assert "Traceback" not in errors


# ---- calibrate, decay


def test_calibrate_ends_1_on_an_alarm(run_gatecheck, folder, monkeypatch):
    from gatecheck.accuracy import calibration

    monkeypatch.setattr(
        calibration,
        "sharpness",
        lambda seed, tick: [{"cell": "gru", "equation": "z", "relative_error_seen": 1e-6}],
    )
    monkeypatch.setattr(
        calibration,
        "truncation",
        lambda runs, seed, tick: {"runs": 1, "caught": 1, "T": 60, "cut_at": 30},
    )
    monkeypatch.setattr(calibration, "tightness", lambda *_: [])
    status, _ = run_gatecheck(
        "calibrate", "correct.py:MyLSTM", "--cases", "2", "--json", "right.json"
    )
    assert status == 0
    assert json.loads((folder / "right.json").read_text())["calibration"][0]["alarms"] == 0
    assert run_gatecheck("calibrate", "broken.py:MyLSTM", "--cases", "2")[0] == 1


SMALL = (
    "decay",
    "--cell",
    "rnn",
    "--init",
    "uniform",
    "--hidden",
    "8",
    "--inputs",
    "2",
    "--steps",
    "60",
    "--seeds",
    "2",
)


def test_decay_writes_its_files(run_gatecheck, folder):
    status, printed = run_gatecheck(*SMALL, "--out", "a/b")
    assert status == 0
    assert json.loads((folder / "a/b/decay.json").read_text(), parse_constant=pytest.fail)
    assert (folder / "a/b/decay.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "a/b/decay.svg").read_text()
    assert "a/b/decay.svg" in printed


def test_decay_without_matplotlib_prints_table_and_reason(run_gatecheck, folder, monkeypatch):
    for name in ["matplotlib", *(n for n in sys.modules if n.startswith("matplotlib."))]:
        monkeypatch.setitem(sys.modules, name, None)
    status, printed = run_gatecheck(*SMALL)
    assert status == 0
    assert "no report: " in printed
    assert "gatecheck[report]" in printed
    assert "uniform" in printed
    assert {f.name for f in (folder / "gatecheck-decay").iterdir()} == {"decay.json"}
