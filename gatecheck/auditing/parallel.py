"""One function on many jobs in processes of their own; the result does not depend on how many."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

from gatecheck._util.import_path import safe_path_for_children
from gatecheck._util.processes import cores, end_with_parent
from gatecheck.checking.budgets import kept
from gatecheck.errors import WorkerLostError

J = TypeVar("J")
R = TypeVar("R")

CHUNK = 16
"""How many labels a process takes at a time, at most."""


def chunks(labels: Sequence[str], workers: int) -> list[list[str]]:
    """The labels, each once, in portions of one cell.

    What a process keeps in memory, rounding budgets above all, serves one cell: the faults of a
    small one go to one process, and those of a large one follow each other. Portions are small
    enough that no process waits long for another in the end.
    """
    by_cell: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        by_cell.setdefault(label.partition(": ")[0], []).append(label)
    size = max(1, min(CHUNK, len(labels) // (4 * workers)))
    return [these[i : i + size] for these in by_cell.values() for i in range(0, len(these), size)]


def _begin() -> None:
    # Ctrl-C reaches them all; the first process ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _each(function: Callable[..., R], labels: Sequence[str], arguments: Sequence[Any]) -> list[R]:
    with kept():
        return [function(label, *arguments) for label in labels]


def on_all(
    function: Callable[..., R],
    jobs: Sequence[J],
    *arguments: Any,
    workers: int | None = None,
    done: Callable[[J, R], None],
) -> list[R]:
    """``function(job, *arguments)`` for every job, in their order.

    Parameters
    ----------
    function
        Of a module, since it is sent to other processes.
    jobs, arguments
        What it is called with; those that take long should come first.
    workers
        Processes; by default as many as there are cores that this process may use.
    done
        Called with each job and its result as soon as it is there.

    Raises
    ------
    WorkerLostError
        If a process ended before it was done.
    """
    found: dict[int, R] = {}
    # Neither PyTorch nor JAX can be forked once it runs threads.
    others = set(active_children())
    with (
        safe_path_for_children(),
        ProcessPoolExecutor(
            workers or cores(), mp_context=get_context("spawn"), initializer=_begin
        ) as pool,
    ):
        waiting = {
            pool.submit(function, job, *arguments): number for number, job in enumerate(jobs)
        }
        try:
            for finished in as_completed(waiting):
                number = waiting[finished]
                found[number] = finished.result()
                done(jobs[number], found[number])
        except BaseException as error:
            for process in set(active_children()) - others:  # what they are at may take minutes yet
                process.terminate()
            # leaving the block shuts down once more, which without waiting here takes this back
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise WorkerLostError(
                    "a process that worked for this one was ended from outside, perhaps for want of memory"
                ) from error
            raise
    return [found[number] for number in range(len(jobs))]


def on_each(
    function: Callable[..., R],
    labels: Sequence[str],
    *arguments: Any,
    workers: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[R]:
    """``function(label, *arguments)`` for every label, in their order, in portions of those that
    have much in common.

    Parameters
    ----------
    function, arguments, workers
        As of :func:`on_all`, and so are the errors.
    labels
        What stands before the colon of a label is its cell.
    progress
        Called with how many are done, how many there are, and the label of the last one.
    """
    found: dict[str, R] = {}

    def done(these: list[str], results: list[R]) -> None:
        for label, result in zip(these, results, strict=True):
            found[label] = result
            if progress:
                progress(len(found), len(labels), label)

    workers = workers or cores()
    on_all(partial(_each, function), chunks(labels, workers), arguments, workers=workers, done=done)
    return [found[label] for label in labels]
