"""Jobs on a Dask cluster.

A lost worker only delays its jobs: the scheduler gives them to another.
"""

from __future__ import annotations

import logging
import queue
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from threadpoolctl import threadpool_limits

from gatecheck._util.process_pool import make_picklable
from gatecheck.decay.jobs.checkpoints import part_key
from gatecheck.decay.jobs.job import Job, JobFunction, JobResult, OnProgress, OnResult, PendingJob
from gatecheck.errors import MissingExtraError, UsageError, WorkerLostError, first_line

CONNECT_TIMEOUT_S = 30.0
"""Seconds to wait for the first answer of a scheduler."""


def run_tasks(
    address: str,
    function: JobFunction,
    tasks: Iterable[PendingJob],
    keys: Sequence[str],
    advance: OnProgress,
    finish: OnResult,
) -> None:
    """Run every task on the cluster.

    When this raises, the client leaves, and the scheduler cancels the remaining tasks.

    Raises
    ------
    MissingExtraError
        If the package ``distributed`` is missing.
    UsageError
        If no scheduler answers there, or a worker has another version of the code of the jobs.
    WorkerLostError
        If one job killed several workers, or the scheduler is lost.
    Exception
        If a job raised it.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            'a Dask cluster needs distributed: pip install "gatecheck[distributed]"'
        ) from error
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {first_line(error)}") from None
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    topic = f"gatecheck-{uuid4().hex}"
    with _silence_reconnection_errors(), client:
        client.subscribe_topic(topic, lambda event: events.put(event[1]))
        waiting: dict[Any, PendingJob] = {}
        for task in tasks:
            name = f"{topic}-{task.index}"
            future = client.submit(
                _run_on_worker,
                function,
                task.job,
                task.index,
                keys[task.index],
                topic,
                pure=False,
                key=name,
            )
            waiting[future] = task
            future.add_done_callback(events.put)
        while waiting:
            # Without a timeout, Ctrl-C would have to wait for an event on Windows.
            try:
                item = events.get(timeout=1.0)
            except queue.Empty:
                continue
            if isinstance(item, tuple):
                advance(*item)
            else:
                finish(waiting[item].index, _fetch_result(item, waiting[item].job, address))
                del waiting[item]


@contextmanager
def _silence_reconnection_errors() -> Iterator[None]:
    """Keep the traceback of a cancelled reconnection out of the log.

    It appears when the scheduler is given up, which our own error reports.
    """
    log, relevant = (
        logging.getLogger("distributed.client"),
        lambda record: not (record.exc_info and record.exc_info[0] is AsyncCancelledError),
    )
    log.addFilter(relevant)
    try:
        yield
    finally:
        log.removeFilter(relevant)


def _fetch_result(future: Any, job: Job, address: str) -> JobResult:
    from distributed import CancelledError, KilledWorker

    try:
        error = future.exception()
        if error is None:
            return future.result()  # type: ignore[no-any-return]
    except (CancelledError, OSError):  # raised by fetching, not by the job
        raise WorkerLostError(
            f"the Dask scheduler at {address} was lost before {job} was handed over"
        ) from None
    if isinstance(error, CancelledError):
        raise WorkerLostError(f"the Dask scheduler at {address} was lost before {job} was done")
    if isinstance(error, KilledWorker):
        raise WorkerLostError(
            f"{job} killed {error.allowed_failures + 1} workers of the cluster "
            "(perhaps out of memory)"
        )
    raise error


def _run_on_worker(function: JobFunction, job: Job, index: int, key: str, topic: str) -> JobResult:
    """Run one job on a worker."""
    from distributed import get_worker

    worker = get_worker()
    if part_key(function, job.arguments) != key:
        raise UsageError(
            f"the Dask worker at {worker.address} has another gatecheck, NumPy, Numba "
            "or kind of processor than this machine"
        )
    # Permanent: a limit lifted when this job ends would be lifted for jobs that still run.
    threadpool_limits(1)
    report: Callable[[int, int], None] = lambda done, total: worker.log_event(
        topic, (index, done, total)
    )
    try:
        return function(job.arguments, report, None)
    except Exception as error:
        raise make_picklable(error, str(job)) from None
