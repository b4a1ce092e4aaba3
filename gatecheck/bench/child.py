"""Worker process of a benchmark, one for each number of threads.

Thread pools take their size when they are loaded, and keep it.

A line of JSON on standard input is the request; the answer on standard output is one line for each
point or row. What a target prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from threadpoolctl import threadpool_limits

from gatecheck.bench import kernels, rows
from gatecheck.bench.sections import KERNELS, SECTION_MODULES
from gatecheck.errors import GatecheckError, TargetError


def answers(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the answers to a request.

    They are those of :func:`gatecheck.bench.kernels.answers`, or of
    :func:`gatecheck.bench.rows.answers` for another section.
    """
    threads, section = spec["threads"], spec["section"]
    if hasattr(os, "sched_setaffinity"):  # XLA and others count the cores that they may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    with threadpool_limits(threads):
        if section == KERNELS:
            yield from kernels.answers(spec)
        else:
            yield from rows.answers(
                importlib.import_module(SECTION_MODULES[section]).section(
                    quick=spec["quick"], threads=threads
                )
            )


def main() -> None:
    """Answer one request."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(answer: Mapping[str, Any]) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    with suppress(BrokenPipeError):  # the parent may have ended
        try:
            for answer in answers(json.loads(sys.stdin.readline())):
                send(answer)
            send({"kind": "end"})
        except GatecheckError as error:
            send({"kind": "error", "error": type(error).__name__, "message": str(error)})
        except MemoryError:
            send(
                {
                    "kind": "error",
                    "error": TargetError.__name__,
                    "message": "there is not enough memory for these sizes",
                }
            )


if __name__ == "__main__":
    main()
