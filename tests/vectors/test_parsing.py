"""Parsers of JSON and arrays: what is valid is read as it was written."""

from __future__ import annotations

import io

import numpy as np

from gatecheck.vectors.parsing import parse_json, parse_npz


def test_parsers_read_valid_data():
    assert parse_json(b'{"a": 1}') == {"a": 1}
    out = io.BytesIO()
    np.savez_compressed(
        out, y=np.asfortranarray(np.arange(6.0).reshape(2, 3)), big=np.arange(2.0).astype(">f8")
    )
    found = parse_npz(out.getvalue())
    np.testing.assert_array_equal(found["y"], [[0, 1, 2], [3, 4, 5]])
    assert found["big"].dtype == "float64"
