"""Programs as implementations, called through standard input and output.

``gatecheck audit "exec:./program argument"`` starts the program once. It reads one request after
another, answers each, and ends when its input ends. A request is a line of words, arrays, and the
line ``end``; an answer is arrays and the line ``end``. An array is a line ``array NAME DTYPE
DIMENSIONS`` followed by its entries as raw little-endian bytes, last axis fastest, without any
separator::

    describe                            forward float64 5 2 3 4         the dtype, and T, B, D, H
    end                                 array weight_ih_l0 float64 16 3
                                        384 bytes, and so on: the parameters, then x and
    gatecheck 1                         those of h0, c0, lengths that are present
    cell lstm                           end
    convention pytorch
    abilities backward                  array y float64 5 2 4
    end                                 320 bytes
                                        array hT float64 2 4
                                        64 bytes
                                        array cT float64 2 4
                                        64 bytes
                                        end

The first request after a start is ``describe``, answered with the lines that
:mod:`gatecheck.targets.adapters.foreign` lists. ``forward`` is answered with y, hT and, where the
cell has one, cT. ``backward`` is a request like forward's, with those of dy, dhT and dcT that are
present, and is answered with ``dNAME`` for each parameter, dx, dh0 and, where the cell has a c,
dc0. An absent array is zero. Arrays of a request always have the same order, those of an answer
any order. DTYPE is ``float32`` or ``float64``, that of the request; lengths are ``int64``. Instead
of arrays and ``end``, the one line ``refused WHY`` declines a request, which is a finding.

Answer only after reading the whole request, and flush. Print nothing else on standard output; the
last line on standard error is quoted when something goes wrong. In C, read lines with ``fgets`` and
bytes with ``fread``: ``scanf`` would consume bytes that look like spaces. ``tests/examples/`` has a
program in C and one in Python.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import IO, Any, NoReturn, TypeVar, cast

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import ContractError, TargetCrashError, TargetError
from gatecheck.targets.adapters.foreign import Call, ForeignImplementation, parse_description

R = TypeVar("R")

TIMEOUT_S = 30.0
"""Time limit of one answer, in seconds."""

POLL_INTERVAL_S = 0.1
"""Interval at which the time limit is checked, in seconds.

A timer for each request would cost two thread switches, more than the request itself.
"""

MAX_HANGS = 3
"""Maximum number of unanswered requests; then the program is not called again.

A property tries dozens of requests.
"""

TAIL_BYTES = 4096
"""Bytes of standard error that are kept, and maximum length of a line."""

MAX_LINES = 100
"""Maximum number of lines of a description."""


class RequestRefused(Exception):
    """The program declined a request; it can be called again."""


class ProgramProcess:
    """A process of the program, with the end of its standard error."""

    def __init__(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        # A separate group: a program started by a script ends with the script.
        self.process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            process_group=0 if os.name == "posix" else None,
        )
        self.input, self.output, self._errors = (
            cast("IO[bytes]", p)
            for p in (self.process.stdin, self.process.stdout, self.process.stderr)
        )
        self._tail = b""
        self._drain = threading.Thread(target=self._read_errors, daemon=True)
        self._drain.start()
        self.timed_out = False
        self._deadline, self._lock, self._stopped = math.inf, threading.Lock(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def set_deadline(self, seconds: float) -> None:
        """Set the time left before the process is killed; infinity removes the limit."""
        with self._lock:
            self._deadline = time.monotonic() + seconds

    def _watch(self) -> None:
        # On every system, a blocked write or read ends only when the other side does.
        while not self._stopped.wait(POLL_INTERVAL_S):
            with self._lock:
                if time.monotonic() > self._deadline:
                    self.timed_out = True
                    self.kill()
                    return

    def _read_errors(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._errors.fileno(), TAIL_BYTES):
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def last_error_line(self) -> str:
        """Return the last line on standard error, to be appended to a sentence.

        The process is ended first, so that the line is complete.
        """
        self.kill()
        self._drain.join(1)
        lines = self._tail.decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"; its last line: {last[:300]}" if last else ""

    def kill(self) -> None:
        """Kill the process and all that it started; safe from another thread."""
        if self.process.returncode is not None:
            return  # it was reaped, so its number may belong to another process by now
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def describe_end(self) -> str:
        """Describe how the process ended, after its output ended."""
        try:
            status = self.process.wait(2)
        except subprocess.TimeoutExpired:
            return "closed its standard output"
        if status >= 0:
            return f"ended with status {status}"
        known = -status in set(signal.Signals)
        return f"was killed by {signal.Signals(-status).name if known else f'signal {-status}'}"

    def stop(self) -> None:
        """Close the input, give the process a moment to end, then kill it and clean up."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self.input.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.kill()
        self.process.wait()
        self._drain.join(1)
        for stream in (self.output, self._errors):
            stream.close()


class Program:
    """A program that answers requests.

    It is started at the first request, and again after it failed.

    Parameters
    ----------
    command
        The program and its arguments.
    label
        Name for messages.
    """

    def __init__(self, command: list[str], label: str) -> None:
        self._command, self._label = command, label
        self._n_hangs, self._description = 0, ""
        self._process: ProgramProcess | None = None

    def describe(self) -> str:
        """Return the lines with which the program describes itself.

        Raises
        ------
        TargetError
            If it cannot be started or does not answer.
        """
        return self._request("describe", [], lambda _: self._description)

    def __call__(self, call: Call) -> dict[str, Array]:
        """Return the results of one call.

        Raises
        ------
        TargetCrashError
            If it ended, hung or refused the call.
        ContractError
            If its answer is not as the module describes.
        """
        parts = [f"{call.method} {call.dtype.name} {' '.join(map(str, call.sizes))}\n".encode()]
        for name, a in (call.params | call.arrays).items():
            parts += [
                " ".join(["array", name, a.dtype.name, *map(str, a.shape)]).encode(),
                b"\n",
                _to_little_endian(a).tobytes(),
            ]
        parts.append(b"end\n")
        return self._request(call.method, parts, lambda stream: _read_answer(stream, call))

    def _request(
        self, request_name: str, request: Iterable[bytes], read: Callable[[IO[bytes]], R]
    ) -> R:
        if self._n_hangs >= MAX_HANGS:
            raise TargetCrashError(
                f"{self._label} left {MAX_HANGS} requests unanswered and is not called again"
            ) from TimeoutError()
        is_new = self._process is None
        running = self._ensure_started()
        running.set_deadline(TIMEOUT_S)
        in_step = False
        try:
            if is_new:
                running.input.write(b"describe\nend\n")
                running.input.flush()
                self._description = _read_description(running.output)
            running.input.writelines(request)
            running.input.flush()
            answer = read(running.output)
            in_step = True
            return answer
        except RequestRefused as refusal:
            in_step = True
            raise TargetCrashError(f"the program refused {request_name}: {refusal}") from refusal
        except ContractError as error:
            raise ContractError(f"{error}{running.last_error_line()}") from None
        except (OSError, EOFError) as error:
            self._raise_failure(request_name, running, error)
        finally:
            running.set_deadline(math.inf)
            if running.timed_out or not in_step:
                self._process = None
                running.kill()
                self._finalizer()

    def _raise_failure(self, asked: str, running: ProgramProcess, error: Exception) -> NoReturn:
        ended = running.describe_end()
        if running.timed_out:
            self._n_hangs += 1
            hint = f"did not answer {asked} within {TIMEOUT_S:g} s (an answer must be flushed)"
            raise TargetCrashError(
                f"{self._label} {hint}{running.last_error_line()}"
            ) from TimeoutError()
        raise TargetCrashError(
            f"{self._label} {ended} before it had answered {asked}{running.last_error_line()}"
        ) from error

    def _ensure_started(self) -> ProgramProcess:
        if self._process is None:
            try:
                self._process = ProgramProcess(self._command)
            except (OSError, ValueError) as error:
                raise TargetError(
                    f"{self._command[0]} cannot be started: "
                    f"{getattr(error, 'strerror', None) or error}"
                ) from error
            self._finalizer = weakref.finalize(self, self._process.stop)
        return self._process


def _to_little_endian(a: Array) -> Array:
    return a.astype(a.dtype.newbyteorder("<"), copy=False)


def _read_line(stream: IO[bytes]) -> str:
    raw = stream.readline(TAIL_BYTES)
    if not raw.endswith(b"\n"):
        if len(raw) < TAIL_BYTES:
            raise EOFError
        raise ContractError(
            f"the program answers with a line of more than {TAIL_BYTES} bytes, which "
            f"begins {raw[:60]!r}"
        )
    return raw.decode(errors="replace").rstrip("\r\n")


def _read_description(stream: IO[bytes]) -> str:
    lines: list[str] = []
    while (line := _read_line(stream)).split() != ["end"]:
        lines.append(line)
        if len(lines) > MAX_LINES:
            raise ContractError(
                f"the program answers describe with more than {MAX_LINES} lines, "
                f"of which the first is {lines[0][:80]!r}"
            )
    return "\n".join(lines)


def _read_answer(stream: IO[bytes], call: Call) -> dict[str, Array]:
    results: dict[str, Array] = {}
    wanted = ", ".join(call.results)
    while True:
        line = _read_line(stream)
        match line.split():
            case ["end"]:
                if missing := [name for name in call.results if name not in results]:
                    raise ContractError(
                        f"the program answers {call.method} without {', '.join(missing)}"
                    )
                return results
            case ["refused", *why]:
                raise RequestRefused(" ".join(why) or "it does not say why")
            case ["array", name, dtype, *dimensions]:
                if name not in call.results or name in results:
                    raise ContractError(
                        f"the program answers {call.method} with {name}"
                        f"{' twice' * (name in results)}, but should answer with {wanted}"
                    )
                results[name] = _read_array(stream, name, dtype, dimensions, call)
            case _:
                raise ContractError(
                    f"the program answers {call.method} with {line[:80]!r}, "
                    "but should answer with 'array NAME DTYPE …' or 'end'"
                )


def _read_array(
    stream: IO[bytes], name: str, dtype: str, dimensions: list[str], call: Call
) -> Array:
    shape = call.results[name]
    if dtype != call.dtype.name:
        raise ContractError(f"{name} has dtype {dtype}, but should have dtype {call.dtype}, like x")
    if dimensions != [str(n) for n in shape]:
        raise ContractError(
            f"{name} has shape ({', '.join(dimensions)}), but should have shape {shape}"
        )
    size = math.prod(shape) * call.dtype.itemsize
    raw = stream.read(size)
    if len(raw) < size:
        raise EOFError
    little: np.dtype[Any] = call.dtype.newbyteorder("<")
    return np.frombuffer(raw, little).reshape(shape).astype(call.dtype)


def adapt(
    command: list[str], label: str, cell: str | None = None, convention: str | None = None
) -> ForeignImplementation:
    """Return a program as an implementation.

    Parameters
    ----------
    command
        The program and its arguments.
    label
        Name for messages.
    cell, convention
        Override its description.

    Raises
    ------
    UsageError
        If there is no such cell or convention.
    TargetError
        If it cannot be started, or does not describe itself.
    """
    program = Program(command, label)
    said = parse_description(program.describe(), label, ("backward", "lengths", "bitwise"))
    return ForeignImplementation(label, said, program, cell, convention)
