"""Atomic writes: a file is written whole or not at all.

No kill, full disk or error leaves a torn file, or removes the one that was there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gatecheck.errors import LAYOUT, OutputError, printable

TEMP_SUFFIX = ".unfinished"
"""Suffix of a file that is being written, or that a killed process left behind."""


@contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file that replaces `path` when the block ends.

    It takes over the name and permissions of `path`; if the block fails, nothing changes. A link
    stays a link: its target is replaced. A pipe or a device is written into directly.

    Raises
    ------
    OutputError
        If the file cannot be written: no such folder, no permission, no space left.
    """
    path = Path(path)
    with (
        _as_output_error(f"{path} cannot be written"),
        _direct(path)
        if _is_special_file(path)
        else _via_temp_file(Path(os.path.realpath(path))) as file,
    ):
        yield file


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file as :func:`atomic_writer` does."""
    with atomic_writer(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file in UTF-8 as :func:`atomic_writer` does.

    What others wrote into the text cannot act on a terminal that shows the file.
    """
    write_bytes(path, printable(text, LAYOUT).encode())


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    with _as_output_error(f"the folder {path} cannot be made"):
        Path(path).mkdir(parents=True, exist_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before the long work that makes it.

    Raises
    ------
    OutputError
        If there is no such folder, or no permission.
    """
    with _as_output_error(f"{path} cannot be written"):
        path, folder = Path(path), Path(os.path.realpath(path)).parent
        if path.is_dir():
            raise OSError("it is a directory")
        if not folder.is_dir():
            raise OSError(f"there is no folder {path.parent}")
        # To replace a file, its folder must be writable.
        if not os.access(path if _is_special_file(path) else folder, os.W_OK) or (
            path.is_file() and not os.access(path, os.W_OK)
        ):
            raise OSError("permission denied")


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that files can be written into a folder, which may not exist yet.

    Raises
    ------
    OutputError
        If there is no permission, or something else in the way.
    """
    with _as_output_error(f"the folder {path} cannot be written"):
        existing = next(p for p in (Path(path), *Path(path).absolute().parents) if p.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise OSError(f"{existing} is {'read-only' if existing.is_dir() else 'not a folder'}")


@contextmanager
def _as_output_error(what: str) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{what}: {error.strerror or error}") from error


def _is_special_file(path: Path) -> bool:
    # /dev/stdout may point at a file that others write into, too.
    return (path.is_absolute() and path.parts[1:2] in (("dev",), ("proc",))) or (
        path.exists() and not path.is_file()
    )


@contextmanager
def _direct(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "wb") as file:
        yield file


@contextmanager
def _via_temp_file(path: Path) -> Iterator[IO[bytes]]:
    # Short enough to be valid wherever the file's own name is.
    temporary = path.with_name(f".{path.name[:16]}-{secrets.token_hex(6)}{TEMP_SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
