"""Answers to vectors: judged, faults named, and the folder not trusted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.certified.results import certified_results
from gatecheck.cli import main
from gatecheck.report.vectors_readme import readme
from gatecheck.vectors import check as vectors
from gatecheck.vectors.check import check
from gatecheck.vectors.export import export


def gk(*arguments):
    """Return exit status and output of a command that must exit cleanly."""
    done = CliRunner().invoke(main, ["vectors", *map(str, arguments)], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a folder of two cases of an RNN, once."""
    folder = tmp_path_factory.mktemp("exported") / "rnn"
    export(folder, readme=readme, cells=["rnn"], convention="pytorch", cases=2)
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    """Return a separate folder of two cases of an RNN, answered correctly."""
    shutil.copytree(exported, tmp_path / "v")
    (tmp_path / "v" / "answers").mkdir()
    for name in ("rnn-1", "rnn-2"):
        np.savez(tmp_path / "v" / "answers" / f"{name}.npz", **correct_answer(tmp_path / "v", name))
    return tmp_path / "v"


def correct_answer(folder, name, dtype="float32"):
    """Return a correct answer: what is expected, rounded."""
    with np.load(folder / "cases" / f"{name}.npz") as file:
        return {
            k.removeprefix("expected."): file[k].astype(dtype)
            for k in file.files
            if k.startswith("expected.")
        }


def write_answer(folder, name="rnn-1", **changed):
    """Write an answer with some arrays changed; None leaves one out."""
    arrays = correct_answer(folder, name) | changed
    np.savez(
        folder / "answers" / f"{name}.npz", **{k: v for k, v in arrays.items() if v is not None}
    )


# ---- answers


def test_answers_in_any_json_notation(folder):
    arrays = correct_answer(folder, "rnn-1")
    written = {k: v.tolist() for k, v in arrays.items()}
    written["y"] = {
        "shape": list(arrays["y"].shape),
        "values": [v.hex() for v in arrays["y"].ravel().tolist()],
    }
    written["hT"] = [[repr(v) for v in row] for row in arrays["hT"].tolist()]
    (folder / "answers" / "rnn-1.npz").unlink()
    (folder / "answers" / "rnn-1.json").write_text(json.dumps(written))
    assert check(folder).ok


def test_outputs_alone_are_an_answer(folder):
    for name in ("rnn-1", "rnn-2"):
        write_answer(folder, name, **{k: None for k in correct_answer(folder, name) if k[0] == "d"})
    status, printed = gk("check", folder)
    assert status == 0
    assert "2 answered without gradients" in printed


def test_one_bias_does_not_make_up_for_the_other(folder):
    whole = correct_answer(folder, "rnn-1")["dbias_ih_l0"]
    write_answer(folder, dbias_ih_l0=whole * 2, dbias_hh_l0=whole * 0)
    found = check(folder).cases[0]
    assert [q.name for q in found.quantities if q.outcome == "failed"] == [
        "dbias_ih_l0",
        "dbias_hh_l0",
    ]
    assert found.reason.startswith("dbias_ih_l0[")


def test_the_gradient_of_an_absent_state_may_be_left_out(folder):
    write_answer(folder, "rnn-2", dh0=None)
    assert check(folder).ok
    write_answer(folder, "rnn-1", dh0=None)
    assert check(folder).cases[0].reason.endswith("it has no dh0")


def with_nan(a):
    return np.where(np.arange(a.size).reshape(a.shape) == 1, np.nan, a).astype(a.dtype)


@pytest.mark.parametrize(
    ("outcome", "message", "changed"),
    [
        ("failed", "y[t=0, 0, 1] is nan, but should be", lambda a: {"y": with_nan(a["y"])}),
        ("failed", "wrong: dh0", lambda a: {"dh0": -a["dh0"]}),
        ("malformed", "it has no hT", lambda a: {"hT": None}),
        ("malformed", "it has no dx", lambda a: {"dx": None}),
        (
            "malformed",
            "it holds unknown arrays 'dX'; the names are y, hT,",
            lambda a: {"dX": a["dx"]},
        ),
        (
            "malformed",
            "y has shape (6, 4, 7), but should have shape (6, 4, 8)",
            lambda a: {"y": a["y"][:, :, 1:]},
        ),
        (
            "malformed",
            "y has dtype float16, but should have dtype float32",
            lambda a: {"y": a["y"].astype("float16")},
        ),
        ("malformed", "y has dtype int64", lambda a: {"y": a["y"].astype(int)}),
        (
            "malformed",
            "y holds object, but should hold numbers",
            lambda a: {"y": a["y"].astype(object)},
        ),
    ],
)
def test_error_in_an_answer_is_named(folder, outcome, message, changed):
    write_answer(folder, **changed(correct_answer(folder, "rnn-1")))
    found = check(folder)
    assert [c.outcome for c in found.cases] == [outcome, "passed"]
    assert message in found.cases[0].reason
    status, printed = gk("check", folder)
    assert status == 1
    assert message in printed


def test_missing_doubled_and_extra_files_are_named(folder):
    (folder / "answers" / "rnn-1.npz").rename(folder / "answers" / "rnn-11.npz")
    (folder / "answers" / "rnn-2.json").write_text("{}")
    status, printed = gk("check", folder)
    assert status == 1
    assert "there is no answers/rnn-1.npz or .json" in printed
    assert "both rnn-2.npz and rnn-2.json answer it: keep one" in printed
    assert "answers/ also holds 'rnn-11.npz', which answers no case" in printed


def test_missing_answers_or_folder_exit_status(folder, tmp_path):
    shutil.rmtree(folder / "answers")
    assert gk("check", folder)[0] == 3
    (folder / "answers").mkdir()
    assert gk("check", folder)[0] == 3
    assert gk("check", tmp_path / "none")[0] == 2
    (folder / "manifest.json").unlink()
    assert gk("check", folder)[0] == 2


def test_unknown_files_are_named(folder):
    (folder / "cases" / "rnn-3.npz").write_bytes(b"")
    assert check(folder).notes == [
        "cases/ also holds 'rnn-3.npz', which the manifest does not name"
    ]


def test_nothing_is_certified_before_there_is_something_to_judge(folder, monkeypatch):
    """It takes long, and a case that comes from elsewhere may be large."""
    certified = []

    def record(case):
        certified.append(case.sizes)
        return certified_results(case)

    monkeypatch.setattr(vectors, "certified_results", record)
    write_answer(folder, hT=None)
    found = check(folder)
    assert [c.outcome for c in found.cases] == ["malformed", "passed"]
    assert len(certified) == 1
    (folder / "answers" / "rnn-2.npz").rename(folder / "answers" / "rnn-2.json")
    (folder / "answers" / "rnn-1.npz").unlink()
    assert [c.outcome for c in check(folder).cases] == ["missing", "malformed"]
    assert len(certified) == 1


# ---- nothing is trusted


def reseal(folder, path, data):
    """Change a file, and the manifest's checksum with it."""
    (folder / path).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    for row in manifest["cases"]:
        if path in row["files"]:
            row["files"][path] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def changed_npz(folder, **arrays):
    with np.load(folder / "cases" / "rnn-1.npz") as file:
        arrays = dict(file) | arrays
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def test_an_expected_value_that_was_tampered_with_does_not_matter(folder):
    zeros = {k: np.zeros_like(v, float) for k, v in correct_answer(folder, "rnn-1").items()}
    reseal(
        folder,
        "cases/rnn-1.npz",
        changed_npz(folder, **{"expected.y": zeros["y"], "tolerance.dx": zeros["dx"] + 1e9}),
    )
    found = check(folder)
    assert found.ok
    assert found.notes == [
        "rnn-1: its files differ from what was recomputed, and are ignored, "
        "in y, the tolerance of dx"
    ]
    write_answer(folder, y=zeros["y"].astype("float32"), dx=zeros["dx"].astype("float32"))
    assert [c.outcome for c in check(folder).cases] == ["failed", "passed"]


def test_a_changed_file_is_named_and_the_other_copy_used(folder):
    (folder / "cases" / "rnn-1.npz").write_bytes(
        changed_npz(folder, x=np.zeros((6, 4, 5), "float32"))
    )
    found = check(folder)
    assert found.ok
    assert found.notes == [
        "cases/rnn-1.npz is not what was exported: its checksum is not that of the manifest"
    ]
    (folder / "cases" / "rnn-1.json").unlink()
    found = check(folder)
    assert [c.outcome for c in found.cases] == ["damaged", "passed"]
    assert "there is no file" in found.cases[0].reason


def bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", bytes(2**27))
    return out.getvalue()


def false_header_npz(shape):
    out, npy = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        npy, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("y.npy", npy.getvalue())
    return out.getvalue()


@pytest.mark.parametrize(
    ("ending", "data", "message"),
    [
        ("npz", b"", "it is not an .npz"),
        ("npz", b"PK\x03\x04" + bytes(99), "it is not an .npz"),
        ("npz", pickle.dumps([1]), "it is not an .npz"),
        ("npz", bomb(), " bytes, but gatecheck reads "),
        (
            "npz",
            false_header_npz((10**12, 10**6)),
            "(1000000000000, 1000000) is 4,000,000,000,000,000,000 bytes, but 0 follow",
        ),
        (
            "npz",
            b"\x00" * (2**24 + 1),
            "it has 16,777,217 bytes, but gatecheck reads 16,777,216 at most",
        ),
        ("json", b"[" * 10**5, "it is nested too deeply"),
        ("json", b'{"y": ' + b"[" * 90 + b"]" * 90 + b"}", "'y' is nested too deeply"),
        ("json", b"\xff\xfe", "it is not JSON"),
        ("json", b"[1, 2]", "it holds a list, but should hold an object"),
        ("json", b'{"y": [[1, 2], [3]]}', "'y' is ragged"),
        ("json", b'{"y": [true]}', "'y' holds True, which is not a number"),
        ("json", b'{"y": ["1.0x"]}', "which is not a number"),
        (
            "json",
            b'{"y": {"shape": [-1], "values": []}}',
            "'y' has shape a list, which is not a shape",
        ),
        (
            "json",
            b'{"y": {"shape": [3], "values": [1]}}',
            "'y' has 1 values, which do not fill its shape (3,)",
        ),
        ("json", b'{"y": [1' + b"0" * 400 + b"]}", "which is not a number"),
        ("json", b'{"\\u001b[31m": 1}', r"unknown arrays '\x1b[31m'"),
    ],
    ids=lambda v: v if isinstance(v, str) and len(v) < 5 else "",
)
def test_a_hostile_answer_is_one_line(folder, ending, data, message):
    (folder / "answers" / "rnn-1.npz").unlink()
    (folder / "answers" / f"rnn-1.{ending}").write_bytes(data)
    found = check(folder)
    assert [c.outcome for c in found.cases] == ["malformed", "passed"]
    assert message in found.cases[0].reason
    assert len(found.cases[0].reason.splitlines()) == 1
    assert gk("check", folder)[0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema="gatecheck-vectors-2"), "it has schema 'gatecheck-vectors-2'"),
        (lambda m: m.update(seed="0"), "it should have a seed"),
        (lambda m: m.update(cases={}), "a list of 1 to 1,000 cases"),
        (lambda m: m.update(cases=[3]), "a case is 3"),
        (lambda m: m.update(dtype="float16"), "it has dtype 'float16'"),
        (lambda m: m.update(convention=["pytorch"]), "its convention is a list"),
        (lambda m: m["cases"][0].update(name="../../x"), "the name of a case is '../../x'"),
        (
            lambda m: m["cases"][0].update(files={"../../x": "0" * 64}),
            "rnn-1 names other files than cases/rnn-1.json and cases/rnn-1.npz",
        ),
        (
            lambda m: m["cases"][0]["files"].update({"cases/rnn-1.npz": 3}),
            "a checksum that is not 64 hexadecimal digits",
        ),
        (lambda m: m["cases"][0].update(cell="lstm-layers999"), "which is more than 64"),
        (lambda m: m["cases"][0].update(cell="gru-before"), "cannot express a GRU"),
        (lambda m: m["cases"].append(m["cases"][0]), "it names a case twice"),
    ],
)
def test_a_hostile_manifest_is_one_line(folder, change, message):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status, printed = gk("check", folder)
    assert (status, message in printed, len(printed.splitlines())) == (2, True, 1), printed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": np.zeros((6, 4, 4), "float32")},
            "its arrays do not fit a rnn: weight_ih_l0|its arrays do not fit a rnn: W has shape",
        ),
        ({"x": np.zeros((0, 10**9, 5), "float32")}, "its arrays do not fit a rnn: h0"),
        ({"x": np.full((6, 4, 5), np.inf, "float32")}, "not finite"),
        ({"lengths": np.array([9, 1, 1, 1])}, "lengths goes from 1 to 9"),
        ({"z": np.zeros(1)}, "unknown arrays 'z'"),
    ],
)
def test_a_hostile_case_is_damaged(folder, arrays, message):
    reseal(folder, "cases/rnn-1.npz", changed_npz(folder, **arrays))
    (folder / "cases" / "rnn-1.json").write_text("{}")
    found = check(folder)
    assert [c.outcome for c in found.cases] == ["damaged", "passed"]
    assert re.search(message, found.cases[0].reason)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_links_and_pipes_are_not_followed(folder, tmp_path):
    path = folder / "answers" / "rnn-1.npz"
    path.rename(tmp_path / "elsewhere.npz")
    path.symlink_to(tmp_path / "elsewhere.npz")
    assert "is a symbolic link, which is not followed" in check(folder).cases[0].reason
    path.unlink()
    os.mkfifo(path)
    assert "it is a pipe, but should be a plain file" in check(folder).cases[0].reason
    (folder / "cases").rename(tmp_path / "cases")
    (folder / "cases").symlink_to(tmp_path / "cases")
    assert {c.outcome for c in check(folder).cases} == {"damaged"}
    (folder / "answers").rename(tmp_path / "answers")
    (folder / "answers").symlink_to(tmp_path / "answers")
    status, printed = gk("check", folder)
    assert status == 2
    assert "is a link or a file, but should be a folder" in printed
