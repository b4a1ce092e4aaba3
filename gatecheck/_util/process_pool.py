"""Tasks in processes of this machine, all of ours.

Each process has its own pipe. ``concurrent.futures`` would share one queue, whose lock a killed
process keeps forever, does not say which task killed a process, and cannot end a busy process
(before Python 3.14).
"""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from threadpoolctl import threadpool_limits

from gatecheck._util.processes import end_with_parent, ignore_interrupts, signal_name
from gatecheck.errors import WorkerLostError

GRACE_S = 3.0
"""Seconds for a process to end before it is killed."""


@dataclass(frozen=True)
class Task:
    """One call of the function of a pool.

    Attributes
    ----------
    index
        Its number among all tasks.
    name
        Name for messages.
    arguments
        Arguments of the function.
    """

    index: int
    name: str
    arguments: tuple[Any, ...]


def run_tasks(
    function: Callable[..., Any],
    tasks: Iterable[Task],
    workers: int,
    finish: Callable[[int, Any], None],
    *,
    advance: Callable[[int, int, int], None] | None = None,
    blas_threads: int | None = None,
) -> None:
    """Run every task in one of `workers` processes.

    All of them have ended when this returns or raises.

    Parameters
    ----------
    function
        Called as ``function(report, *arguments)`` for each task; it may call ``report(done,
        total)``. It is sent to other processes.
    tasks
        The tasks; those that take long should come first.
    workers
        Number of processes.
    finish
        Called with the index of a task and its result, as soon as it is available.
    advance
        Called with the index of a task and what it reported.
    blas_threads
        Number of threads of BLAS in each process; None leaves it open.

    Raises
    ------
    WorkerLostError
        If a process ends before its task is done.
    Exception
        If a task raised it.
    """
    remaining = iter(tasks)
    busy: dict[Connection, Task] = {}
    with _processes(function, workers, blas_threads) as processes:

        def give(pipe: Connection) -> None:
            busy.pop(pipe, None)
            if (task := next(remaining, None)) is not None:
                busy[pipe] = task
                try:
                    pipe.send(task)
                except OSError:
                    raise _worker_lost_error(processes[pipe], task) from None

        for pipe in processes:
            give(pipe)
        while busy:
            for pipe in cast(list[Connection], wait(list(busy))):
                task = busy[pipe]
                try:
                    kind, *content = pipe.recv()
                except (EOFError, OSError):
                    raise _worker_lost_error(processes[pipe], task) from None
                if kind == "at":
                    if advance is not None:
                        advance(task.index, *content)
                elif kind == "raised":
                    raise content[0]
                else:
                    finish(task.index, content[0])
                    give(pipe)


@contextmanager
def _processes(
    function: Callable[..., Any], count: int, blas_threads: int | None
) -> Iterator[dict[Connection, SpawnProcess]]:
    # Threads of Numba, BLAS and a progress bar do not survive a fork.
    context = get_context("spawn")
    processes: dict[Connection, SpawnProcess] = {}
    try:
        with ignore_interrupts():
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_worker_main, args=(theirs, function, blas_threads), daemon=True
                )
                process.start()
                theirs.close()  # so that the pipe breaks when the process ends
                processes[ours] = process
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for pipe, process in processes.items():
            process.join(GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()


def _worker_lost_error(process: SpawnProcess, task: Task) -> WorkerLostError:
    process.join(GRACE_S)
    code = process.exitcode
    if code is not None and code < 0:
        memory = " (perhaps out of memory)" if -code == signal.SIGKILL else ""
        return WorkerLostError(
            f"the process running {task.name} was killed by {signal_name(-code)}{memory}"
        )
    return WorkerLostError(
        f"the process running {task.name} ended before it was done, with status {code}"
    )


def _worker_main(pipe: Connection, function: Callable[..., Any], blas_threads: int | None) -> None:
    """Run tasks in a process, as long as there are any and the parent lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    threadpool_limits(blas_threads)

    def send(*message: Any) -> None:
        try:
            pipe.send(message)
        except OSError:
            os._exit(1)  # the parent is gone

    def report(done: int, total: int) -> None:
        send("at", done, total)

    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            result = function(report, *task.arguments)
        except Exception as error:
            send("raised", make_picklable(error, task.name))
        else:
            send("done", result)


def make_picklable(error: Exception, name: str) -> Exception:
    """Return an error that can be sent to another process.

    Notes name the task and show where it was raised.
    """
    error.add_note(f"in {name}")
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        for note in error.__notes__:
            substitute.add_note(note)
        return substitute
    return error
