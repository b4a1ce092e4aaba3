"""NumPy archives within an allowance."""

import io
import zipfile

import numpy as np
import pytest

from gatecheck._util import plain_files
from gatecheck._util.npz import read_npz
from gatecheck._util.plain_files import Allowance
from gatecheck.errors import ArchiveError


def packed(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read(save):
    arrays = {"a": np.arange(3.0), "b": np.ones((2, 3), np.int8, order="F")}
    found = read_npz(packed(save, **arrays), Allowance(1000))
    assert list(found) == ["a", "b"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_members_are_spent_before_any_is_read(monkeypatch):
    monkeypatch.setattr(plain_files, "BASE_BYTES", 0)
    monkeypatch.setattr(plain_files, "EXPANSION", 1)
    file = packed(a=np.zeros(10), b=np.zeros(10))
    with pytest.raises(ArchiveError, match=r"^b.npy, with what is before it, takes 1,416 bytes"):
        read_npz(file, Allowance(1415))
    assert len(read_npz(file, Allowance(1416))) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.npy", packed(a=np.zeros(3)).getvalue())
    with pytest.raises(ArchiveError, match=r"a.npy is packed by another method than deflate"):
        read_npz(file, Allowance(1000))
