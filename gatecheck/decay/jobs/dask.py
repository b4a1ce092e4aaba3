"""Jobs on a Dask cluster: a worker that is lost delays its jobs, which the scheduler gives to
another.
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

from gatecheck.decay.jobs.checkpoints import part_key
from gatecheck.decay.jobs.job import Advance, Finish, Function, Job, Result, Task
from gatecheck.decay.jobs.local import portable
from gatecheck.errors import MissingExtraError, UsageError, WorkerLostError, first_line

PATIENCE_S = 30.0
"""Seconds that a scheduler has to answer at first."""


def each(
    address: str,
    function: Function,
    tasks: Iterable[Task],
    keys: Sequence[str],
    advance: Advance,
    finish: Finish,
) -> None:
    """Do every task on the cluster; what is left of them is cancelled when this raises, since the
    client leaves.

    Raises
    ------
    MissingExtraError
        If the package ``distributed`` is missing.
    UsageError
        If no scheduler answers there, or a worker has another version of what computes the jobs.
    WorkerLostError
        If one job took several workers with it, or the scheduler is lost.
    Exception
        What a job raised.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            'a Dask cluster needs distributed: pip install "gatecheck[distributed]"'
        ) from error
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {first_line(error)}") from None
    news: queue.SimpleQueue[Any] = queue.SimpleQueue()
    topic = f"gatecheck-{uuid4().hex}"
    with _without_reconnection(), client:
        client.subscribe_topic(topic, lambda event: news.put(event[1]))
        waiting: dict[Any, Task] = {}
        for task in tasks:
            name = f"{topic}-{task.index}"
            future = client.submit(
                _remote,
                function,
                task.job,
                task.index,
                keys[task.index],
                topic,
                pure=False,
                key=name,
            )
            waiting[future] = task
            future.add_done_callback(news.put)
        while waiting:
            # Without a limit, Ctrl-C would have to wait for news on Windows.
            try:
                item = news.get(timeout=1.0)
            except queue.Empty:
                continue
            if isinstance(item, tuple):
                advance(*item)
            else:
                finish(waiting[item].index, _result(item, waiting[item].job, address))
                del waiting[item]


@contextmanager
def _without_reconnection() -> Iterator[None]:
    """Without the log's traceback of a reconnection that was cut short because the scheduler is
    given up: an error of ours says that.
    """
    log, dull = (
        logging.getLogger("distributed.client"),
        lambda record: not (record.exc_info and record.exc_info[0] is AsyncCancelledError),
    )
    log.addFilter(dull)
    try:
        yield
    finally:
        log.removeFilter(dull)


def _result(future: Any, job: Job, address: str) -> Result:
    from distributed import CancelledError, KilledWorker

    try:
        error = future.exception()
        if error is None:
            return future.result()  # type: ignore[no-any-return]
    except (CancelledError, OSError):  # of fetching, and not of the job
        raise WorkerLostError(
            f"the Dask scheduler at {address} was lost before {job} was handed over"
        ) from None
    if isinstance(error, CancelledError):
        raise WorkerLostError(f"the Dask scheduler at {address} was lost before {job} was done")
    if isinstance(error, KilledWorker):
        raise WorkerLostError(
            f"{job} took {error.allowed_failures + 1} workers of the cluster with it, for want of memory, perhaps"
        )
    raise error


def _remote(function: Function, job: Job, index: int, key: str, topic: str) -> Result:
    """What a worker does."""
    from distributed import get_worker

    worker = get_worker()
    if part_key(function, job.arguments) != key:
        raise UsageError(
            f"the Dask worker at {worker.address} has another gatecheck, NumPy or Numba than this machine"
        )
    # For good: a limit that is taken back when this job ends would be taken back under others that
    # run beside it.
    threadpool_limits(1)
    report: Callable[[int, int], None] = lambda done, total: worker.log_event(
        topic, (index, done, total)
    )
    try:
        return function(job.arguments, report, None)
    except Exception as error:
        raise portable(error, job) from None
