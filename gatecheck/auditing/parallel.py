"""Parallel calls of one function, with results that do not depend on the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from gatecheck._util import process_pool
from gatecheck._util.process_pool import Task
from gatecheck._util.processes import available_cores
from gatecheck._util.typing import Progress
from gatecheck.checking.budgets import use_disk_cache

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
    name: Callable[[J], str] = str,
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
    name
        Returns the name of a job for messages.

    Raises
    ------
    WorkerLostError
        If a process ended before it was done.
    """
    results: dict[int, R] = {}

    def finish(number: int, result: R) -> None:
        results[number] = result
        done(jobs[number], result)

    tasks = (Task(k, name(job), (job, *arguments)) for k, job in enumerate(jobs))
    process_pool.run_tasks(
        partial(_call, function), tasks, min(workers or available_cores(), len(jobs)), finish
    )
    return [results[number] for number in range(len(jobs))]


def _call(function: Callable[..., R], report: Any, *arguments: Any) -> R:
    return function(*arguments)


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
        name=lambda chunk: ", ".join(chunk),
    )
    return [results[label] for label in labels]
