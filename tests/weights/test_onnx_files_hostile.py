"""Files of ONNX that are malicious."""

from __future__ import annotations

import pytest

from gatecheck.errors import WeightsFileError
from gatecheck.weights import load
from helpers.weights_files import write

onnx = pytest.importorskip("onnx")


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
