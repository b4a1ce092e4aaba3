"""Files of PyTorch and safetensors that are odd, damaged or malicious."""

from __future__ import annotations

import json
import struct

import pytest

from gatecheck.errors import WeightsFileError
from gatecheck.weights import files, load, read_arrays
from helpers.weights_files import assert_refused, zipped

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


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
    assert_refused(path, "w, with what is before it, takes 8,796,093,[0-9,]+ bytes")
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
