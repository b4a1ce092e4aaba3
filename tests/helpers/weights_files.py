"""Files of weights to damage, and what gatecheck says about them."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from gatecheck.errors import GatecheckError, WeightsFileError
from gatecheck.weights import load, read_arrays

ARRAYS = {
    "rnn.weight_ih_l0": np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3),
    "rnn.weight_hh_l0": np.linspace(0.1, 1, 16, dtype="float32").reshape(4, 4),
    "rnn.bias_ih_l0": np.ones(4, "float32"),
    "rnn.bias_hh_l0": np.ones(4, "float32"),
}


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)


def npy(shape, content=b"", dtype="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + content


def write(path):
    """Write :data:`ARRAYS` in the format of the suffix."""
    match path.suffix:
        case ".npz":
            np.savez(path, **ARRAYS)
        case ".safetensors":
            import safetensors.numpy

            safetensors.numpy.save_file(ARRAYS, path)
        case ".pt":
            import torch

            torch.save({k: torch.from_numpy(a.copy()) for k, a in ARRAYS.items()}, path)
        case ".h5":
            import h5py

            with h5py.File(path, "w") as file:
                for k, a in ARRAYS.items():
                    file[k] = a
        case ".keras":
            write(path.with_suffix(".h5"))
            zipped(
                path,
                config__json="{}",
                metadata__json="{}",
                model__weights__h5=path.with_suffix(".h5").read_bytes(),
            )
        case ".onnx":
            import onnx

            node = onnx.helper.make_node("RNN", ["X", "W", "R"], ["Y"], name="rnn", hidden_size=4)
            own = [
                onnx.numpy_helper.from_array(ARRAYS[f"rnn.weight_{k}_l0"][None], name)
                for k, name in (("ih", "W"), ("hh", "R"))
            ]
            ends = [
                onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, None) for k in "XY"
            ]
            onnx.save(
                onnx.helper.make_model(
                    onnx.helper.make_graph([node], "g", ends[:1], ends[1:], own)
                ),
                path,
            )


def error_message(path):
    """Return gatecheck's error message for a file, empty if the layer is read."""
    try:
        assert load(path).cell.kind == "rnn"
    except GatecheckError as error:
        return str(error)
    return ""


SUFFIXES = [".npz", ".safetensors", ".pt", ".h5", ".keras", ".onnx"]


def assert_refused(path, message):
    with pytest.raises(WeightsFileError, match=message) as raised:
        read_arrays(path)
    assert "\n" not in str(raised.value)
    assert path.name in str(raised.value)
