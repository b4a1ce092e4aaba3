"""Standard streams that a command can count on, however it was started."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any


def prepare_streams() -> None:
    """Open closed descriptors 0 to 2, and make output survive a reader that is gone.

    A file or pipe that took the number of a closed descriptor would get output meant for it, in
    this process or in one that it starts. What is printed for a closed pipe is dropped, so that
    ``gatecheck ... | head`` still writes its files and exits with its verdict; and what cannot be
    written to standard error is, since no one could be told.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _forgiving(sys.stdout, {errno.EPIPE})
    if sys.stderr is sys.__stderr__:
        sys.stderr = _forgiving(sys.stderr, {*errno.errorcode})


def discard_stdout() -> None:
    """Discard buffered output, which Python would fail to flush again at exit."""
    if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), _Forgiving):
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def _forgiving(stream: Any, errnos: set[int]) -> Any:
    """Return a stream to the same place that drops what fails with these errors.

    A character that its encoding lacks is replaced: a console without ± still shows the verdict.
    """
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(stream.fileno(), errnos)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Forgiving(io.FileIO):
    """File that takes what its descriptor refuses with one of the given errors."""

    def __init__(self, number: int, errnos: set[int]) -> None:
        super().__init__(number, "wb", closefd=False)
        self._errnos = errnos

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self._errnos:
                raise
            return len(memoryview(data).cast("B"))
