"""Input sequences read from the user's files and cut to the measured length."""

from __future__ import annotations

import array
import csv
import io
import math
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from gatecheck._util.npz import read_npy
from gatecheck._util.plain_files import Allowance, file_size
from gatecheck._util.typing import Array
from gatecheck.errors import InputError, WeightsFileError, shorten
from gatecheck.weights.files import call_reader
from gatecheck.weights.numpy_files import read_npz
from gatecheck.weights.stored import as_float64

SUFFIXES = (".npy", ".npz", ".csv")
MAX_HEADER = 2**16
"""Most characters of the first line that are searched for a separator."""

MAX_QUOTED = 30
"""Most characters of a table cell that a message quotes."""


def read_sequences(path: str | Path, D: int) -> Array:
    """Read sequences of D inputs a step.

    Parameters
    ----------
    path
        A ``.npy`` or ``.npz`` with an array ``(T, D)``, one sequence, or ``(N, T, D)``, N of them;
        in an ``.npz`` the only array, or the one named ``x``. Or a ``.csv`` with one sequence: a
        row is a step, a column an input, separated by commas, semicolons or tabs; the first row may
        be a header.
    D
        Number of inputs a step.

    Returns
    -------
    ndarray
        ``(N, T, D)``, float64.

    Raises
    ------
    WeightsFileError
        If the file is missing, damaged, or of another type.
    InputError
        If there are no steps, another number of inputs, or an entry that is not a finite number;
        the message gives the place of the first one.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WeightsFileError(
            f"{path} does not end in {', '.join(SUFFIXES)}, so gatecheck cannot tell how to read it"
        )
    if suffix == ".csv":
        return call_reader(path, "a CSV file", partial(_read_csv, D=D))[None]
    x = (
        call_reader(path, "a NumPy archive", _read_npz_array)
        if suffix == ".npz"
        else call_reader(path, "a NumPy array", _read_npy_array)
    )
    if x.dtype.kind not in "fiub":
        raise InputError(f"{path} holds {x.dtype}, but should hold real numbers")
    if x.ndim not in (2, 3):
        raise InputError(
            f"{path} holds an array of shape {x.shape}, "
            f"but should hold (T, D) or (N, T, D) with D = {D}"
        )
    if x.shape[-1] != D:
        raise InputError(
            f"{path} has {x.shape[-1]} inputs a step (shape {x.shape}), "
            f"but the network takes D = {D}"
        )
    if not x.size:
        raise InputError(f"{path} has no steps (shape {x.shape})")
    sequences = as_float64(x)
    if not np.isfinite(sequences).all():
        index = tuple(int(k) for k in np.argwhere(~np.isfinite(sequences))[0])
        raise InputError(
            f"{path} is {sequences[index]} at [{', '.join(map(str, index))}], "
            "but every input should be finite"
        )
    return sequences if sequences.ndim == 3 else sequences[None]


def cut_windows(sequences: Array, steps: int) -> Array:
    """Cut sequences into windows of `steps` consecutive steps, without overlap.

    Parameters
    ----------
    sequences
        ``(N, T, D)``.
    steps
        Length of each window.

    Returns
    -------
    ndarray
        ``(M, steps, D)``, the first windows of all sequences first. Steps left at the end of a
        sequence are not used.

    Raises
    ------
    InputError
        If the sequences are shorter than `steps`; the message gives their length.
    """
    N, T, D = sequences.shape
    if not 1 <= steps <= T:
        raise InputError(
            f"the data have {T} steps a sequence, so {steps} steps cannot be cut from them: "
            f"choose from 1 to {T}"
        )
    count = T // steps
    return (
        sequences[:, : count * steps]
        .reshape(N, count, steps, D)
        .swapaxes(0, 1)
        .reshape(N * count, steps, D)
    )


def _read_npy_array(file: IO[bytes]) -> Array:
    Allowance(file_size(file)).spend("it", file_size(file))
    return read_npy("it", file, file_size(file))


def _read_npz_array(file: IO[bytes]) -> Array:
    arrays = read_npz(file).arrays
    if "x" not in arrays and len(arrays) != 1:
        raise WeightsFileError(
            f"it holds the arrays {', '.join(arrays) or 'none'}, "
            "but should hold one, or one named x"
        )
    return arrays["x"] if "x" in arrays else next(iter(arrays.values()))


def _read_csv(opened: IO[bytes], D: int) -> Array:
    path = Path(opened.name)
    with io.TextIOWrapper(opened, newline="", encoding="utf-8-sig") as file:
        first_line = file.readline(MAX_HEADER)
        file.seek(0)
        delimiter = next((separator for separator in ";\t" if separator in first_line), ",")
        reader = csv.reader(file, delimiter=delimiter)
        rows = array.array("d")
        header: list[str] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not rows and not header and all(_parse_float(cell) is None for cell in cells):
                header = cells
                continue
            if len(cells) != D:
                raise InputError(
                    f"{path}, row {reader.line_num}: {len(cells)} columns, "
                    f"but the network takes D = {D}"
                )
            rows.extend(
                _parse_finite(path, reader.line_num, k, cell, header)
                for k, cell in enumerate(cells)
            )
    if not rows:
        raise InputError(f"{path} has no rows of numbers")
    return np.array(rows).reshape(-1, D)


def _parse_float(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _parse_finite(path: Path, row: int, column: int, cell: str, header: list[str]) -> float:
    number = _parse_float(cell)
    if number is None or not math.isfinite(number):
        label = f" ({header[column].strip()})" if column < len(header) else ""
        excerpt = cell if len(cell) <= MAX_QUOTED else f"{cell[:MAX_QUOTED]}…"
        raise InputError(
            shorten(
                f"{path}, row {row}, column {column + 1}{label}: {excerpt!r} is not a finite number"
            )
        )
    return number
