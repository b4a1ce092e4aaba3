"""Parallel calls of one function, with results that do not depend on the workers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

from gatecheck._util.processes import available_cores, end_with_parent, ignore_interrupts
from gatecheck._util.typing import Progress
from gatecheck.checking.budgets import use_disk_cache
from gatecheck.errors import WorkerLostError

J = TypeVar("J")
R = TypeVar("R")

MAX_CHUNK_SIZE = 16
"""Maximum number of labels that a process takes at a time."""


def make_chunks(labels: Sequence[str], workers: int) -> list[list[str]]:
    """Return the labels, each once, in chunks of one cell.

    Memory caches of a process, above all of rounding budgets, serve one cell: the faults of a small
    cell go to one process, and those of a large one follow each other. Chunks are small enough that
    no process waits long for another in the end.
    """
    by_cell: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        by_cell.setdefault(label.partition(": ")[0], []).append(label)
    size = max(1, min(MAX_CHUNK_SIZE, len(labels) // (4 * workers)))
    return [
        cell_labels[i : i + size]
        for cell_labels in by_cell.values()
        for i in range(0, len(cell_labels), size)
    ]


def _init_worker() -> None:
    # Ctrl-C reaches every process; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _call_for_labels(
    function: Callable[..., R], labels: Sequence[str], arguments: Sequence[Any]
) -> list[R]:
    with use_disk_cache():
        return [function(label, *arguments) for label in labels]


def map_jobs(
    function: Callable[..., R],
    jobs: Sequence[J],
    *arguments: Any,
    workers: int | None = None,
    done: Callable[[J, R], None],
) -> list[R]:
    """Return ``function(job, *arguments)`` for every job, in the order of the jobs.

    Parameters
    ----------
    function
        A function at module level, since it is sent to other processes.
    jobs, arguments
        Its arguments; jobs that take long should come first.
    workers
        Number of processes; by default as many as there are cores that this process may use.
    done
        Called with each job and its result as soon as it is available.

    Raises
    ------
    WorkerLostError
        If a process ended before it was done.
    """
    results: dict[int, R] = {}
    others = set(active_children())
    # Spawned: neither PyTorch nor JAX can be forked once it runs threads.
    with ignore_interrupts():
        executor = ProcessPoolExecutor(
            workers or available_cores(), mp_context=get_context("spawn"), initializer=_init_worker
        )
    with executor as pool:
        try:
            with ignore_interrupts():
                futures = {
                    pool.submit(function, job, *arguments): number
                    for number, job in enumerate(jobs)
                }
            for finished in as_completed(futures):
                number = futures[finished]
                results[number] = finished.result()
                done(jobs[number], results[number])
        except BaseException as error:
            for process in set(active_children()) - others:  # current jobs may take minutes
                process.terminate()
            # The block's own shutdown would undo the cancellation if this one did not wait.
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise WorkerLostError(
                    "a worker process was ended from outside, perhaps out of memory"
                ) from error
            raise
    return [results[number] for number in range(len(jobs))]


def map_labels(
    function: Callable[..., R],
    labels: Sequence[str],
    *arguments: Any,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[R]:
    """Return ``function(label, *arguments)`` for every label, in their order.

    Labels of one cell are processed in chunks.

    Parameters
    ----------
    function, arguments, workers
        See :func:`map_jobs`, also for the errors.
    labels
        Labels that begin with their cell and a colon.
    progress
        Called with the number done, the total, and the latest label.
    """
    results: dict[str, R] = {}

    def done(chunk: list[str], chunk_results: list[R]) -> None:
        for label, result in zip(chunk, chunk_results, strict=True):
            results[label] = result
            if progress:
                progress(len(results), len(labels), label)

    workers = workers or available_cores()
    map_jobs(
        partial(_call_for_labels, function),
        make_chunks(labels, workers),
        arguments,
        workers=workers,
        done=done,
    )
    return [results[label] for label in labels]
