"""Golden vectors: exported values are the nearest, and ulps count from them.

Where they cannot be had, the result says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.cases import draw
from gatecheck.cells import LSTM, RNN, Sizes
from gatecheck.certified import results as vector_values
from gatecheck.certified.cells import certify
from gatecheck.certified.results import certified_results
from gatecheck.checking.budgets import reference_results
from gatecheck.cli import main
from gatecheck.report.vectors_readme import readme
from gatecheck.vectors.check import check
from gatecheck.vectors.export import export, to_convention
from gatecheck.vectors.files import case_json, parse_case, read_manifest


def gk(*arguments):
    """Return exit status and output of a command, on one line."""
    done = CliRunner().invoke(main, ["vectors", *map(str, arguments)], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a folder of two cases of an RNN in float64, once.

    Its answers are what is expected.
    """
    folder = tmp_path_factory.mktemp("exported") / "rnn"
    export(
        folder, readme=readme, cells=["rnn"], convention="keras", cases=2, dtype="float64", seed=2
    )
    (folder / "answers").mkdir()
    for name in ("rnn-1", "rnn-2"):
        with np.load(folder / "cases" / f"{name}.npz") as file:
            answer = {
                k.removeprefix("expected."): file[k]
                for k in file.files
                if k.startswith("expected.")
            }
        np.savez(folder / "answers" / f"{name}.npz", **answer)
    return folder


def load_stored(folder, number=0):
    _, entries = read_manifest(folder)
    data = (folder / "cases" / f"{entries[number].name}.json").read_bytes()
    return entries[number], parse_case(entries[number], "json", data)


def test_expected_values_are_nearest(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["certified"], manifest["uncertified"]) == (True, [])
    assert [row["certified"] for row in manifest["cases"]] == [True, True]
    assert "python-flint" in manifest["versions"]
    assert "Every expected number is certified" in (exported / "README.md").read_text()
    differs = False
    for number in range(2):
        entry, found = load_stored(exported, number)
        nearest = to_convention(entry.cell, entry.convention, certify(found.case).values["float64"])
        reference = to_convention(entry.cell, entry.convention, reference_results(found.case))
        for name, value in nearest.items():
            np.testing.assert_array_equal(found.expected[name], value)
            differs |= bool((reference[name] != value).any())
    assert differs  # otherwise it would not matter which of both is exported


def test_ulps_are_counted_from_the_nearest(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "v")
    result = check(folder)
    assert (result.ok, list(result.notes), list(result.uncertified)) == (True, [], [])
    assert {q.worst_ulps for c in result.cases for q in c.quantities} == {0.0}
    with np.load(folder / "answers" / "rnn-1.npz") as file:
        answer = dict(file)
    answer["y"][0, 0, 0] += 3 * np.spacing(answer["y"][0, 0, 0])
    np.savez(folder / "answers" / "rnn-1.npz", **answer)
    off = {q.name: q.worst_ulps for q in check(folder).cases[0].quantities}
    assert {k: v for k, v in off.items() if v} == {"y": 3.0}
    status, printed = gk("check", folder, "--json", tmp_path / "out.json")
    assert status == 0
    assert "ulps: units in the last place, from certified results" in printed
    assert json.loads((tmp_path / "out.json").read_text())["certified"] is True


def test_a_number_that_is_called_certified_and_is_not_nearest_is_named(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "v")
    (folder / "cases" / "rnn-1.npz").unlink()
    entry, found = load_stored(folder)
    expected = {k: v.copy() for k, v in found.expected.items()}
    expected["dx"][0, 0, 0] = np.nextafter(expected["dx"][0, 0, 0], 1)
    text = json.loads((folder / "cases" / "rnn-1.json").read_text())
    inputs = entry.convention.from_canonical(entry.cell, found.case.params) | {
        k: found.case[k] for k in text["inputs"] if k in found.case.arrays
    }
    about = {k: v for k, v in text.items() if k not in ("inputs", "expected")}
    data = case_json(about, inputs, expected, found.tolerance)
    (folder / "cases" / "rnn-1.json").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cases"][0]["files"]["cases/rnn-1.json"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = check(folder)
    assert result.ok
    assert "rnn-1: its files call dx certified, but not every number is the nearest" in result.notes
    manifest["cases"][0]["certified"] = False
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert not any("nearest" in note for note in check(folder).notes)


def test_without_python_flint_nothing_is_certified_and_it_says_what_to_install(
    exported, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "flint", None)
    for name in ("oracles.ball_arithmetic", "oracles.certified", "certified.cells"):
        monkeypatch.delitem(sys.modules, f"gatecheck.{name}", raising=False)
    status, printed = gk("export", tmp_path / "v", "--cell", "rnn", "--cases", 1)
    assert status == 0
    why = 'not certified: certified values need python-flint: pip install "gatecheck[certified]"'
    assert f"the expected numbers are the reference's in float64, and {why}" in printed
    manifest = json.loads((tmp_path / "v" / "manifest.json").read_text())
    assert (manifest["certified"], manifest["cases"][0]["certified"]) == (False, False)
    status, printed = gk("check", exported)
    assert status == 0
    assert "units in the last place, from the reference's results in float64" in printed
    assert why in printed


def test_slow_certification_is_not_tried():
    case = draw(LSTM(), Sizes(1000, 10, 3, 10), seed=1, dtype="float32")
    assert certified_results(case) == (
        None,
        "certified values would take 2e+10 multiplications, which is more than 1e+09",
    )


def test_value_on_a_kink_is_not_certified():
    case = draw(RNN("relu"), Sizes(2, 1, 2, 3), seed=1, dtype="float32")
    on_it = case.replace(**{k: case[k] * 0 for k in ("W", "U", "b")})
    results, reason = certified_results(on_it)
    assert results is None
    assert reason.startswith(
        "512 bits are not enough to round dW[0, 0]: it lies on a kink or a tie"
    )
    assert certified_results(case)[1] == ""


def test_a_case_that_is_not_certified_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_values, "MAX_MULTIPLICATIONS", 8000)
    manifest = export(tmp_path / "v", readme=readme, cells=["rnn"], cases=4)
    named = [row["name"] for row in manifest["cases"] if not row["certified"]]
    assert 0 < len(named) < 4
    assert not manifest["certified"]
    assert (
        f"The expected numbers of {', '.join(named)} are the reference's in float64"
        in (tmp_path / "v" / "README.md").read_text()
    )
