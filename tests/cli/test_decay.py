"""Files of ``gatecheck decay``, and its table without matplotlib."""

import json
import sys

import pytest

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
