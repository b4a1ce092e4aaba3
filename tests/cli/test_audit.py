"""``gatecheck audit`` of a file: verdict, exit status, crashes and interruptions."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gatecheck.auditing import audit
from helpers.commands import DROPS_FORGET, HAND_WRITTEN, ONE_PROPERTY, shell


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
    assert "forward raised KeyboardInterrupt" in printed
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
