"""Cache of arrays on disk, shared by processes: append-only files of records.

Each record carries a digest of its content. A file that is full, or damaged, as by a kill in the
middle of writing, is started again; only time is lost with it, so a file that cannot be written is
no error.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from gatecheck._util.cache_dir import content_digest, private_folder
from gatecheck._util.typing import Array

MAX_BYTES = 2**24
"""Largest size of a file in bytes.

It holds some two thousand budgets, as many as audits by the profile ci need of one cell.
"""

MAX_RECORD_BYTES = 2**18
"""Largest size of a record in bytes; a larger one is not stored."""

_HEADER = struct.Struct("<4s16s16sI")
_MAGIC = b"gck1"


class ArrayCache:
    """Dicts of float64 arrays by a key, in a file.

    Nothing is read from or written to a folder to which others may write.

    Parameters
    ----------
    path
        Path of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_usable = False
        with suppress(OSError):
            private_folder(path.parent)
            self._is_usable = True
            self._data = path.read_bytes()
        self._size = len(self._data)
        self._places: dict[bytes, tuple[int, int]] = {}
        if self._is_usable and (not self._read_index() or self._size >= MAX_BYTES):
            self._data, self._size, self._places = b"", 0, {}
            with suppress(OSError):
                path.unlink()

    _data = b""

    def _read_index(self) -> bool:
        """Index the records, and return True if the file is whole."""
        at = 0
        while at + _HEADER.size <= len(self._data):
            magic, key, _, length = _HEADER.unpack_from(self._data, at)
            if magic != _MAGIC:
                return False
            at += _HEADER.size + length
            self._places[key] = at - length, at
        return at == len(self._data)

    def get(self, key: str) -> dict[str, Array] | None:
        """Return the arrays of a key, which are read-only, or None."""
        name = content_digest(key.encode())
        start, end = self._places.get(name, (0, 0))
        body = self._data[start:end]
        if not body or self._data[start - 20 : start - 4] != content_digest(name + body):
            return None
        (head,) = struct.unpack_from("<I", body)
        arrays: dict[str, Array] = {}
        at = 4 + head
        for array, *shape in json.loads(body[4:at]):
            count = int(np.prod(shape, dtype=int))
            arrays[array] = np.frombuffer(body, "<f8", count, at).reshape(shape)
            at += 8 * count
        return arrays

    def put(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Store arrays under a key, for processes that start after this."""
        header = json.dumps([[k, *v.shape] for k, v in arrays.items()]).encode()
        header += b" " * (-len(header) % 8 + 4)  # aligns the numbers to eight bytes
        body = (
            struct.pack("<I", len(header))
            + header
            + b"".join(v.astype("<f8", copy=False).tobytes() for v in arrays.values())
        )
        name = content_digest(key.encode())
        record = _HEADER.pack(_MAGIC, name, content_digest(name + body), len(body)) + body
        self._size += len(record)
        if not self._is_usable or len(record) > MAX_RECORD_BYTES or self._size > MAX_BYTES:
            return
        with suppress(OSError):
            file = os.open(
                self._path,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0),
                0o600,
            )
            try:
                os.write(file, record)  # in one call, since others append too
            finally:
                os.close(file)
