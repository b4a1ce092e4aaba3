"""A folder of parts: results of finished jobs, and how far unfinished ones came.

Every file is named by what it holds the result of: the job's description, the source that computes
it and the versions it runs on. So a part can be taken over only by a run that would compute the
same. Files are written under another name first and renamed when they are whole; what is found in
the folder later is checked, never unpickled, and computed again where it is not a part.
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

from gatecheck._util.atomic_write import UNFINISHED, make_folder, replacing
from gatecheck._util.cache_dir import package_sources, source_digest
from gatecheck._util.npz import read_npz
from gatecheck._util.typing import Array
from gatecheck._util.versions import versions
from gatecheck.errors import GatecheckWarning, UsageError, first_line, in_brief

Arrays = Mapping[str, Array]

SCHEMA = "gatecheck-part-1"

SAVE_EVERY_S = 10.0
"""What an interruption may cost of one job, in seconds."""

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
"""Age at which a file that somebody was writing is taken for what a killed process left behind;
writing one takes seconds.
"""


class _NoPartError(Exception):
    """A file is not the part that its name says; the message says why."""


def part_key(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of all that the result of a job depends on.

    These are the function's name, its arguments (JSON values), the source of the packages of
    :data:`SOURCES` and of the function's own file, and the versions of gatecheck, NumPy and Numba. The kind of
    processor is not among them: two kinds may round differently.

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


@dataclass
class Keeper:
    """Where a running job saves its state, and the state that an interrupted one left.

    Attributes
    ----------
    file
        Where to save, or None to save nothing.
    key
        Of the job.
    saved
        The state to go on from, or None to begin.
    every
        Seconds between two saves.
    """

    file: Path | None
    key: str
    saved: Arrays | None = None
    every: float = SAVE_EVERY_S
    _last: float = field(default_factory=time.monotonic, repr=False)

    def restore(self, state: Arrays) -> bool:
        """Fill these arrays with the saved ones, in place; False if there are none.

        Warns
        -----
        GatecheckWarning
            If what was saved has other names, shapes or dtypes; the arrays then stay as they are.
        """
        saved, self.saved, self._last = self.saved, None, time.monotonic()
        if saved is None:
            return False
        if _form(saved) != _form(state):
            warnings.warn(
                "the state that was saved for a job does not fit it, so it begins anew",
                GatecheckWarning,
                stacklevel=2,
            )
            return False
        for name, array in state.items():
            array[...] = saved[name]
        return True

    def save(self, state: Arrays) -> None:
        """Save these arrays if that is due."""
        if self.file is not None and time.monotonic() - self._last >= self.every:
            _write(self.file, f"{self.key} state", state)
            self._last = time.monotonic()


class Store:
    """The parts of sweeps in one folder, which is made when the first is written.

    Parameters
    ----------
    folder
        Its path. Several sweeps can share it, one after the other or at the same time.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.keys: tuple[str, ...] = ()  # of the sweep that was opened last

    def open(self, keys: Sequence[str], resume: bool, say: Callable[[str], None]) -> list[bool]:
        """Begin a sweep of these parts: which of them need not be computed.

        Without `resume` none are taken over, and `say` is told how many there were; each stays
        until its successor is finished, so that a forgotten `resume` costs nothing. With it, `say`
        is told of files that are not the parts that they should be.
        """
        self.keys = tuple(dict.fromkeys(keys))
        self._sweep_up()
        if resume:
            whole = {key: self._read(self._part(key), key, say) is not None for key in self.keys}
            return [whole[key] for key in keys]
        if found := self.kept:
            say(
                f"{self.folder} holds {found} of the {len(self.keys)} parts of this sweep already; they are computed anew, since resume "
                "was not asked for"
            )
        return [False] * len(keys)

    @property
    def kept(self) -> int:
        """How many parts of the sweep that was opened are finished."""
        return sum(self._part(key).is_file() for key in self.keys)

    @property
    def status(self) -> str:
        """What is kept of the sweep that was opened, as a sentence without its full stop."""
        begun = sum(self._state(key).is_file() for key in self.keys)
        more = f" and the state of {begun} unfinished" if begun else ""
        return f"{self.kept} of {len(self.keys)} parts{more} are kept in {self.folder}"

    def get(self, key: str) -> dict[str, Array]:
        """A finished part.

        Raises
        ------
        UsageError
            If it is not there any more, or not what was written.
        """
        reasons: list[str] = []
        arrays = self._read(self._part(key), key, reasons.append)
        if arrays is None:
            raise UsageError(
                "; ".join(reasons)
                or f"the part {self._part(key)} was taken away while the sweep ran"
            )
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep a finished part, and drop the state from which it could have gone on."""
        _write(self._part(key), key, arrays)
        self._state(key).unlink(missing_ok=True)

    def keeper(self, key: str, resume: bool, say: Callable[[str], None]) -> Keeper:
        """What the job is given to save its state with; with `resume` it holds the state to go on
        from, if there is one.
        """
        saved = self._read(self._state(key), f"{key} state", say) if resume else None
        return Keeper(self._state(key), key, saved, SAVE_EVERY_S)

    def clear(self) -> None:
        """Remove the parts of the sweep that was opened, and the folder if nothing else is in it."""
        for key in self.keys:
            self._part(key).unlink(missing_ok=True)
            self._state(key).unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            return  # it holds something else, or was never made

    def _part(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def _state(self, key: str) -> Path:
        return self.folder / f"{key}.state.npz"

    def _read(self, file: Path, key: str, say: Callable[[str], None]) -> dict[str, Array] | None:
        try:
            return _read(file, key)
        except FileNotFoundError:
            return None
        except _NoPartError as error:
            say(f"{file} is not a part of this sweep ({error}), so that part is computed anew")
            return None

    def _sweep_up(self) -> None:
        for file in self.folder.glob(f"*{UNFINISHED}"):
            try:
                if time.time() - file.stat().st_mtime > STALE_S:
                    file.unlink()
            except OSError:
                continue  # somebody else's, or gone already


def _form(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _write(file: Path, key: str, arrays: Arrays) -> None:
    """Write all of a file or nothing."""
    if bad := [
        name
        for name, array in arrays.items()
        if not isinstance(array, np.ndarray) or array.dtype.hasobject
    ]:
        raise UsageError(f"{', '.join(bad)}: only arrays of numbers or text can be kept")
    # The prefix keeps names apart from those that np.savez takes for itself.
    content = {"key": np.array(key)} | {f"array {name}": array for name, array in arrays.items()}
    make_folder(file.parent)
    with replacing(file) as opened:
        np.savez(opened, **content)  # type: ignore[arg-type]


def _read(file: Path, key: str) -> dict[str, Array]:
    """The arrays of a file that should hold this key.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    _NoPartError
        If it is anything but what :func:`_write` makes.
    """
    try:
        with zipfile.ZipFile(file) as members:
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
                raise _NoPartError("it is compressed")  # and might unpack to more than fits
        arrays = read_npz(file, file.stat().st_size)
    except (FileNotFoundError, _NoPartError):
        raise
    except Exception as error:  # damaged bytes can end in any error of zipfile, zlib and NumPy
        raise _NoPartError(in_brief(first_line(error))) from None
    found = arrays.pop("key", None)
    if (
        not isinstance(found, np.ndarray)
        or found.shape != ()
        or found.dtype.kind != "U"
        or str(found) != key
    ):
        raise _NoPartError("it holds something else")
    if any(
        not isinstance(array, np.ndarray) or not name.startswith("array ")
        for name, array in arrays.items()
    ):
        raise _NoPartError("it holds something else")
    return {name.removeprefix("array "): array for name, array in arrays.items()}
