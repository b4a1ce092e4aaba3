"""Objects and datasets of HDF5 files."""

import zlib

import numpy as np
import pytest

from gatecheck._util.plain_files import Allowance
from gatecheck.errors import ArchiveError
from gatecheck.weights.hdf5 import MAX_DEPTH, add_dataset, objects, text_attribute
from gatecheck.weights.stored import StoredArrays

h5py = pytest.importorskip("h5py")


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        yield file


def visited(file):
    """Return the names that HDF5 itself visits."""
    names = []
    file.visit(names.append)
    return names


def test_objects_are_those_that_hdf5_visits(file):
    for name in ("b/c/x", "b/a", "a/z", "z"):
        file[name] = 1.0
    file["b/again"] = file["a"]
    file["a/circle"] = file["b"]
    file["soft"] = h5py.SoftLink("/z")
    file["nowhere"] = h5py.SoftLink("/none")
    file["outside"] = h5py.ExternalLink("other.h5", "/")
    names = [name for name, _ in objects(h5py, file, Allowance(0))]
    assert names == visited(file)
    assert {"a", "a/circle/c/x", "z"} <= set(names)


@pytest.mark.parametrize("deeper", [0, 1])
def test_groups_lie_in_so_many(file, deeper):
    file["/".join("g" * (MAX_DEPTH + 1 + deeper))] = 1.0
    if deeper:
        with pytest.raises(ArchiveError, match=f"lies in more than {MAX_DEPTH} groups"):
            list(objects(h5py, file, Allowance(0)))
    else:
        assert len(list(objects(h5py, file, Allowance(0)))) == MAX_DEPTH + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (np.bytes_(b"x\xff"), "x\ufffd"),
        (["x"], None),
        (3, None),
        (h5py.Empty("f"), None),
    ],
)
def test_a_text_is_one(file, value, text):
    file.attrs["a"] = value
    assert text_attribute(file, "a") == text
    assert text_attribute(file, "b") is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (4,)},
        {"compression": "gzip"},
        {"compression": 9, "shuffle": True, "fletcher32": True, "chunks": (7,)},
        {"shuffle": True, "chunks": (3,)},
        {"fletcher32": True, "chunks": (3,)},
    ],
)
def test_filters_that_are_bounded(file, options):
    data = file.create_dataset("a", data=np.arange(10.0), **options)
    stored = StoredArrays(Allowance(5000))
    add_dataset(stored, "a", data)
    assert stored.arrays["a"].tolist() == list(range(10))


@pytest.mark.parametrize("options", [{"compression": "lzf"}, {"scaleoffset": 0}])
def test_other_filters_are_skipped(file, options):
    data = file.create_dataset("a", (10,), "i4", **options)
    stored = StoredArrays(Allowance(5000))
    add_dataset(stored, "a", data)
    assert stored.skipped == {"a": "packed by filters other than gzip and shuffle"}
    assert not stored.arrays


@pytest.mark.parametrize("more", [0, 5])
def test_a_chunk_covers_what_it_unpacks_to(file, more):
    data = file.create_dataset("a", (8,), "f8", chunks=(8,), compression=9)
    data.id.write_direct_chunk((0,), zlib.compress(bytes(64 + more)))
    if more:
        with pytest.raises(ArchiveError, match="unpacks to more than the 68 bytes"):
            add_dataset(StoredArrays(Allowance(5000)), "a", data)
    else:
        add_dataset(StoredArrays(Allowance(5000)), "a", data)


def test_a_chunk_of_other_filters(file):
    data = file.create_dataset("a", (8,), "f8", chunks=(8,), compression=9)
    data.id.write_direct_chunk((0,), bytes(64), filter_mask=1)
    with pytest.raises(ArchiveError, match="other filters than its dataset"):
        add_dataset(StoredArrays(Allowance(5000)), "a", data)


def test_datasets_without_numbers_are_skipped(file):
    file["empty"], file["text"] = h5py.Empty("f4"), "x"
    stored = StoredArrays(Allowance(5000))
    for name in ("empty", "text"):
        add_dataset(stored, name, file[name])
    assert stored.skipped == {"empty": "without numbers", "text": "of object"}
