"""Folder of parts: results of finished jobs, and states of unfinished ones.

The name of a file is a hash of all that its content depends on: the job's arguments, the source
that computes it and the versions it runs on. So only a run that would compute the same can reuse a
part. Files are written under another name and renamed when they are complete. A file read later is
checked, never unpickled, and its part is computed again if it is not valid.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.arithmetic import arithmetic
from gatecheck._util.atomic_write import TEMP_SUFFIX, atomic_writer, make_folder
from gatecheck._util.cache_dir import package_sources, source_digest
from gatecheck._util.npz import read_npz
from gatecheck._util.plain_files import Allowance, file_size, open_plain
from gatecheck._util.typing import Array
from gatecheck._util.versions import versions
from gatecheck.errors import GatecheckWarning, UsageError, first_line, shorten

Arrays = Mapping[str, Array]

SCHEMA = "gatecheck-part-1"

SAVE_EVERY_S = 10.0
"""Seconds of one job that an interruption may cost."""

SOURCES = (
    "errors.py",
    "_util",
    "cases",
    "cells",
    "conventions",
    "decay",
    "implementation",
    "kernels",
    "reference",
    "targets",
    "weights",
)
"""Modules and packages on which the result of a job may depend."""

STALE_S = 3600.0
"""Age at which an unfinished file counts as left behind by a killed process.

Writing one takes seconds.
"""


class _InvalidPartError(Exception):
    """File that is not the part that its name says; the message gives the reason."""


def part_key(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of all that the result of a job depends on.

    These are the function's name, its arguments (JSON values), the source of the packages of
    :data:`SOURCES` and of the function's own file, the versions of gatecheck, NumPy and Numba, and
    :func:`gatecheck._util.arithmetic.arithmetic`, since two kinds of processor round differently.

    Raises
    ------
    UsageError
        If the arguments are not JSON values.
    """
    sources = {*package_sources(*SOURCES), Path(function.__code__.co_filename)}
    content = {
        "schema": SCHEMA,
        "function": f"{function.__module__}.{function.__qualname__}",
        "arguments": arguments,
        "source": source_digest(*sorted(sources)),
        "versions": _versions(),
        "arithmetic": _arithmetic(),
    }
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the arguments of a job should be JSON values: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _versions() -> dict[str, str]:
    return {
        name: version
        for name, version in versions().items()
        if name in ("gatecheck", "numpy", "numba")
    }


@functools.cache
def _arithmetic() -> dict[str, Any]:
    return arithmetic(blas_threads=1)  # as in jobs


@dataclass
class Checkpointer:
    """Keeper of the state of a running job, and of that of an interrupted one.

    Attributes
    ----------
    file
        File to save to, or None to save nothing.
    key
        Key of the job.
    saved_state
        State to continue from, or None to start from the beginning.
    interval_s
        Seconds between two saves.
    """

    file: Path | None
    key: str
    saved_state: Arrays | None = None
    interval_s: float = SAVE_EVERY_S
    _last_save: float = field(default_factory=time.monotonic, repr=False)

    def restore(self, state: Arrays) -> bool:
        """Fill these arrays with the saved ones, in place; False if there are none.

        Warns
        -----
        GatecheckWarning
            If the saved ones have other names, shapes or dtypes; the arrays are then unchanged.
        """
        saved, self.saved_state, self._last_save = self.saved_state, None, time.monotonic()
        if saved is None:
            return False
        if _signature(saved) != _signature(state):
            warnings.warn(
                "the state that was saved for a job does not fit it, so the job starts over",
                GatecheckWarning,
                stacklevel=2,
            )
            return False
        for name, array in state.items():
            array[...] = saved[name]
        return True

    def save(self, state: Arrays) -> None:
        """Save these arrays if a save is due."""
        if self.file is not None and time.monotonic() - self._last_save >= self.interval_s:
            _write_part(self.file, f"{self.key} state", state)
            self._last_save = time.monotonic()


class PartStore:
    """Parts of sweeps in one folder, which is created with the first part.

    Parameters
    ----------
    folder
        Path of the folder. Several sweeps can share it, one after the other or at the same time.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.keys: tuple[str, ...] = ()  # of the sweep that was opened last

    def begin_sweep(
        self, keys: Sequence[str], resume: bool, notify: Callable[[str], None]
    ) -> list[bool]:
        """Begin a sweep of these parts, and return which need not be computed.

        Without `resume` no part is reused, and `notify` is called with their number; each stays
        until its successor is finished, so that a forgotten `resume` costs nothing. With `resume`,
        `notify` is called for files that are not the parts that they should be.
        """
        self.keys = tuple(dict.fromkeys(keys))
        self._remove_stale_files()
        if resume:
            whole = {
                key: self._read(self._part_file(key), key, notify) is not None for key in self.keys
            }
            return [whole[key] for key in keys]
        if count := self.part_count:
            notify(
                f"{self.folder} holds {count} of the {len(self.keys)} parts of this sweep already; "
                "they are computed again, since resume was not asked for"
            )
        return [False] * len(keys)

    @property
    def part_count(self) -> int:
        """Number of finished parts of the sweep that was opened."""
        return sum(self._part_file(key).is_file() for key in self.keys)

    @property
    def status(self) -> str:
        """Progress of the sweep that was opened, as a sentence without its full stop."""
        begun = sum(self._state_file(key).is_file() for key in self.keys)
        more = f" and the state of {begun} unfinished" if begun else ""
        return f"{self.part_count} of {len(self.keys)} parts{more} are kept in {self.folder}"

    def get(self, key: str) -> dict[str, Array]:
        """Return a finished part.

        Raises
        ------
        UsageError
            If it is gone, or is not what was written.
        """
        reasons: list[str] = []
        arrays = self._read(self._part_file(key), key, reasons.append)
        if arrays is None:
            raise UsageError(
                "; ".join(reasons)
                or f"the part {self._part_file(key)} was removed while the sweep ran"
            )
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Store a finished part, and remove the saved state of its job."""
        _write_part(self._part_file(key), key, arrays)
        self._state_file(key).unlink(missing_ok=True)

    def checkpointer(self, key: str, resume: bool, notify: Callable[[str], None]) -> Checkpointer:
        """Return a keeper for the state of a job.

        With `resume` it holds the saved state, if there is one.
        """
        saved = self._read(self._state_file(key), f"{key} state", notify) if resume else None
        return Checkpointer(self._state_file(key), key, saved, SAVE_EVERY_S)

    def clear(self) -> None:
        """Remove the parts of the sweep that was opened, and the folder if it is empty."""
        for key in self.keys:
            self._part_file(key).unlink(missing_ok=True)
            self._state_file(key).unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            return  # it is not empty, or was never made

    def _part_file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def _state_file(self, key: str) -> Path:
        return self.folder / f"{key}.state.npz"

    def _read(self, file: Path, key: str, notify: Callable[[str], None]) -> dict[str, Array] | None:
        try:
            return _read_part(file, key)
        except FileNotFoundError:
            return None
        except _InvalidPartError as error:
            notify(f"{file} is not a part of this sweep ({error}), so that part is computed again")
            return None

    def _remove_stale_files(self) -> None:
        for file in self.folder.glob(f"*{TEMP_SUFFIX}"):
            try:
                if time.time() - file.stat().st_mtime > STALE_S:
                    file.unlink()
            except OSError:
                continue  # no permission, or gone already


def _signature(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _write_part(file: Path, key: str, arrays: Arrays) -> None:
    """Write a file completely or not at all."""
    if bad := [
        name
        for name, array in arrays.items()
        if not isinstance(array, np.ndarray) or array.dtype.hasobject
    ]:
        raise UsageError(f"{', '.join(bad)}: only arrays of numbers or text can be kept")
    # The prefix keeps names apart from np.savez's own parameters.
    content = {"key": np.array(key)} | {f"array {name}": array for name, array in arrays.items()}
    make_folder(file.parent)
    with atomic_writer(file) as file_object:
        np.savez(file_object, **content)  # type: ignore[arg-type]


def _read_part(file: Path, key: str) -> dict[str, Array]:
    """Return the arrays of a file that should have this key.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    _NoPartError
        If it is not a file that :func:`_write_part` makes.
    """
    try:
        with open_plain(file) as opened:
            with zipfile.ZipFile(opened) as members:
                if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
                    raise _InvalidPartError("it is compressed")  # and we compress none
            arrays = read_npz(opened, Allowance(file_size(opened)))
    except (FileNotFoundError, _InvalidPartError):
        raise
    except OSError as error:
        raise _InvalidPartError(error.strerror or first_line(error)) from None
    except Exception as error:  # damaged bytes can end in any error of zipfile, zlib and NumPy
        raise _InvalidPartError(shorten(first_line(error))) from None
    stored_key = arrays.pop("key", None)
    if (
        not isinstance(stored_key, np.ndarray)
        or stored_key.shape != ()
        or stored_key.dtype.kind != "U"
        or str(stored_key) != key
    ):
        raise _InvalidPartError("it holds something else")
    if any(
        not isinstance(array, np.ndarray) or not name.startswith("array ")
        for name, array in arrays.items()
    ):
        raise _InvalidPartError("it holds something else")
    return {name.removeprefix("array "): array for name, array in arrays.items()}
