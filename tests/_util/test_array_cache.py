"""Cache on disk: arrays come back to the last bit, or not at all."""

import numpy as np
import pytest

from gatecheck._util import array_cache
from gatecheck._util.array_cache import ArrayCache

ARRAYS = {
    "y": np.arange(6.0).reshape(3, 2, 1) / 7,
    "none": np.zeros((0, 4)),
    "Δ": np.array([np.nan, -0.0, np.inf]),
    "one": np.array(3.0),
}


def assert_same_arrays(arrays, expected=ARRAYS):
    assert [*arrays] == [*expected]
    for name, array in expected.items():
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_arrays_come_back_in_a_later_process_to_the_last_bit(tmp_path):
    path = tmp_path / "folder" / "lstm"
    first = ArrayCache(path)
    assert first.get("a") is None
    first.put("a", ARRAYS)
    first.put("b", {"y": np.ones(2)})
    later = ArrayCache(path)
    assert_same_arrays(later.get("a"))
    assert_same_arrays(later.get("b"), {"y": np.ones(2)})
    assert later.get("c") is None


def test_two_processes_append_to_one_file(tmp_path):
    one, two = ArrayCache(tmp_path / "x"), ArrayCache(tmp_path / "x")
    one.put("a", ARRAYS)
    two.put("b", ARRAYS)
    later = ArrayCache(tmp_path / "x")
    assert_same_arrays(later.get("a"))
    assert_same_arrays(later.get("b"))


def test_a_truncated_file_is_started_again(tmp_path):
    path = tmp_path / "x"
    ArrayCache(path).put("a", ARRAYS)
    whole = path.read_bytes()
    for end in (1, 20, len(whole) - 1):
        path.write_bytes(whole[:end])
        again = ArrayCache(path)
        assert again.get("a") is None
        again.put("a", ARRAYS)
        assert_same_arrays(ArrayCache(path).get("a"))


def test_no_damaged_number_comes_back(tmp_path):
    path = tmp_path / "x"
    ArrayCache(path).put("a", ARRAYS)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert ArrayCache(path).get("a") is None


def test_a_full_file_is_started_again_and_large_records_are_not_stored(tmp_path, monkeypatch):
    path = tmp_path / "x"
    ArrayCache(path).put("large", {"y": np.zeros(array_cache.MAX_RECORD_BYTES)})
    assert not path.exists()
    monkeypatch.setattr(array_cache, "MAX_BYTES", 1000)
    file = ArrayCache(path)
    for k in range(20):
        file.put(f"{k}", ARRAYS)
    assert 0 < path.stat().st_size <= 1000
    monkeypatch.setattr(array_cache, "MAX_BYTES", path.stat().st_size)
    assert ArrayCache(path).get("0") is None
    assert not path.exists()


@pytest.mark.parametrize("path", ["file/in the way/x", "folder"])
def test_an_unwritable_path_stores_nothing(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    file = ArrayCache(tmp_path / path)
    file.put("a", ARRAYS)
    assert file.get("a") is None
