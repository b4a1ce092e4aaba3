"""Jobs in processes of this machine.

Each process has a pipe of its own. ``concurrent.futures`` would share one queue, whose lock a
killed process keeps for ever, does not say which job a process died of, and cannot end a process
that is at work (before Python 3.14).
"""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from threadpoolctl import threadpool_limits

from gatecheck._util.processes import end_with_parent, interrupts_ignored
from gatecheck.decay.jobs.job import Advance, Finish, Function, Job, Task
from gatecheck.errors import WorkerLostError

GRACE_S = 3.0
"""Seconds that a process has to end before it is killed."""


def each(
    function: Function, tasks: Iterable[Task], workers: int, advance: Advance, finish: Finish
) -> None:
    """Do every task in one of so many processes; all of them have ended when this returns or
    raises.

    Raises
    ------
    WorkerLostError
        If a process ends before its job is done.
    Exception
        What a job raised.
    """
    rest = iter(tasks)
    busy: dict[Connection, Task] = {}
    with _processes(function, workers) as processes:

        def give(pipe: Connection) -> None:
            busy.pop(pipe, None)
            if (task := next(rest, None)) is not None:
                busy[pipe] = task
                try:
                    pipe.send((task.job, task.keeper))
                except OSError:
                    raise _lost(processes[pipe], task.job) from None

        for pipe in processes:
            give(pipe)
        while busy:
            for pipe in cast(list[Connection], wait(list(busy))):
                task = busy[pipe]
                try:
                    kind, *content = pipe.recv()
                except (EOFError, OSError):
                    raise _lost(processes[pipe], task.job) from None
                if kind == "at":
                    advance(task.index, *content)
                elif kind == "raised":
                    raise content[0]
                else:
                    finish(task.index, content[0])
                    give(pipe)


@contextmanager
def _processes(function: Function, count: int) -> Iterator[dict[Connection, SpawnProcess]]:
    # Threads of Numba, BLAS and a progress bar do not survive a fork.
    context = get_context("spawn")
    team: dict[Connection, SpawnProcess] = {}
    try:
        with interrupts_ignored():
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, function), daemon=True)
                process.start()
                theirs.close()  # so that the pipe breaks when the process ends
                team[ours] = process
        yield team
    finally:
        for process in team.values():
            process.terminate()
        for pipe, process in team.items():
            process.join(GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()


def _lost(process: SpawnProcess, job: Job) -> WorkerLostError:
    process.join(GRACE_S)
    code = process.exitcode
    if code is not None and code < 0:
        memory = " (for want of memory, perhaps)" if -code == signal.SIGKILL else ""
        return WorkerLostError(
            f"the process at work on {job} was ended by {signal.Signals(-code).name}{memory}"
        )
    return WorkerLostError(
        f"the process at work on {job} ended before it was done, with status {code}"
    )


def _serve(pipe: Connection, function: Function) -> None:
    """What a process does: jobs, as long as there are any and the parent lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    threadpool_limits(1)

    def send(*message: Any) -> None:
        try:
            pipe.send(message)
        except OSError:
            os._exit(1)  # the parent is gone, and nobody wants the rest

    def at(done: int, total: int) -> None:
        send("at", done, total)

    while True:
        try:
            job, keeper = pipe.recv()
        except EOFError:
            return
        try:
            result = function(job.arguments, at, keeper)
        except Exception as error:
            send("raised", portable(error, job))
        else:
            send("done", result)


def portable(error: Exception, job: Job) -> Exception:
    """The error as it can be sent to another process, with a note that names the job and shows
    where it was raised.
    """
    error.add_note(f"in {job}")
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        for note in error.__notes__:
            substitute.add_note(note)
        return substitute
    return error
