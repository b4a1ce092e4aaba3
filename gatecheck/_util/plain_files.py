"""The one way to open a user's file, and what reading it may take.

A small file can declare or unfold to any size. A reader spends from an :class:`Allowance` before it
allocates or computes, so that a file takes memory and time in proportion to its size.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from io import BufferedReader
from pathlib import Path
from typing import IO

from gatecheck.errors import ArchiveError

LIMIT = 8 * 2**30
"""Bytes that any file may unpack to."""

BASE_BYTES = 2**26
"""Bytes that the smallest file may unpack to."""

EXPANSION = 32
"""Bytes that each further byte of a file may unpack to.

Trained weights hardly shrink. An array of integers of eight bits counts as one of float64.
"""

BASE_SECONDS, BYTES_PER_SECOND = 8.0, 2.0**24
"""Seconds of this thread that any file may take, and bytes that give it one more."""

MOST = {
    "steps": (10**6, 16),
    "chunks": (10**5, 64),
    "nodes": (10**5, 64),
    "readings": (1500, 1024),
}
"""By kind, how many any file may have, and how many bytes of it give one more.

A reading of arrays as those of a cell in a convention takes a millisecond or two.
"""

ARRAY_BYTES = 500
"""Bytes that Python takes for an array and its name, without their content."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Allowance:
    """Bytes, things of a kind, and seconds that reading one file may take.

    Parameters
    ----------
    size
        Size of the file in bytes.

    Attributes
    ----------
    size
        Size of the file, and of further ones that belong to it.
    files
        Those further ones.
    spent
        What was taken, by kind.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.files: set[Path] = set()
        self.spent: dict[str, int] = {}
        self._start = time.thread_time()

    def most(self, kind: str) -> int:
        """Return how much of a kind the file may take in all."""
        if kind == "bytes":
            return min(LIMIT, BASE_BYTES + EXPANSION * self.size)
        base, per = MOST[kind]
        return base + self.size // per

    def spend(self, what: str, count: int, kind: str = "bytes") -> None:
        """Count what is about to be allocated or computed.

        Parameters
        ----------
        what
            What takes it, for the message.
        count, kind
            How many bytes, or things of a kind in :data:`MOST`.

        Raises
        ------
        ArchiveError
            If it is more than the file may take; the message gives both.
        """
        self.spent[kind] = spent = self.spent.get(kind, 0) + count
        if spent > self.most(kind):
            raise ArchiveError(
                f"{what}, with what is before it, takes {spent:,} {kind}, "
                f"but gatecheck reads {self.most(kind):,} at most of a file of {self.size:,} bytes"
            )
        seconds = BASE_SECONDS + self.size / BYTES_PER_SECOND
        if time.thread_time() - self._start > seconds:
            raise ArchiveError(f"reading up to {what} took more than {seconds:.0f} s")


def open_plain(path: str | Path, most: int | None = None, *, links: bool = True) -> BufferedReader:
    """Open a plain file for reading; nothing else is opened, and nothing hangs.

    Parameters
    ----------
    path
        Its path.
    most
        Largest size in bytes.
    links
        True to follow a link in the last part of the path.

    Raises
    ------
    OSError
        If it cannot be opened, is a folder, pipe, socket or device, or is larger; ``strerror`` says
        so.
    """
    # Opening a pipe would wait for a writer, and opening a terminal could take it over.
    flags = os.O_RDONLY | sum(
        getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
    )
    if not links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    _require_plain(path, os.stat(path, follow_symlinks=links))
    number = os.open(path, flags)
    try:
        status = os.fstat(number)  # it may have been replaced
        _require_plain(path, status)
        if most is not None and status.st_size > most:
            message = f"it has {status.st_size:,} bytes, but gatecheck reads {most:,} at most"
            raise OSError(errno.EFBIG, message, str(path))
        return open(path, "rb", opener=lambda *_: number)
    except BaseException:
        os.close(number)
        raise


def _require_plain(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a link")
        raise OSError(errno.EINVAL, f"it is {kind}, but should be a plain file", str(path))


def read_plain(path: str | Path, most: int, *, links: bool = True) -> bytes:
    """Read a plain file of at most this many bytes; see :func:`open_plain`.

    Raises
    ------
    OSError
        As :func:`open_plain`, also if it grows while it is read.
    """
    with open_plain(path, most, links=links) as file:
        data = file.read(most + 1)
    if len(data) > most:
        message = f"it has more than {most:,} bytes, which is all that gatecheck reads"
        raise OSError(errno.EFBIG, message, str(path))
    return data


def file_size(file: IO[bytes]) -> int:
    """Return the size in bytes of an open file or buffer; its position stays."""
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size
