"""Fuzzing of a folder of vectors.

Whatever its files hold, checking it ends in a result or in one line, and wrong answers never pass.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import warnings

import numpy as np
import pytest

from gatecheck.errors import GatecheckError
from gatecheck.report.vectors_readme import readme
from gatecheck.vectors.check import check
from gatecheck.vectors.export import export

CASE = "rnn-1"

ODD_VALUES = [
    None,
    True,
    0,
    -1,
    2**70,
    1e308,
    "",
    "x" * 300,
    "../..",
    "rnn-layers64",
    "lstm-proj1000000",
    "lstm",
    "keras",
    "\ud800",
    "\x1b[2J",
]
ODD_VALUES += [[], {}, [[]], {"a": 1}, "nan", "0x1p-2000", float("nan"), float("inf"), [1] * 50]
ODD_VALUES += [
    {"shape": [2**40, 0], "values": []},
    {"shape": [0] * 8, "values": []},
    {"shape": [-1], "values": [1]},
]
"""Values to put into JSON where something else belongs."""

TEXTS = [
    b"NaN",
    b"-1",
    b"1e400",
    b"9" * 20,
    b"null",
    b'"0x1p9999"',
    b"[[[[",
    b"\\u0000",
    b"\xff",
    b"}",
]


def paths(value, path=()):
    """Yield the path to every value in JSON."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*path, key))


def damage_bytes(rng, data):
    """Return the data with some bytes changed, left out, doubled or replaced."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 2, 20])):
        at = rng.randrange(len(damaged))
        match rng.randrange(4):
            case 0:
                damaged[at] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[at : at + rng.choice([1, 50, 5000])]
                damaged = damaged or bytearray(b" ")
            case 2:
                damaged[at:at] = damaged[rng.randrange(len(damaged)) :][:300]
            case 3:
                damaged[at : at + 1] = rng.choice(TEXTS)
    return bytes(damaged)


def damage_json(rng, data):
    """Return JSON with a value replaced, left out or moved to another name."""
    document = json.loads(data)
    *above, last = rng.choice(list(paths(document)))
    parent = document
    for key in above:
        parent = parent[key]
    match rng.randrange(4):
        case 0:
            del parent[last]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(["x", "y", "h0", "zz", "shape", "lengths", "\ud800"])] = parent.pop(
                last
            )
        case _:
            parent[last] = rng.choice(ODD_VALUES)
    return json.dumps(document).encode()


def damage_npz(rng, data):
    """Return an ``.npz`` with one array changed.

    Its dtype, shape, name or numbers are changed.
    """
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file)
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    with np.errstate(all="ignore"):
        match rng.randrange(5):
            case 0:
                arrays[name] = array.astype(rng.choice(["f2", "i8", "O", "U5", "?", ">f4"]))
            case 1:
                arrays[name] = rng.choice(
                    [
                        array[..., :0],
                        array.ravel(),
                        array.T,
                        array[None],
                        np.zeros((0, 10**9), "f4"),
                    ]
                )
            case 2:
                arrays[name] = array * np.float32(rng.choice([np.nan, np.inf, 0, 1e-44]))
            case 3:
                arrays[
                    rng.choice(["x", "y", "lengths", "h0", "c0", "zz", "expected.y", "a/b", ".."])
                ] = array
            case 4:
                pass
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a folder of one case.

    With it come the contents of its files, and a correct answer in both formats.
    """
    folder = tmp_path_factory.mktemp("fuzzed") / "v"
    export(folder, readme=readme, cells=["rnn"], cases=1)
    (folder / "answers").mkdir()
    with np.load(folder / "cases" / f"{CASE}.npz") as file:
        right = {
            k.removeprefix("expected."): file[k].astype("f4")
            for k in file.files
            if k.startswith("expected.")
        }
    np.savez(folder / "answers" / f"{CASE}.npz", **right)
    contents = {
        path: (folder / path).read_bytes()
        for path in ("manifest.json", f"cases/{CASE}.npz", f"cases/{CASE}.json")
    }
    contents[f"answers/{CASE}.npz"] = (folder / "answers" / f"{CASE}.npz").read_bytes()
    contents[f"answers/{CASE}.json"] = json.dumps(
        {k: v.tolist() for k, v in right.items()}
    ).encode()
    return folder, contents, right


def restore(folder, kept, path):
    """Restore the folder, answered in the format of a path, or else in ``.npz``."""
    ending = "json" if path == f"answers/{CASE}.json" else "npz"
    for name, data in kept.items():
        (folder / name).write_bytes(data)
    (folder / "answers" / f"{CASE}.{'npz' if ending == 'json' else 'json'}").unlink()


def reseal(folder, kept, path, data):
    """Rewrite the manifest as if a file of a case, and it alone, were exported so."""
    manifest = json.loads(kept["manifest.json"])
    manifest["cases"][0]["files"][path] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (
        folder
        / (path.replace(".npz", ".json") if path.endswith("npz") else path.replace(".json", ".npz"))
    ).unlink()


def outcome(folder):
    """Return what a check finds, or the error that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = check(folder)
        except GatecheckError as error:
            return error
    json.dumps(found.to_json(), allow_nan=False)
    return found


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        *(f"{part}/{CASE}.{end}" for part in ("cases", "answers") for end in ("npz", "json")),
    ],
)
def test_check_of_damaged_file_ends_in_result_or_one_line(exported, path):
    folder, kept, right = exported
    structured = damage_npz if path.endswith("npz") else damage_json
    for seed in range(25):
        rng = random.Random(seed)
        restore(folder, kept, path)
        data = rng.choice([structured, structured, damage_bytes])(rng, kept[path])
        if path.startswith("cases/"):
            reseal(folder, kept, path, data)
        (folder / path).write_bytes(data)
        found = outcome(folder)
        if isinstance(found, GatecheckError):
            assert len(str(found).splitlines()) == 1, seed
            continue
        assert found.cases[0].name == CASE, seed
        if found.ok and path == f"answers/{CASE}.npz":
            with np.load(io.BytesIO(data)) as file:  # what passes is what was right
                assert all(
                    np.allclose(file[k], right[k], rtol=1e-4, atol=1e-5) for k in file.files
                ), seed
