"""Readers of files of weights, chosen by suffix; every error is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from gatecheck._util.plain_files import open_plain
from gatecheck._util.typing import Array
from gatecheck.errors import (
    ArchiveError,
    InputError,
    MissingExtraError,
    TargetError,
    WeightsFileError,
    first_line,
    shorten,
)
from gatecheck.weights import keras_files, numpy_files, tensor_files
from gatecheck.weights.stored import StoredArrays

T = TypeVar("T")


def _read_onnx(file: IO[bytes]) -> StoredArrays:
    from gatecheck.weights.onnx_files import read_onnx

    return read_onnx(file)


READERS: dict[str, tuple[str, Callable[[IO[bytes]], StoredArrays]]] = {
    ".npz": ("a NumPy archive", numpy_files.read_npz),
    ".safetensors": ("a safetensors file", tensor_files.read_safetensors),
    **dict.fromkeys(
        (".pt", ".pth", ".bin", ".ckpt"), ("a PyTorch checkpoint", tensor_files.read_torch)
    ),
    ".onnx": ("an ONNX model", _read_onnx),
    ".keras": ("a Keras model", keras_files.read_keras),
    **dict.fromkeys((".h5", ".hdf5"), ("an HDF5 file", keras_files.read_hdf5)),
}
"""Format and reader of a file by suffix."""


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Return the arrays of a file by name.

    Parameters
    ----------
    path
        A file with a suffix in :data:`READERS`.

    Returns
    -------
    dict
        Floats of 16 bits are widened to float64, exactly; other arrays keep their dtype. The arrays
        of a recurrent ONNX node are named ``NODE/W``, ``NODE/R``, ``NODE/B`` and ``NODE/P``.

    Raises
    ------
    WeightsFileError
        If the file is missing, damaged, of another format, unpacks to more than 64 MiB and 32 times
        its size or to more than 8 GiB, or contains code. No code in it is run.
    MissingExtraError
        If the library that reads it is not installed.
    """
    return read(path).arrays


def read(path: str | Path) -> StoredArrays:
    """Return the arrays of a file with its metadata; see :func:`read_arrays`."""
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise WeightsFileError(
            f"{path} does not end in {', '.join(READERS)}, so gatecheck cannot tell how to read it"
        )
    return call_reader(path, *READERS[path.suffix.lower()])


def call_reader(path: Path, format_name: str, reader: Callable[[IO[bytes]], T]) -> T:
    """Call a reader on a file and turn its exceptions into one-line errors.

    Raises
    ------
    WeightsFileError
        If the file cannot be read; the message names it.
    MissingExtraError, InputError
        If the reader raises them.
    """
    try:
        file = open_plain(path)
    except OSError as error:
        raise WeightsFileError(f"{path} cannot be read: {error.strerror}") from error
    try:
        with file:
            if not file.read(1):
                raise WeightsFileError(f"{path} is empty, but should be {format_name}")
            file.seek(0)
            return reader(file)
    except (MissingExtraError, InputError):
        raise
    except TargetError as error:  # its message already names the file
        raise WeightsFileError(shorten(str(error))) from error
    except (ArchiveError, WeightsFileError) as error:
        raise WeightsFileError(shorten(f"{path} cannot be used: {error}")) from error
    except Exception as error:  # libraries raise many exceptions for a damaged file
        raise WeightsFileError(
            shorten(f"{path} is damaged, or not {format_name}: {first_line(error)}")
        ) from error
