"""The process of a target, which only calls it.

It loads the target, makes the calls that it is asked for, and returns what they returned. Nothing
here decides what is right.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import socket
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatecheck._util.import_path import restore_environment
from gatecheck.auditing.isolation.messages import Channel, PeerEndedError
from gatecheck.errors import GatecheckError, GatecheckWarning, printable, route_warnings
from gatecheck.implementation.declarations import read_declarations
from gatecheck.implementation.plain import MAX_TEXT, safe_text, type_name
from gatecheck.implementation.session import (
    Answer,
    Call,
    Failure,
    error_kind,
    perform,
    to_failure,
)
from gatecheck.targets import loading

OUTPUT, STACK = "output", "stack"
"""Files of the process: the target's output, and its stack at a signal."""

LARGEST_FILE = 2**30
"""Size limit of a file, in bytes, so that endless output does not fill the disk."""

MAX_WARNINGS = 20
"""Largest number of warnings that are sent with an answer."""


def serve(connection: socket.socket, folder: str, memory: int) -> None:
    """Answer requests until the other end is closed.

    Parameters
    ----------
    connection
        Receives requests: ``{"load": target, "options": …}`` and ``{"plan": calls, "watch": …}``.
        Each message that is sent has an answer, declarations, or the failure that ended the
        request, and the warnings of ours so far.
    folder
        Folder of :data:`OUTPUT` and :data:`STACK`.
    memory
        Bytes of data that this process may have, where that can be limited.
    """
    _redirect(Path(folder))
    _limit(memory)
    messages: list[str] = []
    warnings.simplefilter("ignore")  # overrides the user's environment
    warnings.simplefilter("always", GatecheckWarning)
    route_warnings(messages.append)
    channel, pid = Channel(connection), os.getpid()
    target: Any = None
    while True:
        try:
            request = channel.receive_request()
        except PeerEndedError:
            return
        try:
            if "load" in request:
                target, reply = _load(request["load"], request["options"])
                replies = iter([reply])
            else:
                plan: list[Call] = request["plan"]
                answers = perform(target, plan, watch=request["watch"], caught=BaseException)
                replies = map(_to_message, answers)
            for reply in replies:
                _send(channel, pid, reply, messages)
        except BaseException as error:
            _send(channel, pid, {"failure": list(_loading_failure(error)[:2])}, messages)


def _send(channel: Channel, pid: int, reply: dict[str, Any], messages: list[str]) -> None:
    # In a fork that the target made of this process, which must not answer.
    if os.getpid() != pid:
        os._exit(0)
    _flush()
    channel.send(reply | {"warnings": [printable(m)[:MAX_TEXT] for m in messages[:MAX_WARNINGS]]})
    messages.clear()


def _load(name: str, options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a target, and what it declares."""
    if (jax := sys.modules.get("jax")) is not None:
        # JAX keeps the programs of the last target, each in about 25 memory mappings; a process
        # may have 65,530.
        jax.clear_caches()
    loaded = loading.load_implementation(name, **options)
    declared = read_declarations(loaded.implementation, name)
    overrides = {"cell": loaded.cell, "convention": loaded.convention}
    return loaded.implementation, {"declared": declared, "overrides": overrides}


def _to_message(answer: Answer) -> dict[str, Any]:
    failure = None if answer.failure is None else list(answer.failure[:2])
    facts = [list(answer.changed), answer.shares_memory, answer.overwritten]
    return {"answer": [answer.value, failure, *facts]}


def _loading_failure(error: BaseException) -> Failure:
    """Return an exception while a target was loaded; one of ours keeps its class."""
    if isinstance(error, MemoryError):
        return Failure("TargetLostError", "its process ran out of memory")
    if isinstance(error, GatecheckError):
        return Failure(error_kind(error), safe_text(error))
    if isinstance(error, Exception):
        return to_failure("loading it", error)
    return Failure(
        "TargetCrashError", f"the target raised {type_name(error)}: {safe_text(error)}".rstrip(": ")
    )


def _redirect(folder: Path) -> None:
    """Redirect the output of Python and C, and the place of a crash, into files."""
    out = os.open(folder / OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number in (1, 2):
        os.dup2(out, number)
    if out > 2:
        os.close(out)
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(
            sys,
            name,
            os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False),
        )
    faulthandler.enable((folder / STACK).open("w"), all_threads=False)


_flush_c = ctypes.CDLL(None).fflush if os.name == "posix" else None


def _flush() -> None:
    if _flush_c is not None:
        # C buffers its output to a file, and loses it when the process dies.
        _flush_c(None)


def _limit(memory: int) -> None:
    if os.name != "posix":
        return
    import resource

    limits: Mapping[int, int] = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: LARGEST_FILE}
    if sys.platform == "linux":
        limits = {**limits, resource.RLIMIT_DATA: memory}
    for limit, wanted in limits.items():
        hard = resource.getrlimit(limit)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (allowed, allowed))


if __name__ == "__main__":
    # Where there is no fork; the connection comes over the standard input.
    restore_environment()
    shared = sys.stdin.buffer.read()
    serve(socket.fromshare(shared), sys.argv[1], int(sys.argv[2]))  # type: ignore[attr-defined]
