"""Files of HDF5 and Keras that are odd, damaged or malicious."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gatecheck.weights import files
from helpers.weights_files import assert_refused, error_message, write, zipped

h5py = pytest.importorskip("h5py")


def test_bfloat16_as_keras_writes_it(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.linspace(-3, 3, 7).astype(ml_dtypes.bfloat16)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("a", data=x).attrs["dtype"] = "bfloat16"
        file.create_dataset("b", data=x)  # two bytes of unknown meaning
    contents = files.read(tmp_path / "w.h5")
    assert contents.arrays["a"].tolist() == x.astype(float).tolist()
    assert contents.skipped == {"b": "of |V2"}


def test_hdf5_reads_its_own_file_alone(tmp_path):
    path, secret = tmp_path / "w.h5", tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["a"] = np.ones(4)
    with h5py.File(path, "w") as file:
        file["mine"] = np.ones(2)
        file["text"] = "a string"
        file["linked"] = h5py.ExternalLink(str(secret), "a")
        file["soft"] = h5py.SoftLink("/mine")
        file["group/loop"] = file["/"]
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "a", (4,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (8,), "u1", external=[(str(secret), 0, 8)])
    contents = files.read(path)
    assert list(contents.arrays) == ["mine"]
    assert set(contents.skipped) == {"text", "virtual", "raw"}
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2**40,), "f4", chunks=(1024,))
    assert path.stat().st_size < 10_000
    assert_refused(path, "a, with what is before it, takes [0-9,]+ chunks")


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[1, {}]",
        '"text"',
        "[" * 200_000,
        '{"config": {"name": 3}, "class_name": []}',
        '{"class_name": {"config": 1}}',
    ],
)
def test_invalid_configurations(tmp_path, config):
    path = tmp_path / "w.keras"
    write(tmp_path / "w.h5")
    zipped(
        path,
        config__json=config,
        metadata__json="{}",
        model__weights__h5=(tmp_path / "w.h5").read_bytes(),
    )
    message = error_message(path)
    assert not message or re.search(
        r"w.keras is damaged, or not a Keras model|its config.json is (not JSON|nested)", message
    )
    zipped(path, config__json="{}", metadata__json="{}")
    assert_refused(path, "is damaged, or not a Keras model: .*model.weights.h5")
