"""Cases: compared, changed, saved and loaded, also from damaged files."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from gatecheck.cases import SCHEMA, Case, draw
from gatecheck.cells import CELLS, GRU, LSTM, Sizes
from gatecheck.cells.gate_blocks import block, split
from gatecheck.errors import CaseFileError

SIZES = Sizes(T=5, B=2, D=3, H=4)

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=str)


def make_case(cell=None, seed=0, dtype="float64", **how):
    return draw(cell or LSTM(), SIZES, seed=seed, dtype=dtype, **how)


def test_a_case_says_how_it_was_made():
    assert (
        str(make_case(seed=7, dtype="float32"))
        == "lstm float32 T=5 B=2 D=3 H=4 (seed 7, regime generic)"
    )
    assert str(Case(LSTM(), dict(make_case().arrays))) == "lstm float64 T=5 B=2 D=3 H=4"


# ---- equality and change


def test_equality_is_by_content():
    case = make_case()
    copy = Case(case.cell, {k: v.copy() for k, v in reversed(case.arrays.items())})
    assert copy == case
    assert hash(copy) == hash(case)
    assert case != "lstm"


@pytest.mark.parametrize("name", ["W", "U", "b", "x", "h0", "c0", "dy", "dhT", "dcT"])
def test_one_bit_makes_another_case(name):
    case = make_case()
    array = case[name].copy()
    array.flat[-1] = np.nextafter(array.flat[-1], 9)
    assert case.replace(**{name: array}) != case


def test_shape_dtype_cell_and_name_are_content_too():
    case = make_case()
    assert Case(case.cell, dict(case.arrays) | {"x": case["x"].reshape(2, 5, 3)}) != case
    assert Case(case.cell, dict(case.arrays) | {"dhT": case["dhT"].view("int64")}) != case
    assert case.replace(dhT=None, dcT=case["dhT"]) != case.replace(dcT=None)
    before = make_case(GRU("before"))
    assert Case(GRU(), before.arrays) != before


def test_arrays_are_read_only():
    case = make_case()
    for array in (
        *case.arrays.values(),
        *case.params.values(),
        *case.replace(h0=None).arrays.values(),
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_replace_leaves_the_first_case_alone():
    case = make_case(dtype="float32")
    key, given = case.key, np.ones((2, 4))
    other = case.replace(h0=given, dhT=None)
    given[:] = 2
    assert (other["h0"] == 1).all()
    assert other.dtype == other["h0"].dtype == "float32"
    assert (other.get("dhT"), other.cell, other.origin) == (None, case.cell, case.origin)
    assert Case(case.cell, case.arrays).key == key


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(
    ("cell", "gate"), [(GRU(), "z"), (GRU("before"), "r"), (LSTM(), "f"), (LSTM(), "o")], ids=str
)
def test_with_gate_changes_that_gate_only(cell, gate, weights):
    case = make_case(cell)
    bias = np.arange(1.0, 5)
    set_ = case.with_gate(gate, bias, weights=weights)
    before, after = split(cell, case.params), split(cell, set_.params)
    np.testing.assert_array_equal(after.pop(f"b_{gate}"), bias)
    if not weights:
        assert not after.pop(f"W_{gate}").any()
        assert not after.pop(f"U_{gate}").any()
    assert all((after[k] == before[k]).all() for k in after)
    assert all((set_[k] == case[k]).all() for k in set(case.arrays) - {"W", "U", "b"})
    assert (block(cell, case.with_gate(gate, -1000)["b"], gate) == -1000).all()


def test_as_float64_keeps_the_values():
    case = make_case(dtype="float32")
    assert all(v.dtype == "float64" and (v == case[k]).all() for k, v in case.as_float64().items())


# ---- files


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_case_is_loaded(cell, dtype, tmp_path):
    case = make_case(cell, dtype=dtype, absent=("dy",)).replace(h0=np.full((2, 4), np.nan))
    case.save(tmp_path / "case.npz", property="causality", found=[1, 2])
    again, about = Case.load(str(tmp_path / "case.npz"))
    assert again == case
    assert again.cell == cell
    assert str(again) == str(case)
    assert (about["property"], about["found"], about["schema"]) == ("causality", [1, 2], SCHEMA)


def test_saving_passes_numpy_nothing_but_arrays(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(np, "savez", lambda path, **arrays: given.update(arrays))
    make_case().save(tmp_path / "case.npz")
    assert {"W", "x", "__about__"} <= given.keys()
    assert all(isinstance(v, np.ndarray) for v in given.values()), (
        "NumPy 2.0 would store a flag as an array"
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "case.npz"


def write_stored(about=None, without=(), **instead):
    """Return a writer of a good case with something wrong in it."""

    def write(path):
        header = {"schema": SCHEMA, "cell": "lstm", "origin": {}} | (about or {})
        arrays = {"__about__": np.array(json.dumps(header))} | dict(make_case().arrays) | instead
        np.savez(path, **{k: v for k, v in arrays.items() if k not in without})

    return write


def write_raw(content):
    return lambda path: path.write_bytes(content)


def write_damaged(change):
    def write(path):
        make_case().save(path)
        path.write_bytes(change(path.read_bytes()))

    return write


def write_damaged_compressed(path):
    np.savez_compressed(path, **{k: np.zeros((100, 100)) for k in make_case().arrays})
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)  # in the first compressed stream, behind its header
    path.write_bytes(content)


def write_unknown_compression(path):
    make_case().save(path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 10] = 77
    content[content.index(b"PK\x01\x02") + 10] = 77
    path.write_bytes(content)


def write_header(header):
    """Return a writer of one member with this array header, and no data."""

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                "x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            )

    return write


def write_single_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def write_extra_member(path):
    make_case().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.txt", b"no array")


HOSTILE = {
    "missing": (lambda path: None, "there is no file"),
    "a folder": (lambda path: path.mkdir(), "cannot be read: it is a folder"),
    "empty": (write_raw(b""), "does not hold a gatecheck case"),
    "text": (write_raw(b"W = [1, 2, 3]\n"), "does not hold a gatecheck case"),
    "binary": (write_raw(bytes(range(256)) * 8), "does not hold a gatecheck case"),
    "the beginning of a zip": (write_raw(b"PK\x03\x04"), "does not hold a gatecheck case"),
    "an empty zip": (write_raw(b"PK\x05\x06" + bytes(18)), "does not hold a gatecheck case"),
    "truncated in the middle": (
        write_damaged(lambda b: b[: len(b) // 2]),
        "does not hold a gatecheck case",
    ),
    "truncated at the end": (write_damaged(lambda b: b[:-10]), "does not hold a gatecheck case"),
    "an array's bytes": (
        write_damaged(lambda b: b.replace(make_case()["W"].tobytes()[:64], bytes(64))),
        "does not hold a gatecheck case",
    ),
    "damaged compressed data": (write_damaged_compressed, "does not hold a gatecheck case"),
    "an unknown compression": (write_unknown_compression, "does not hold a gatecheck case"),
    "a shape beyond memory": (
        write_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }\n"),
        "does not hold a gatecheck case",
    ),
    "a header that is code": (
        write_header(b"__import__('os').abort()\n"),
        "does not hold a gatecheck case",
    ),
    "a single array": (write_single_array, "does not hold a gatecheck case"),
    "a member that is no array": (
        write_extra_member,
        "does not hold a gatecheck case: the magic string is not correct",
    ),
    "a pickle": (
        lambda path: np.savez(path, x=np.array([{}], object)),
        "x holds object, but should hold numbers; pickled objects are not read",
    ),
    "another schema": (
        write_stored({"schema": "gatecheck-case-9"}),
        "has schema 'gatecheck-case-9', but this version reads 'gatecheck-case-1'",
    ),
    "no about": (write_stored(without=["__about__"]), "does not hold a gatecheck case"),
    "no schema": (write_stored(__about__=np.array("{}")), "does not hold a gatecheck case"),
    "about is not JSON": (
        write_stored(__about__=np.array("{schema:")),
        "does not hold a gatecheck case",
    ),
    "about is a list": (write_stored(__about__=np.array("[1]")), "does not hold a gatecheck case"),
    "about is a number": (write_stored(__about__=np.array(1.5)), "does not hold a gatecheck case"),
    "about is deep": (
        write_stored(__about__=np.array("[" * 100_000)),
        "does not hold a gatecheck case",
    ),
    "about has an odd origin": (write_stored({"origin": 5}), "does not hold a gatecheck case"),
    "an unknown cell": (write_stored({"cell": "mamba"}), "there is no cell 'mamba'"),
    "a cell that is no name": (write_stored({"cell": ["lstm"]}), "does not hold a gatecheck case"),
    "another cell": (
        write_stored({"cell": "gru-before"}),
        "W has shape (3, 16), but should have shape (D, 3*H) = (3, 12)",
    ),
    "no x": (write_stored(without=["x"]), "does not hold a gatecheck case"),
    "no U": (write_stored(without=["U"]), "does not hold a gatecheck case"),
    "a wrong x": (
        write_stored(x=np.zeros((5, 2))),
        "x is a float64 array of shape (5, 2), but should be a NumPy array of shape (T, B, D)",
    ),
    "a wrong U": (
        write_stored(U=np.zeros((4, 15))),
        "U has shape (4, 15), but should have shape (H, 4*H) = (4, 16)",
    ),
    "a wrong h0": (
        write_stored(h0=np.zeros((4, 2))),
        "h0 has shape (4, 2), but should have shape (B, H) = (2, 4)",
    ),
    "a wrong dcT": (
        write_stored(dcT=np.zeros((2, 4), "float32")),
        "dcT has dtype float32, but should have dtype float64",
    ),
    "integers": (
        write_stored(x=np.zeros((5, 2, 3), int)),
        "x has dtype int64, but should have dtype float32 or float64",
    ),
    "text for x": (write_stored(x=np.array("x")), "x is a <U1 array of shape ()"),
    "an unknown array": (write_stored(V=np.zeros(3)), "holds unknown arrays ['V']"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_invalid_file_is_named(what, path):
    write, message = HOSTILE[what]
    write(path)
    with pytest.raises(CaseFileError) as caught:
        Case.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_table_of_wrong_files_begins_with_a_right_one(path):
    write_stored()(path)
    assert Case.load(path)[0] == make_case()


def test_no_single_damaged_byte_escapes(path):
    """A case is read or refused, whatever byte of the file is wrong."""
    make_case().replace(dy=None).save(path)
    good = path.read_bytes()
    escaped = set()
    # 7 is prime to the sizes of all fields of a zip, so that every field is hit
    for k in range(0, len(good), 7):
        path.write_bytes(good[:k] + bytes([good[k] ^ 0xFF]) + good[k + 1 :])
        try:
            Case.load(path)
        except CaseFileError:
            pass
        except Exception as error:
            escaped.add(f"{type(error).__name__}: {error}")
    assert escaped == set()
