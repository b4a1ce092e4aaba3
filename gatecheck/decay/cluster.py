"""Jobs on a Dask cluster: a worker that is lost delays its jobs, which the scheduler gives to another."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import uuid4

from threadpoolctl import threadpool_limits

from gatecheck.decay.job import Advance, Finish, Function, Job, Result, Task
from gatecheck.decay.pool import portable
from gatecheck.decay.store import Keeper, part_key
from gatecheck.errors import MissingExtraError, UsageError, WorkerLostError

PATIENCE_S = 30.0
"""Seconds that a scheduler has to answer at first."""


def each(address: str, function: Function, tasks: Iterable[Task], keys: Sequence[str], advance: Advance, finish: Finish) -> None:
    """Do every task on the cluster; what is left of them is cancelled when this raises.

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
        raise MissingExtraError('a Dask cluster needs distributed: pip install "gatecheck[distributed]"') from error
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {str(error).partition(chr(10))[0]}") from None
    news: queue.SimpleQueue[Any] = queue.SimpleQueue()
    topic = f"gatecheck-{uuid4().hex}"
    with client:
        client.subscribe_topic(topic, lambda event: news.put(event[1]))
        waiting: dict[Any, Task] = {}
        try:
            for task in tasks:
                keeper = None if task.keeper is None else Keeper(None, task.keeper.key, task.keeper.saved)
                future = client.submit(
                    _remote, function, task.job, task.index, keeper, keys[task.index], topic, pure=False, key=f"{topic}-{task.index}"
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
        finally:
            client.unsubscribe_topic(topic)
            client.cancel(list(waiting))


def _result(future: Any, job: Job, address: str) -> Result:
    from distributed import KilledWorker

    if future.status == "cancelled":
        raise WorkerLostError(f"the Dask scheduler at {address} was lost while {job} was under way")
    error = future.exception()
    if isinstance(error, KilledWorker):
        raise WorkerLostError(f"{job} took {error.allowed_failures + 1} workers of the cluster with it, for want of memory, perhaps")
    if error is not None:
        raise error
    return future.result()  # type: ignore[no-any-return]


def _remote(function: Function, job: Job, index: int, keeper: Keeper | None, key: str, topic: str) -> Result:
    """What a worker does."""
    from distributed import get_worker

    worker = get_worker()
    if part_key(function, job.arguments) != key:
        raise UsageError(f"the Dask worker at {worker.address} has another gatecheck, NumPy or Numba than this machine")
    # For good: a limit that is taken back when this job ends would be taken back under others that run beside it.
    threadpool_limits(1)
    report: Callable[[int, int], None] = lambda done, total: worker.log_event(topic, (index, done, total))
    try:
        return function(job.arguments, report, keeper)
    except Exception as error:
        raise portable(error, job) from None
