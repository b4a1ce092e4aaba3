"""Timing of audits: processes, compilation caches, and failures."""

import json
import sys
from pathlib import Path

import pytest

from gatecheck.bench import audits
from gatecheck.bench.audits import CHECKS_PER_SECOND, COMMAND, Workspace, section
from gatecheck.bench.rows import answers
from gatecheck.errors import TargetError
from gatecheck.kernels.builtin import KERNEL_CELLS

TARGET = """
import numpy as np

class Mine:
    cell = "rnn"

    def forward(self, params, x, h0):
        h, y = h0, np.empty((*x.shape[:2], h0.shape[1]), x.dtype)
        for t in range(len(x)):
            h = y[t] = np.tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
        return y, h
"""


@pytest.fixture
def processes(monkeypatch):
    """Replace processes of Python, and record their caches and arguments.

    An audit in such a process makes 321 checks.
    """
    calls = []

    def python(self, *arguments, cache="warm", failure_status=2):
        calls.append((cache, arguments))
        if "--json" in arguments:
            Path(arguments[arguments.index("--json") + 1]).write_text(
                json.dumps({"counts": {"checks": 321}})
            )
        return '["numpy", "numpy.linalg"]' if arguments[1] == audits.DEPENDENCIES else "5"

    monkeypatch.setattr(Workspace, "run_python", python)
    return calls


def rows(found):
    return [answer["row"] for answer in answers(found) if answer["kind"] == "row"]


def test_every_bar_of_the_audits_has_its_row(processes, tmp_path):
    found = rows(section(quick=False, folder=tmp_path))
    bars = {row["what"]: row["bar"] and (row["bar"]["of"], row["bar"]["limit"]) for row in found}
    assert bars.pop("import gatecheck") == ("seconds", 0.3)
    assert bars.pop("modules of numba that import gatecheck loads") == ("number", 0)
    assert bars.pop("gatecheck audit builtin:lstm --profile quick, nothing compiled") == (
        "seconds",
        20.0,
    )
    assert bars.pop("gatecheck audit, nothing compiled") == ("seconds", 120.0)
    assert bars.pop("importing the 2 modules of 1 packages that it depends on") is None
    of, limit = bars.pop("gatecheck audit builtin:lstm --profile quick")
    assert of == "seconds"
    imports = next(row["seconds"] for row in found if row["what"].startswith("importing"))
    assert limit - 2 == pytest.approx(2 * imports, rel=1e-3)
    assert bars == {
        f"gatecheck audit builtin:{cell.name} --profile ci": ("rate", CHECKS_PER_SECOND)
        for cell in KERNEL_CELLS
    }
    assert {row["number"] for row in found if row["what"].endswith("ci")} == {321}
    assert [row["met"] for row in found if "numba" in row["what"]] == [False]


def test_only_cold_audits_start_without_cache(processes, tmp_path):
    rows(section(quick=False, folder=tmp_path))
    called = [(cache, arguments[1:]) for cache, arguments in processes if arguments[1] == COMMAND]
    everything = [
        (cache, arguments) for cache, arguments in called if arguments == (COMMAND, "audit")
    ]
    assert everything == [("everything", (COMMAND, "audit"))]
    first = next(arguments for cache, arguments in called if cache == "warm")
    assert first == (COMMAND, "audit", "builtin:lstm", "--profile", "quick")


def test_failed_process_raises(tmp_path):
    place = Workspace(tmp_path, ())
    assert place.run_python("-c", "import os; print(os.environ['NUMBA_CACHE_DIR'])").strip() == str(
        tmp_path / "warm"
    )
    place.run_python("-c", "raise SystemExit(1)")  # an audit with findings
    with pytest.raises(
        TargetError, match=r"^raise SystemExit\(1\) ended with exit status 1: it said nothing"
    ):
        place.run_python("-c", "raise SystemExit(1)", failure_status=1)
    with pytest.raises(
        TargetError,
        match=r"^gatecheck audit no_such_module:X ended with exit status 3: "
        r"gatecheck: importing no_such_module",
    ):
        place.run_audit("no_such_module:X")


def test_real_audit_and_its_dependencies(tmp_path):
    (tmp_path / "mine.py").write_text(TARGET)
    place = Workspace(tmp_path, ("--only", "empty_sequence"))
    (checked,) = audits._checks(place, "mine.py:Mine")
    assert checked.number > 0
    assert checked.rate == checked.number / checked.seconds
    assert checked.what == "gatecheck audit mine.py:Mine --profile ci --only empty_sequence"
    names = audits.dependencies(place, ("mine.py:Mine",))
    assert {"numpy", "scipy.special", "hypothesis", "click", "rich.console"} <= set(names)
    assert not any(
        name.partition(".")[0] in ("gatecheck", "os", "json", "mine")
        or name in sys.builtin_module_names
        for name in names
    )
    place.run_python("-c", f"import {', '.join(names)}", failure_status=1)
    started, modules = audits._imports(place, 1)
    assert started.seconds > 0
    assert (modules.number, modules.is_met) == (0, True)
