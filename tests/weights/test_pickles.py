"""Check of pickles by what they would unfold to."""

import collections
import io
import pickle
import pickletools
import struct

import pytest

from gatecheck._util.plain_files import Allowance
from gatecheck.errors import ArchiveError
from gatecheck.weights.pickles import MAGIC, check_pickle

VALUES = [
    None,
    {"a": [1, 2.5, (3, "x"), b"y"], 4: {"b": (True, False)}},
    collections.OrderedDict(a=1, b=(2, 3)),
    [[], {}, (), ((),), "x" * 300, 2**40, -(2**40), 1 + 2j],
    [("a", "b")] * 5,
    MAGIC,
    {1, 2},
    frozenset({3}),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_plain_values_take_little(value, protocol):
    data = pickle.dumps(value, protocol) + b"more"
    file = io.BytesIO(data)
    allowance = Allowance(len(data))
    check_pickle(file, allowance)
    assert file.read() == b"more"
    operations = sum(1 for _ in pickletools.genops(data))
    assert operations <= allowance.spent["steps"] <= 20 * operations + 300


def test_objects_that_hold_themselves():
    value = []
    value.append({"a": value})
    check_pickle(io.BytesIO(pickle.dumps(value, 2)), Allowance(0))


@pytest.mark.parametrize(
    "data",
    [
        b")" + b"q\0h\0\x86" * 40 + b".",  # a pair of the pair before
        b")" + b"q\0h\0h\0\x87" * 30 + b".",
        b"(X" + struct.pack("<I", 10**5) + b"x" * 10**5 + b"q\0" + b"h\0" * 12 + b"t.",
        b"(" + b")" * 500 + b"tq\0" + b"h\0" * 3000 + b".",
        b"(" + b"N" * (10**6 + 10) + b".",
    ],
    ids=["pairs", "triples", "texts", "uses", "operations"],
)
def test_what_unfolds_is_refused(data):
    with pytest.raises(ArchiveError, match=r"takes [0-9,]+ steps"):
        check_pickle(io.BytesIO(data), Allowance(0))


@pytest.mark.parametrize("module", ["builtins", "__builtin__"])
def test_what_makes_any_size_is_refused(module):
    with pytest.raises(ArchiveError, match="it calls bytearray"):
        check_pickle(io.BytesIO(f"c{module}\nbytearray\n(K\x05tR.".encode()), Allowance(0))


def test_large_numbers_are_refused():
    check_pickle(io.BytesIO(pickle.dumps(2**64 - 1, 2)), Allowance(0))
    with pytest.raises(ArchiveError, match="a number of 65 bits"):
        check_pickle(io.BytesIO(pickle.dumps(2**64, 2)), Allowance(0))


@pytest.mark.parametrize("data", [b"0.", b"h\5.", b"t.", b"\xff", b"N", b"q\0.", b"(1."])
def test_no_pickle(data):
    with pytest.raises((ArchiveError, ValueError, LookupError)):
        check_pickle(io.BytesIO(data), Allowance(0))
