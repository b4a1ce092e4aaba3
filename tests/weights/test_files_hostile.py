"""Damaged, oversized or malicious files give a one-line error, and no code is run."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from gatecheck.errors import GatecheckError, MissingExtraError, WeightsFileError
from gatecheck.weights import (
    files,
    keras_files,
    load,
    numpy_files,
    read_arrays,
    stored,
    tensor_files,
)

h5py, onnx = pytest.importorskip("h5py"), pytest.importorskip("onnx")
torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.numpy")

ARRAYS = {
    "rnn.weight_ih_l0": np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3),
    "rnn.weight_hh_l0": np.linspace(0.1, 1, 16, dtype="float32").reshape(4, 4),
    "rnn.bias_ih_l0": np.ones(4, "float32"),
    "rnn.bias_hh_l0": np.ones(4, "float32"),
}


class Evil:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


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
    """Write the arrays above in the format of the suffix."""
    match path.suffix:
        case ".npz":
            np.savez(path, **ARRAYS)
        case ".safetensors":
            safetensors.save_file(ARRAYS, path)
        case ".pt":
            torch.save({k: torch.from_numpy(a.copy()) for k, a in ARRAYS.items()}, path)
        case ".h5":
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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_empty_foreign_or_truncated_files(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    assert_refused(path, "cannot be read: No such file")
    path.mkdir()
    assert_refused(path, "cannot be read: Is a directory")
    path.rmdir()
    path.touch()
    assert_refused(path, "is empty, but should be an? ")
    path.write_bytes(b"import numpy as np\n" * 99)
    assert_refused(path, "is damaged, or not an? |cannot be used")
    write(path)
    assert load(path).H == 4
    whole = path.read_bytes()
    for end in (1, 7, len(whole) // 3, len(whole) - 3):
        path.write_bytes(whole[:end])
        assert_refused(path, "is damaged, or not an? |cannot be used")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_damage_is_an_error_of_ours(tmp_path, suffix):
    """A file with any byte changed is read or refused with a one-line message."""
    path = tmp_path / f"w{suffix}"
    write(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refusals = 0
    for _ in range(60):
        at = int(rng.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :])
        message = error_message(path)
        refusals += bool(message)
        assert "\n" not in message
        assert message.count("is damaged") <= 1
    assert refusals > 2


def test_a_nan_that_signals_is_no_warning(tmp_path):
    bits = np.full((4, 3), 0x7F800001, "u4").view("f4")
    np.savez(tmp_path / "w.npz", **ARRAYS | {"rnn.weight_ih_l0": bits})
    with pytest.raises(
        WeightsFileError, match=r"W of rnn.l0 in .* is NaN or infinite in 12 of 12 entries"
    ):
        load(tmp_path / "w.npz")


def test_unknown_suffix(tmp_path):
    assert_refused(tmp_path / "w.pickle", "does not end in .npz, .safetensors, .pt")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_unpacks_to_too_much(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"w{suffix}"
    write(path)
    for module in (stored, numpy_files, keras_files, tensor_files):
        monkeypatch.setattr(module, "LIMIT", 200)
    # An archive is refused before it is unpacked; ONNX stores its arrays uncompressed.
    if suffix != ".onnx":
        assert_refused(
            path,
            "it unpacks to"
            if suffix in (".npz", ".pt", ".keras")
            else "and what is before it unpack to|the file and what",
        )


def test_names_that_would_write_on_a_terminal(tmp_path):
    np.savez(tmp_path / "w.npz", **{"a\n\x1b[31m/weight_ih": np.ones((4, 3)), "b\x07": np.ones(3)})
    with pytest.raises(WeightsFileError, match="its arrays are") as raised:
        load(tmp_path / "w.npz")
    assert str(raised.value).isprintable()


def test_a_library_that_repeats_what_a_file_says(tmp_path):
    def reader(path):
        raise RuntimeError("no \x1b[31m here\nand a second line")

    (tmp_path / "w").write_bytes(b"x")
    with pytest.raises(WeightsFileError) as raised:
        files.call_reader(tmp_path / "w", "a thing", reader)
    assert str(raised.value).endswith("w is damaged, or not a thing: no �[31m here")


# ---- NumPy


def test_a_small_archive_that_declares_much(tmp_path):
    path = tmp_path / "w.npz"
    zipped(path, a__npy=npy((2**40,)))
    assert_refused(
        path, "a is cut off or damaged: its shape .* is 4,398,046,511,104 bytes, but 0 follow"
    )
    zipped(path, a__npy=npy((-1, -4), bytes(16)))
    assert_refused(path, r"a is damaged: its shape \(-1, -4\) is negative")
    zipped(path, a__npy=npy((3,), bytes(16)))
    assert_refused(path, "its shape .* is 12 bytes, but 16 follow")


def test_objects_are_not_unpickled(tmp_path):
    path, trace = tmp_path / "w.npz", tmp_path / "trace"
    np.savez(path, a=np.array([Evil(trace)], dtype=object))
    assert_refused(path, "a holds object, but should hold numbers; pickled objects are not read")
    np.savez(path, a=np.zeros(2, [("x", "f4")]))
    assert_refused(path, "but should hold numbers")
    for at in ({"model": Evil(trace)}, Evil(trace)):
        torch.save(at, tmp_path / "w.pt")
        assert_refused(
            tmp_path / "w.pt",
            r"it holds Python objects \(io.open\), and unpickling those would run code: "
            r"save module.state_dict",
        )
    assert not trace.exists()


def test_arrays_come_in_the_order_of_bytes_of_this_machine(tmp_path):
    np.savez(
        tmp_path / "w.npz",
        a=np.arange(3, dtype=">f4"),
        b=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    )
    arrays = read_arrays(tmp_path / "w.npz")
    assert arrays["a"].dtype.isnative
    assert arrays["a"].tolist() == [0, 1, 2]
    assert arrays["b"].tolist() == [[0, 1, 2], [3, 4, 5]]


# ---- PyTorch


def test_a_checkpoint_of_odd_things(tmp_path):
    path = tmp_path / "w.pt"
    loop = {
        "w": torch.ones(2),
        "half": torch.ones(2, dtype=torch.float16),
        "n": 3,
        "sparse": torch.eye(2).to_sparse(),
    }
    loop["itself"] = loop
    torch.save({"all": [loop, loop]}, path)
    assert list(read_arrays(path)) == ["all.0.w", "all.0.half"]
    assert "all.0.sparse" in files.read(path).skipped
    torch.save({"w": torch.zeros(1).expand(2**20, 2**20)}, path)
    assert path.stat().st_size < 10_000
    assert_refused(path, "w and what is before it unpack to 8,796,093,022,208 bytes")
    zipped(path, **{"net/constants__pkl": b"", "net/data__pkl": b""})
    assert_refused(path, "it is a TorchScript archive, which is code: save module.state_dict")
    torch.save(torch.nn.LSTM(2, 3), path)
    assert_refused(path, r"Python objects \(torch.nn.modules.rnn.LSTM\)")
    torch.save(
        {"weight_ih": torch.ones(2, 3), "weight_hh": torch.ones(2, 2)},
        path,
        _use_new_zipfile_serialization=False,
    )
    assert load(path).D == 3


# ---- safetensors


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 2**40]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
        {
            "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
            "b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        },
        {"a": {"dtype": "OBJ", "shape": [4], "data_offsets": [0, 16]}},
        [],
    ],
)
def test_a_header_that_does_not_fit(tmp_path, header):
    path, text = tmp_path / "w.safetensors", json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    assert_refused(path, "is damaged, or not a safetensors file")
    path.write_bytes(struct.pack("<Q", 2**63) + text + bytes(16))
    assert_refused(path, "is damaged, or not a safetensors file")


def test_a_dtype_that_numpy_has_not_is_left_out_and_said(tmp_path):
    path, text = (
        tmp_path / "w.safetensors",
        json.dumps({"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}).encode(),
    )
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    assert read_arrays(path) == {}
    with pytest.raises(
        WeightsFileError,
        match="no recurrent layer that gatecheck can read: a was left out: of F8_E4M3",
    ):
        load(path)


# ---- HDF5 and Keras


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
    assert_refused(path, "a and what is before it unpack to")


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
    assert not message or "w.keras is damaged, or not a Keras model" in message
    zipped(path, config__json="{}", metadata__json="{}")
    assert_refused(path, "is damaged, or not a Keras model: .*model.weights.h5")


# ---- ONNX


def test_external_data_of_onnx_stays_in_its_folder(tmp_path):
    path = tmp_path / "w.onnx"
    write(path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsFileError, match=r"rnn was left out: W of rnn, W, cannot be read"):
        load(path)


# ---- without the libraries


@pytest.mark.parametrize(
    ("suffix", "module", "extra"),
    [
        (".safetensors", "safetensors", "weights"),
        (".pt", "torch", "torch"),
        (".h5", "h5py", "weights"),
        (".keras", "h5py", "weights"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, suffix, module, extra):
    path = tmp_path / f"w{suffix}"
    write(path)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(
        MissingExtraError, match=rf'reading w{suffix} needs .*: pip install "gatecheck\[{extra}\]"'
    ):
        read_arrays(path)
