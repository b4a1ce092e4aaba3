"""Messages between a judge and the process of a target.

What a target sends is in a format without code: a header of fixed size, JSON, and the bytes of
arrays. It is either such a message, of limited size, or the target is lost. The requests of the
judge are trusted, and pickled.
"""

from __future__ import annotations

import json
import math
import pickle
import select
import socket
import struct
import time
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.implementation.plain import MAX_BYTES, Opaque, UnreadArray
from gatecheck.implementation.session import Seed

HEADER = struct.Struct("<4sQQQ")
"""Magic number, number of the message, size of its JSON, size of its arrays."""

MAGIC = b"gck2"

MAX_JSON = 2**24
"""Largest size of the JSON of a message, in bytes."""

ALIGNMENT = 16
"""Alignment of each array in bytes."""

READ_BYTES = 2**16
"""Number of bytes that are read at once."""

JOIN_BYTES = 2**17
"""Size up to which the parts of a message are copied to be sent at once."""


DTYPES = {
    dtype.str: dtype
    for size in "bhilqBHILQefdFD?"
    for dtype in (np.dtype(f"<{size}"), np.dtype(f">{size}"))
}
"""Dtypes of arrays in messages, all of numbers."""

PADDING = [bytes(n) for n in range(ALIGNMENT)]


class ProtocolError(Exception):
    """Bytes that are no message, or another one than is due."""


class PeerEndedError(Exception):
    """The other process ended, or closed its end, before its message was complete."""


SCALARS = (bool, int, float, str)


def pack(value: Any, arrays: list[Array]) -> Any:
    """Return plain data as JSON data; its arrays are added to a list.

    Lists are themselves; all else that is not a number, a text or None has a letter.
    """
    kind = type(value)
    if kind is np.ndarray:
        arrays.append(value)
        return {"a": [value.dtype.str, *value.shape]}
    if value is None or kind in SCALARS:
        return value
    if kind is list:
        return [pack(item, arrays) for item in value]
    if kind is dict:
        return {"d": [[key, pack(item, arrays)] for key, item in value.items()]}
    if kind is Opaque:
        return {"o": value.description}
    if kind is UnreadArray:
        return {"u": [value.dtype, *value.shape]}
    if kind is Seed:
        return {"s": value.number}
    if kind is tuple:
        return {"t": [pack(item, arrays) for item in value]}
    raise TypeError(f"a {kind.__name__} is not plain data")


class _Unpacker:
    """Reader of one message."""

    def __init__(self, body: memoryview) -> None:
        self.body, self.place = body, 0

    def value(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self.value(item) for item in data]
        if not isinstance(data, dict):
            return data
        ((letter, content),) = data.items()
        if letter == "a":
            return self.array(*content)
        if letter == "d":
            return {_text(key): self.value(item) for key, item in content}
        if letter == "t":
            return tuple([self.value(item) for item in content])
        if letter == "o":
            return Opaque(_text(content))
        if letter == "u":
            return UnreadArray(_shape(content[1:]), _text(content[0]))
        if letter == "s" and type(content) is int:
            return Seed(content)
        raise ProtocolError(f"there are no values of the kind {letter!r}")

    def array(self, name: str, *dimensions: int) -> Array:
        dtype = DTYPES.get(name)
        size = math.prod(_shape(dimensions))
        if dtype is None or self.place + size * dtype.itemsize > len(self.body):
            raise ProtocolError("an array does not fit its message")
        flat = np.frombuffer(self.body, dtype, size, self.place) if size else np.empty(0, dtype)
        self.place += -(-size * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        # A copy, which owns its memory.
        return flat.reshape(dimensions).copy()


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ProtocolError("a text is missing")
    return value


def _shape(dimensions: Any) -> tuple[int, ...]:
    for n in dimensions:
        if type(n) is not int or n < 0:
            raise ProtocolError("a shape is not one")
    return tuple(dimensions)


class Channel:
    """One end of a connection.

    Requests to the process of a target are trusted there, and pickled; what it sends is plain data.

    Parameters
    ----------
    connection
        A connected socket.
    peer
        File descriptor that becomes readable when the other process ended: its end of the
        connection may be held open by a process that it started.
    """

    def __init__(self, connection: socket.socket, peer: int | None = None) -> None:
        self.connection, self.peer = connection, peer
        connection.setblocking(False)
        self._n_sent = self._n_received = 0
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._unread = self._buffer[:0]

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def send_request(self, request: Any, deadline: float | None = None) -> None:
        """Send a request to the process of a target.

        Parameters
        ----------
        request
            Anything that can be pickled.
        deadline
            Time of the monotonic clock at which to give up; None waits.

        Raises
        ------
        TimeoutError
            If the other process did not read in time.
        OSError
            If it ended.
        """
        self._send(pickle.dumps(request, pickle.HIGHEST_PROTOCOL), [], deadline)

    def receive_request(self) -> Any:
        """Return the next request of the judge.

        Raises
        ------
        PeerEndedError
            If the judge ended.
        """
        content, _ = self._receive(2**63, None)
        return pickle.loads(content)

    def send(self, value: Any) -> None:
        """Send plain data; see :func:`gatecheck.implementation.plain.to_plain`."""
        arrays: list[Array] = []
        content = json.dumps(pack(value, arrays)).encode()
        parts: list[bytes] = []
        for a in arrays:
            parts += [a.tobytes(), PADDING[-a.nbytes % ALIGNMENT]]
        self._send(content, parts, None)

    def receive(self, deadline: float | None = None) -> Any:
        """Return the next plain data.

        Raises
        ------
        TimeoutError
            If they were not complete in time.
        PeerEndedError
            If the other process ended before.
        ProtocolError
            If they are not the next message.
        """
        content, body = self._receive(MAX_JSON, deadline)
        try:
            return _Unpacker(body).value(json.loads(content))
        except (ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
            raise ProtocolError("it sent an answer that cannot be read") from error

    def _send(self, content: bytes, parts: list[bytes], deadline: float | None) -> None:
        size = sum(map(len, parts))
        header = HEADER.pack(MAGIC, self._n_sent, len(content), size)
        self._n_sent += 1
        message = [header, content, *parts]
        try:
            for part in [b"".join(message)] if len(content) + size < JOIN_BYTES else message:
                self.connection.settimeout(_remaining(deadline))
                self.connection.sendall(part)
        finally:
            self.connection.setblocking(False)

    def _receive(self, most: int, deadline: float | None) -> tuple[bytes, memoryview]:
        header = self._read(HEADER.size, deadline)
        magic, number, content_size, size = HEADER.unpack(header)
        if magic != MAGIC or content_size > most or size > MAX_BYTES + MAX_JSON:
            raise ProtocolError("it sent something that is no answer")
        if number != self._n_received:
            raise ProtocolError("it sent an answer that is not the next")
        self._n_received += 1
        content = bytes(self._read(content_size, deadline))
        return content, self._read(size, deadline)

    def _read(self, size: int, deadline: float | None) -> memoryview:
        """Return the next bytes, which the next call may overwrite."""
        unread = self._unread
        if len(unread) < size:
            place = len(unread)
            buffer = self._buffer
            if size > len(buffer):
                # Memory that is not touched takes no place: a header may promise anything.
                buffer = memoryview(np.empty(size, np.uint8)).cast("B")  # type: ignore[arg-type]
            buffer[:place] = bytes(unread)
            while place < size:
                place += self._receive_into(buffer[place:], deadline)
            unread = buffer[:place]
        self._unread = unread[size:]
        return unread[:size]

    def _receive_into(self, view: memoryview, deadline: float | None) -> int:
        while True:
            try:
                count = self.connection.recv_into(view)
            except (BlockingIOError, InterruptedError):
                self._wait(deadline)
                continue
            except ConnectionError:
                count = 0
            if not count:
                raise PeerEndedError
            return count

    def _wait(self, deadline: float | None) -> None:
        watched: list[Any] = [self.connection]
        if self.peer is not None:
            watched.append(self.peer)
        ready, _, _ = select.select(watched, [], [], _remaining(deadline))
        if not ready:
            raise TimeoutError
        if self.connection not in ready:
            raise PeerEndedError


def _remaining(deadline: float | None) -> float | None:
    """Return the seconds to a deadline: at least so many that ready data is read."""
    return None if deadline is None else max(1e-3, deadline - time.monotonic())
