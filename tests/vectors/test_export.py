"""Exported vectors: they detect faults, and the README's examples work.

A correct cell passes, and what is wrong with another is named.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.cli import main
from gatecheck.report.vectors_readme import readme
from gatecheck.vectors.cases import CASE_KINDS, RAGGED_KIND, draw_case, is_conclusive
from gatecheck.vectors.export import export
from gatecheck.vectors.files import parse_case, read_manifest

TORCH_CELL_SOURCE = """
import torch

def run(cell, params, x, dy, dhT, dcT, h0=None, c0=None):
    lstm = torch.nn.LSTM(x.shape[2], dhT.shape[1])
    for name, value in params.items():
        getattr(lstm, name).data = torch.tensor(value)
    leaf = lambda a: (torch.zeros(dhT.shape) if a is None else torch.tensor(a)).requires_grad_()
    x, h0, c0 = leaf(x), leaf(h0), leaf(c0)
    y, (hT, cT) = lstm(x, (h0[None], c0[None]))
    torch.autograd.backward([y, hT[0], cT[0]], [torch.tensor(a) for a in (dy, dhT, dcT)])
    out = {"y": y, "hT": hT[0], "cT": cT[0], "dx": x.grad, "dh0": h0.grad, "dc0": c0.grad}
    out |= {f"d{name}": getattr(lstm, name).grad for name in params}
    return {name: value.detach().numpy() for name, value in out.items()}
"""


def gk(*arguments):
    """Return exit status and output of a command that must exit cleanly."""
    done = CliRunner().invoke(main, ["vectors", *map(str, arguments)], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def example(folder, language):
    """Return the example in the README of a folder."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return code


@pytest.fixture(scope="module")
def lstm(tmp_path_factory):
    """Export a folder of three cases of an LSTM, once."""
    folder = tmp_path_factory.mktemp("exported") / "lstm"
    export(folder, readme=readme, cells=["lstm"], convention="pytorch", cases=3, seed=1)
    return folder


# ---- the cases


@pytest.mark.parametrize("cell", [RNN(), GRU(), LSTM(projection=3)], ids=str)
def test_cases_are_of_every_kind_and_conclusive(cell):
    cases = [
        draw_case(cell, kind, seed=0, number=k, dtype="float32")
        for k, kind in enumerate((*CASE_KINDS, RAGGED_KIND))
    ]
    assert all(is_conclusive(case) for case in cases)
    assert all(len({*case.sizes, cell.projection or 0}) == 5 for case in cases)
    assert {case.origin["regime"] for case in cases} == {
        "generic",
        "strong",
        "slow",
        "saturated",
        "large",
        "small",
    }
    steps = [case.sizes.T for case in cases]
    assert 1 in steps
    assert max(steps) == 40
    assert [k for k, case in enumerate(cases) if case.get("h0") is None] == [1]
    assert set(cases[-1]["lengths"]) > {cases[-1].sizes.T}
    assert draw_case(cell, CASE_KINDS[0], seed=0, number=0, dtype="float32") == cases[0]
    assert draw_case(cell, CASE_KINDS[0], seed=1, number=0, dtype="float32") != cases[0]


def test_both_files_hold_one_case(lstm):
    manifest, entries = read_manifest(lstm)
    for entry, row in zip(entries, manifest["cases"], strict=True):
        data = {
            ending: (lstm / "cases" / f"{entry.name}.{ending}").read_bytes()
            for ending in ("npz", "json")
        }
        a, b = (parse_case(entry, ending, data[ending]) for ending in ("npz", "json"))
        assert a.case == b.case
        assert list(a.expected) == list(b.expected) == list(row["results"])
        for k in a.expected:
            np.testing.assert_array_equal(a.expected[k], b.expected[k])
            np.testing.assert_array_equal(a.tolerance[k], b.tolerance[k])
            assert list(a.expected[k].shape) == row["results"][k]
        assert row["absent"] == [k for k in ("h0", "c0") if a.case.get(k) is None]


def test_export_lists_undetected_faults(tmp_path):
    status, printed = gk("export", tmp_path / "v", "--cells", "rnn,rnn-relu", "--cases", 1)
    assert json.loads((tmp_path / "v" / "manifest.json").read_text())["cells"] == [
        "rnn",
        "rnn-relu",
    ]
    assert status == 0
    hidden = json.loads((tmp_path / "v" / "manifest.json").read_text())["faults"]["rnn"]
    assert hidden["known"] > 100
    assert "tanh overflows" in {fault["name"] for fault in hidden["undetected"]}
    assert f"cannot reveal {len(hidden['undetected'])}: " in printed
    assert "tanh overflows" in (tmp_path / "v" / "README.md").read_text()


def test_an_export_is_whole_or_not_at_all(tmp_path):
    def breaks(manifest):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        export(tmp_path / "v", readme=breaks, cells=["rnn"], cases=1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "v").mkdir()
    export(tmp_path / "v", readme=readme, cells=["rnn"], cases=1, lengths=True)
    assert [p.name for p in tmp_path.iterdir()] == ["v"]
    status, printed = gk("export", tmp_path / "v")
    assert status == 2
    assert "is not empty, and nothing in it is overwritten: choose another folder" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "gruu"], "there is no cell 'gruu'"),
        (["--convention", "torch"], "there is no convention 'torch'"),
        (["--cell", "gru-before", "--convention", "pytorch"], "cannot express a GRU"),
        (["--cases", "0"], "--cases"),
    ],
)
def test_usage_errors_of_export(tmp_path, arguments, message):
    status, printed = gk("export", tmp_path / "v", *arguments)
    assert (status, message in printed) == (2, True)
    assert not (tmp_path / "v").exists()


# ---- the examples, end to end


def test_the_python_example_with_pytorch_and_then_with_a_bug(lstm, tmp_path):
    folder = shutil.copytree(lstm, tmp_path / "v")
    (folder / "answer.py").write_text(example(folder, "python"))

    def run_with(source):
        (folder / "my_cell.py").write_text(source)
        subprocess.run([sys.executable, "answer.py"], cwd=folder, check=True)
        return gk("check", folder, "--json", tmp_path / "out.json")

    status, printed = run_with(TORCH_CELL_SOURCE)
    assert status == 0
    assert printed.splitlines()[-1] == "pass  vectors of lstm: 3 cases, 3 passed, 0 failed"
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["counts"]["passed"] == 3
    names = [q["name"] for q in data["quantities"]["lstm"]]
    assert names == [
        "y",
        "hT",
        "cT",
        *(f"d{k}_{h}_l0" for k in ("weight", "bias") for h in ("ih", "hh")),
        "dx",
        "dh0",
        "dc0",
    ]
    assert all(
        0 < q["median_ulps"] < 8 and q["worst_ratio"] < 1 for q in data["quantities"]["lstm"]
    )

    swapped = (
        "value = value.copy(); "
        "value[:n] , value[n:2*n] = value[n:2*n].copy(), value[:n].copy(); getattr"
    )
    status, printed = run_with(
        TORCH_CELL_SOURCE.replace("        getattr", f"        n = len(value) // 4; {swapped}", 1)
    )
    assert status == 1
    assert "fail  vectors of lstm: 3 cases, 0 passed, 3 failed" in printed
    assert "wrong: y[t=0" in printed

    status, printed = run_with(
        TORCH_CELL_SOURCE.replace(
            '{name}": getattr(lstm, name).grad',
            '{name}": getattr(lstm, name).grad * (1 + (name[0] == "w"))',
        )
    )
    assert status == 1
    assert re.search(r"wrong: dW\[gate=i f g o\], dU\[gate=i f g o\]\s+right: y\[t=0\.\.", printed)
    assert re.search(r"dweight_ih_l0 +failed .* 3 of 3", printed)


def test_the_c_example(lstm, tmp_path, find_program):
    folder = lstm
    (tmp_path / "read.c").write_text(example(folder, "c"))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    command = [find_program("a C compiler"), *flags, "-o", tmp_path / "read"]
    subprocess.run([*command, tmp_path / "read.c"], check=True)

    def read(*arguments):
        return subprocess.run(
            [tmp_path / "read", *arguments], cwd=folder, capture_output=True, text=True
        )

    with np.load(folder / "cases" / "lstm-2.npz") as file:
        for section, name, stored in [
            ("inputs", "x", "x"),
            ("inputs", "weight_hh_l0", "weight_hh_l0"),
            ("expected", "dx", "expected.dx"),
        ]:
            printed = read("cases/lstm-2.json", section, name).stdout
            assert [float.fromhex(line) for line in printed.split()] == file[
                stored
            ].ravel().tolist()
    assert read("cases/lstm-2.json", "inputs", "h0").returncode == 1
    assert read("cases/lstm-2.json", "inputs", "y").returncode == 1
