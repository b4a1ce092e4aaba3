"""Every file format that gatecheck reads.

For each: valid files, ways to damage them, and how they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gatecheck.cases import Case, draw
from gatecheck.cells import LSTM, Sizes, as_cell
from gatecheck.cli import main
from gatecheck.decay.jobs.checkpoints import PartStore
from gatecheck.decay.spec import read_spec
from gatecheck.decay.spec_keys import commented_spec
from gatecheck.decay.study.sequences import read_sequences
from gatecheck.errors import CaseFileError, UsageError
from gatecheck.vectors import check, files
from gatecheck.vectors.export import export
from gatecheck.weights import load
from helpers.fuzzing.mutations import ARCHIVE, BLIND, JSON, SAFETENSORS, TEXT

os.environ.setdefault("KERAS_BACKEND", "torch")  # before it is imported

Read = Callable[[Path], object]


class Format(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    name
        Name of the file, in a separate folder.
    seeds
        Function that makes valid files.
    damage
        Kinds of damage, of tests/helpers/fuzzing/mutations.py.
    read
        Function that reads it: an error of ours, or nothing.
    inner
        Whether the error is about the bytes, so that the caller names the file.
    """

    name: str
    seeds: Callable[[Path], list[bytes]]
    damage: tuple[Callable, ...]
    read: Read
    inner: bool = False


SIZES = Sizes(T=3, B=2, D=3, H=4)


def arrays(kind):
    """Return a layer as PyTorch names it."""
    case = draw(as_cell(kind), SIZES, seed=0, dtype="float32")
    G = len(case.cell.gates)
    shapes = {
        "weight_ih_l0": (4 * G, 3),
        "weight_hh_l0": (4 * G, 4),
        "bias_ih_l0": (4 * G,),
        "bias_hh_l0": (4 * G,),
    }
    return {f"net.{name}": np.resize(case["W"], shape) for name, shape in shapes.items()}


def weights(suffix):
    def make(folder):
        out = []
        for kind in ("rnn", "lstm"):
            path = folder / f"seed{suffix}"
            write_weights(path, arrays(kind), kind)
            out.append(path.read_bytes())
        return out

    return make


def write_weights(path, named, kind):
    match path.suffix:
        case ".npz":
            np.savez(path, **named)
        case ".safetensors":
            import safetensors.numpy

            safetensors.numpy.save_file(named, path)
        case ".pt":
            import torch

            tensors = {k: torch.from_numpy(a.copy()) for k, a in named.items()}
            torch.save(tensors, path, _use_new_zipfile_serialization=kind == "lstm")
        case ".h5":
            import h5py

            with h5py.File(path, "w") as file:
                for k, a in named.items():
                    file[k.replace(".", "/")] = a
        case ".keras":
            import keras

            cell = keras.layers.SimpleRNN(4) if kind == "rnn" else keras.layers.LSTM(4)
            keras.Sequential([keras.Input((None, 3)), cell]).save(path)
        case ".onnx":
            import onnx

            node = onnx.helper.make_node(
                kind.upper(), ["X", "W", "R"], ["Y"], name="rnn", hidden_size=4
            )
            pairs = (("ih", "W"), ("hh", "R"))
            initializers = [
                onnx.numpy_helper.from_array(named[f"net.weight_{k}_l0"][None], name)
                for k, name in pairs
            ]
            values = [
                onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, None) for k in "XY"
            ]
            onnx.save(
                onnx.helper.make_model(
                    onnx.helper.make_graph([node], "g", values[:1], values[1:], initializers)
                ),
                path,
            )


def array_files(*made):
    def write(folder):
        out = []
        for array in made:
            file = io.BytesIO()
            (np.savez if isinstance(array, dict) else np.save)(
                file, **array if isinstance(array, dict) else {"arr": array}
            )
            out.append(file.getvalue())
        return out

    return write


X = np.linspace(-1, 1, 18).reshape(6, 3)
CSV = "a,b,c\n" + "\n".join(",".join(f"{v:.3f}" for v in row) for row in X)

EXPECTED = 'empty_sequence = "refuses T = 0: its manual"\nforward_within_budget = "is coarse"\n'
PROJECT = f"""[project]
name = "x"
[tool.gatecheck]
target = "builtin:lstm"
cell = "lstm"
profile = "quick"
seed = 3
timeout = 20
[tool.gatecheck.expected_failures]
{EXPECTED}"""


def texts(*made):
    return lambda folder: [text.encode() for text in made]


def case_files(folder):
    out = []
    for kind, dtype in (("lstm", "float32"), ("gru", "float64")):
        draw(as_cell(kind), SIZES, seed=1, dtype=dtype, ragged=True).save(
            folder / "seed", property="gate", implementation="x"
        )
        out.append((folder / "seed").read_bytes())
    return out


KEY = "0" * 64


def decay_part_file(folder):
    PartStore(folder).put(KEY, {"y": X, "n": np.array(3), "text": np.array("a")})
    return [(folder / f"{KEY}.npz").read_bytes()]


def read_part(path):
    messages = []
    PartStore(path.parent).begin_sweep([KEY], True, messages.append)
    if messages:
        raise UsageError(" ".join(messages))
    PartStore(path.parent).get(KEY)


def exported(folder):
    """Export a folder of vectors with one case of an LSTM, once."""
    if not (folder / "v").exists():
        export(folder / "v", readme=lambda manifest: "", cells=["lstm"], cases=1)
    return folder / "v"


def vector(name):
    return lambda folder: [(exported(folder) / name).read_bytes()]


def manifest_entry(ending, data):
    sums = {f"cases/lstm-1.{ending}": hashlib.sha256(data).hexdigest()}
    convention = files.as_convention("canonical")
    return files.ManifestEntry("lstm-1", LSTM(), convention, "float32", sums, False)


def read_vector_case(path):
    files.parse_case(manifest_entry(path.suffix[1:], b""), path.suffix[1:], path.read_bytes())


def answers(folder):
    with np.load(exported(folder) / "cases" / "lstm-1.npz") as file:
        named = {
            k.removeprefix("expected."): file[k].astype("f4")
            for k in file.files
            if k.startswith("expected.")
        }
    out = io.BytesIO()
    np.savez(out, **named)
    (folder / "answers").mkdir()
    return {
        "json": json.dumps({k: v.tolist() for k, v in named.items()}).encode(),
        "npz": out.getvalue(),
    }


@np.errstate(all="ignore")
def read_answer(path):
    """Read an answer as ``gatecheck vectors check`` does, up to the judgement."""
    case = draw(LSTM(), SIZES, seed=0, dtype="float32")
    expected = {k: np.zeros((3, 2)) for k in ("y", "hT", "cT", "dW")}
    try:
        check._read_answer(path.parents[1], path.name, manifest_entry("json", b""), case, expected)
    except CaseFileError as error:
        if "has shape" not in str(error):  # like that of a valid one
            raise


def read_manifest(path):
    files.read_manifest(path.parent)


def read_project(path):
    with contextlib.chdir(path.parent):
        main.commands["audit"].make_context("audit", ["builtin:lstm"], **main.context_settings)


def read_expected(path):
    main.commands["audit"].make_context(
        "audit", ["builtin:lstm", "--expect", str(path)], **main.context_settings
    )


FORMATS = {
    **{
        f"weights{suffix}": Format(f"w{suffix}", weights(suffix), damage, load)
        for suffix, damage in {
            ".npz": ARCHIVE,
            ".safetensors": SAFETENSORS,
            ".pt": ARCHIVE,
            ".h5": BLIND,
            ".keras": ARCHIVE,
            ".onnx": BLIND,
        }.items()
    },
    "data.npy": Format(
        "x.npy", array_files(X, X[None]), BLIND, lambda path: read_sequences(path, 3)
    ),
    "data.npz": Format(
        "x.npz",
        array_files({"x": X}, {"x": X, "y": X}),
        ARCHIVE,
        lambda path: read_sequences(path, 3),
    ),
    "data.csv": Format(
        "x.csv", texts(CSV, CSV.replace(",", ";")), TEXT, lambda path: read_sequences(path, 3)
    ),
    "spec": Format(
        "study.toml",
        texts(commented_spec(), 'hidden = 5\n[[network]]\ncell = "lstm"\n'),
        TEXT,
        read_spec,
    ),
    "pyproject": Format("pyproject.toml", texts(PROJECT), TEXT, read_project),
    "expected": Format("expected.toml", texts(EXPECTED), TEXT, read_expected),
    "case": Format("case.npz", case_files, ARCHIVE, Case.load),
    "part": Format(f"{KEY}.npz", decay_part_file, ARCHIVE, read_part),
    "manifest": Format("manifest.json", vector("manifest.json"), JSON, read_manifest),
    "vectors.npz": Format(
        "lstm-1.npz", vector("cases/lstm-1.npz"), ARCHIVE, read_vector_case, inner=True
    ),
    "vectors.json": Format(
        "lstm-1.json", vector("cases/lstm-1.json"), JSON, read_vector_case, inner=True
    ),
    "answers.npz": Format(
        "answers/lstm-1.npz",
        lambda folder: [answers(folder)["npz"]],
        ARCHIVE,
        read_answer,
        inner=True,
    ),
    "answers.json": Format(
        "answers/lstm-1.json",
        lambda folder: [answers(folder)["json"]],
        JSON,
        read_answer,
        inner=True,
    ),
}
