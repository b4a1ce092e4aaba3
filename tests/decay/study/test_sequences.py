"""Sequences from files, and one-line errors that give the place of what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.decay.study.sequences import cut_windows, read_sequences
from gatecheck.errors import InputError, WeightsFileError

RNG = np.random.default_rng(0)
ONE, MANY = RNG.standard_normal((7, 3)), RNG.standard_normal((2, 7, 3))


def save(path, **arrays):
    if path.suffix == ".npy":
        np.save(path, *arrays.values())
    else:
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    "x",
    [
        ONE,
        MANY,
        MANY.astype("float32"),
        np.arange(21).reshape(7, 3),
        np.asfortranarray(MANY),
        ONE.astype(">f8"),
    ],
)
def test_an_array_of_one_or_of_many_sequences(tmp_path, suffix, x):
    found = read_sequences(save(tmp_path / f"x{suffix}", data=x), 3)
    assert (found.dtype, found.shape) == (np.float64, x.shape if x.ndim == 3 else (1, *x.shape))
    np.testing.assert_array_equal(found, x.reshape(found.shape))


def test_the_array_named_x_is_read(tmp_path):
    np.testing.assert_array_equal(
        read_sequences(save(tmp_path / "x.npz", x=ONE, y=MANY), 3)[0], ONE
    )
    with pytest.raises(
        WeightsFileError, match="holds the arrays a, b, but should hold one, or one named x"
    ):
        read_sequences(save(tmp_path / "x.npz", a=ONE, b=MANY), 3)
    with pytest.raises(WeightsFileError, match="holds the arrays none"):
        read_sequences(save(tmp_path / "x.npz"), 3)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "a{0} b{0}c\n", "\ufeffa{0}b{0}c\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_with_and_without_a_header(tmp_path, mark, header, end):
    text = header.format(mark) + "".join(
        mark.join(map(repr, map(float, row))) + "\n" for row in ONE
    )
    (tmp_path / "x.csv").write_text(text.replace("\n", end), encoding="utf-8", newline="")
    np.testing.assert_array_equal(read_sequences(tmp_path / "x.csv", 3), ONE[None])


TABLES = {
    "word": (
        "1,2,3\n4,five,6\n",
        InputError,
        r"x.csv, row 2, column 2: 'five' is not a finite number",
    ),
    "header": (
        "a,b,c\n1,2,3\n\n4,nan,6\n",
        InputError,
        r"x.csv, row 4, column 2 \(b\): 'nan' is not a finite number",
    ),
    "infinite": ("1,2,1e999\n", InputError, r"row 1, column 3: '1e999' is not a finite number"),
    "hole": ("1,2,3\n4,,6\n", InputError, "row 2, column 2: '' is not a finite number"),
    "half a header": ("a,2,c\n", InputError, "row 1, column 1: 'a' is not a finite number"),
    "two headers": ("a,b,c\nd,e,f\n", InputError, r"row 2, column 1 \(a\): 'd' is not"),
    "written on a terminal": (
        '"a\n\x1b[31m",b,c\nno,2,3\n',
        InputError,
        r"column 1 \(a.*\): 'no' is not",
    ),
    "endless": (
        "1,2," + "3" * 1000 + "\n",
        InputError,
        r"column 3: '3{30}…' is not a finite number",
    ),
    "ragged": ("1,2,3\n4,5\n", InputError, "row 2: 2 columns, but the network takes D = 3"),
    "wide": ("1,2,3,4\n", InputError, "row 1: 4 columns, but the network takes D = 3"),
    "header alone": ("a,b,c\n", InputError, "has no rows of numbers"),
    "blank": ("\n\n", InputError, "has no rows of numbers"),
    "empty": ("", WeightsFileError, "x.csv is empty, but should be a CSV file"),
    "nul": ("1,2,\0\n", InputError, "row 1, column 3"),
    "long": (
        "1,2," + "3" * 200_000 + "\n",
        WeightsFileError,
        "is damaged, or not a CSV file: field larger than field limit",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_an_invalid_table(tmp_path, name):
    text, error, message = TABLES[name]
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(error, match=message) as raised:
        read_sequences(tmp_path / "x.csv", 3)
    assert str(raised.value).isprintable()


def test_a_table_that_is_not_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe1\x002\x00")
    with pytest.raises(WeightsFileError, match="is damaged, or not a CSV file"):
        read_sequences(tmp_path / "x.csv", 3)


ARRAYS = {
    "flat": (
        np.ones(3),
        InputError,
        r"shape \(3,\), but should hold \(T, D\) or \(N, T, D\) with D = 3",
    ),
    "deep": (np.ones((1, 1, 1, 3)), InputError, r"shape \(1, 1, 1, 3\)"),
    "narrow": (
        np.ones((5, 2)),
        InputError,
        r"has 2 inputs a step \(shape \(5, 2\)\), but the network takes D = 3",
    ),
    "turned": (MANY.swapaxes(1, 2), InputError, "has 7 inputs a step"),
    "none": (np.ones((0, 3)), InputError, r"has no steps \(shape \(0, 3\)\)"),
    "nan": (
        np.where(np.arange(42).reshape(2, 7, 3) == 23, np.nan, 1),
        InputError,
        r"is nan at \[1, 0, 2\]",
    ),
    "infinite": (
        np.array([[1, 2, 3], [4, -np.inf, 6]]),
        InputError,
        r"is -inf at \[1, 1\], but every input should be finite",
    ),
    "complex": (ONE + 0j, InputError, "holds complex128, but should hold real numbers"),
    "text": (np.full((4, 3), "1"), InputError, "holds <U1"),
    "dates": (np.zeros((4, 3), "M8[s]"), InputError, "holds datetime64"),
    "objects": (
        np.array([[None] * 3]),
        WeightsFileError,
        "holds object, but should hold numbers; pickled objects are not read",
    ),
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_cannot_be_used(tmp_path, suffix, name):
    x, error, message = ARRAYS[name]
    with pytest.raises(error, match=message) as raised:
        read_sequences(save(tmp_path / f"x{suffix}", x=x), 3)
    assert f"x{suffix}" in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_or_missing_file(tmp_path, suffix):
    path = save(tmp_path / f"x{suffix}", x=ONE)
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:-9], b"x" * 300, whole.replace(b"(7, 3)", b"(9, 3)")):
        path.write_bytes(content)
        with pytest.raises(
            WeightsFileError,
            match=rf"x{suffix} (is empty|is damaged, or not a NumPy"
            r"|cannot be used: \w+ is cut off)",
        ):
            read_sequences(path, 3)
    path.unlink()
    with pytest.raises(WeightsFileError, match="cannot be read: No such file"):
        read_sequences(path, 3)
    with pytest.raises(WeightsFileError, match=r"does not end in \.npy, \.npz, \.csv"):
        read_sequences(tmp_path / "x.txt", 3)


def test_windows_use_every_step_once_at_most_and_keep_the_order_of_time():
    cut = cut_windows(MANY, 3)
    np.testing.assert_array_equal(
        cut, np.stack([MANY[0, :3], MANY[1, :3], MANY[0, 3:6], MANY[1, 3:6]])
    )
    np.testing.assert_array_equal(cut_windows(MANY, 7), MANY)
    for steps in (8, 0, -1):
        with pytest.raises(
            InputError,
            match=f"have 7 steps a sequence, so {steps} steps cannot be cut from them: "
            "choose from 1 to 7",
        ):
            cut_windows(MANY, steps)
