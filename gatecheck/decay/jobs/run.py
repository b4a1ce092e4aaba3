"""Jobs, run in this process, in others, or on a Dask cluster.

The results do not depend on where the jobs run, in which order, or how often they were interrupted.
Matrix products of BLAS differ in their last bits with its number of threads, so every job runs with
one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, overload

from threadpoolctl import threadpool_limits

from gatecheck._util import process_pool
from gatecheck._util.process_pool import Task
from gatecheck._util.typing import Progress
from gatecheck.decay.jobs.checkpoints import Checkpointer, PartStore, part_key
from gatecheck.decay.jobs.job import Job, JobFunction, JobResult, PendingJob, ReportProgress
from gatecheck.errors import UsageError, WorkerLostError


def emit_warning(message: str) -> None:
    """Emit a message as a RuntimeWarning."""
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def run_jobs(
    function: JobFunction,
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    store: PartStore | None = None,
    resume: bool = False,
    dask: str | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], None] = emit_warning,
) -> Sequence[JobResult]:
    """Return ``function(job.arguments, report, keeper)`` for every job, in order.

    Parameters
    ----------
    function
        Function of a module that other processes can import; it returns a dict of arrays. It may
        call ``report(done, total)``, and save its state with the keeper, which is None without a
        store.
    jobs
        Jobs to run.
    workers
        Number of processes on this machine; with 1 everything runs in this one. A script that uses
        more needs ``if __name__ == "__main__":``, as always with ``multiprocessing``.
    store
        Store of finished jobs and of the states of unfinished ones. Without one, an interruption
        loses all.
    resume
        Reuse what the store holds of these jobs. Otherwise everything is computed again.
    dask
        Address of a Dask scheduler whose workers run the jobs; `workers` is then ignored. The jobs
        have no keeper, since the workers may be far from the store: a job that is interrupted there
        starts over.
    progress
        Called with the work done, the work of all jobs, and the label of the job that advanced.
    notify
        Called with a sentence on what was found in the store and not used; the default emits a
        RuntimeWarning.

    Returns
    -------
    sequence of dicts of arrays
        With a store they are read from it on access, so that they need not all fit in memory.

    Raises
    ------
    UsageError
        If `workers` is below 1, the store cannot be written, or the cluster does not answer.
    WorkerLostError
        If a process was killed.
    MissingExtraError
        If `dask` is given and the package ``distributed`` is missing.
    Exception
        If a job raised it; a note names the job.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}, but should be at least 1")
    if resume and store is None:
        raise UsageError("resume needs a store, the folder in which an earlier run kept its parts")
    keys = [part_key(function, job.arguments) for job in jobs]
    done = store.begin_sweep(keys, resume, notify) if store else [False] * len(jobs)
    meter = _Meter(jobs, done, progress)
    results: dict[int, JobResult] = {}

    def finish(index: int, result: JobResult) -> None:
        if store:
            store.put(keys[index], result)
        else:
            results[index] = result
        meter.advance(index, 1, 1)

    def tasks() -> Iterator[PendingJob]:
        for index, job in enumerate(jobs):
            if not done[index]:
                yield PendingJob(
                    index,
                    job,
                    store.checkpointer(keys[index], resume, notify)
                    if store and dask is None
                    else None,
                )

    try:
        if dask is not None:
            from gatecheck.decay.jobs import dask as cluster

            cluster.run_tasks(dask, function, tasks(), keys, meter.advance, finish)
        elif workers > 1 and done.count(False) > 0:
            process_pool.run_tasks(
                partial(_run_job, function),
                (Task(t.index, str(t.job), (t.job.arguments, t.checkpointer)) for t in tasks()),
                min(workers, done.count(False)),
                finish,
                advance=meter.advance,
                blas_threads=1,
            )
        else:
            _run_serially(function, tasks(), meter, finish)
    except WorkerLostError as error:
        raise WorkerLostError(
            f"{error}; {store.status if store else 'nothing is kept without a store'}"
        ) from error.__cause__
    return _StoredResults(store, keys) if store else [results[index] for index in range(len(jobs))]


def _run_job(
    function: JobFunction,
    report: ReportProgress,
    arguments: Mapping[str, Any],
    checkpointer: Checkpointer | None,
) -> JobResult:
    return function(arguments, report, checkpointer)


def _run_serially(
    function: JobFunction,
    tasks: Iterator[PendingJob],
    meter: _Meter,
    finish: Callable[[int, JobResult], None],
) -> None:
    with threadpool_limits(1):
        for task in tasks:
            try:
                result = function(
                    task.job.arguments, partial(meter.advance, task.index), task.checkpointer
                )
            except Exception as error:
                error.add_note(f"in {task.job}")
                raise
            finish(task.index, result)


class _Meter:
    """Total progress of jobs, each of which reports in its own units."""

    def __init__(
        self, jobs: Sequence[Job], done: Sequence[bool], progress: Progress | None
    ) -> None:
        self._jobs, self._progress = jobs, progress
        self._done = [job.work if whole else 0 for job, whole in zip(jobs, done, strict=True)]
        self._sum, self._total = sum(self._done), sum(job.work for job in jobs)
        if progress is not None and self._sum:
            progress(self._sum, self._total, "")

    def advance(self, index: int, done: int, total: int) -> None:
        """Record a report of a job.

        One without progress, as from a job that starts over elsewhere, is not passed on.
        """
        job = self._jobs[index]
        gain = job.work * done // total - self._done[index]
        if gain > 0:
            self._done[index] += gain
            self._sum += gain
            if self._progress is not None:
                self._progress(self._sum, self._total, job.label)


class _StoredResults(Sequence[JobResult]):
    """Results in a store, read on access."""

    def __init__(self, store: PartStore, keys: Sequence[str]) -> None:
        self._store, self._keys = store, keys

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> JobResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[JobResult]: ...
    def __getitem__(self, index: int | slice) -> JobResult | Sequence[JobResult]:
        if isinstance(index, slice):
            return _StoredResults(self._store, self._keys[index])
        return self._store.get(self._keys[index])
