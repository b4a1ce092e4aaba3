"""Arrays that a process keeps for those after it: a file of records, to which every process only
ever appends.

Each record carries a digest of what is in it. A file that is damaged, as by a kill in the middle of
writing, or full is begun anew; nothing but time is lost with it, so nothing is said where it cannot
be written.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from gatecheck._util.typing import Array

MOST_BYTES = 2**24
"""Of a file: some two thousand budgets, which is what audits by the profile ci ask for of one cell.
"""

LARGEST = 2**17
"""Bytes of a record, at most; a larger one is not kept."""

_HEAD = struct.Struct("<4s16s16sI")
_MAGIC = b"gck1"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class Kept:
    """Dicts of float64 arrays by a key, in a file.

    Parameters
    ----------
    path
        Of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = path.read_bytes()
        self._size = len(self._data)
        self._places: dict[bytes, tuple[int, int]] = {}
        if not self._indexed() or self._size >= MOST_BYTES:
            self._data, self._size, self._places = b"", 0, {}
            with suppress(OSError):
                path.unlink()

    _data = b""

    def _indexed(self) -> bool:
        """Whether the file is whole."""
        at = 0
        while at + _HEAD.size <= len(self._data):
            magic, key, _, length = _HEAD.unpack_from(self._data, at)
            if magic != _MAGIC:
                return False
            at += _HEAD.size + length
            self._places[key] = at - length, at
        return at == len(self._data)

    def get(self, key: str) -> dict[str, Array] | None:
        """What was kept under a key, or None; the arrays are read-only."""
        name = _digest(key.encode())
        start, end = self._places.get(name, (0, 0))
        body = self._data[start:end]
        if not body or self._data[start - 20 : start - 4] != _digest(name + body):
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
        """Keep arrays under a key, for the processes that begin after this."""
        head = json.dumps([[k, *v.shape] for k, v in arrays.items()]).encode()
        head += b" " * (-len(head) % 8 + 4)  # numbers begin at a multiple of eight
        body = (
            struct.pack("<I", len(head))
            + head
            + b"".join(v.astype("<f8", copy=False).tobytes() for v in arrays.values())
        )
        name = _digest(key.encode())
        record = _HEAD.pack(_MAGIC, name, _digest(name + body), len(body)) + body
        self._size += len(record)
        if len(record) > LARGEST or self._size > MOST_BYTES:
            return
        with suppress(OSError):
            file = os.open(
                self._path,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0),
                0o600,
            )
            try:
                os.write(file, record)  # at once, since others append too
            finally:
                os.close(file)
