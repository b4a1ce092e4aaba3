"""Jobs, tasks and callbacks that the pool, the cluster and the sweep share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gatecheck.decay.jobs.checkpoints import Checkpointer

JobResult = Mapping[str, NDArray[Any]]

ReportProgress = Callable[[int, int], None]
"""Callback of a job: the work done and its total work, in the job's own units."""

JobFunction = Callable[[Mapping[str, Any], ReportProgress, Checkpointer | None], JobResult]
"""Function that does a job, given its arguments.

It is defined in a module, since other processes import it.
"""

OnProgress = Callable[[int, int, int], None]
"""Callback for progress: a task's index and what its job reported."""

OnResult = Callable[[int, JobResult], None]
"""Callback for results: a task's index and its result."""


@dataclass(frozen=True)
class Job:
    """Independent part of a sweep.

    Attributes
    ----------
    label
        Text for a progress bar.
    detail
        Text that distinguishes it from other jobs with that label, for error messages.
    arguments
        JSON values. With the function, they are all that the result depends on.
    work
        Amount of work, in any unit that the jobs of one sweep share.
    """

    label: str
    detail: str
    arguments: Mapping[str, Any]
    work: int

    def __str__(self) -> str:
        return f"{self.label}, {self.detail}"


@dataclass(frozen=True)
class PendingJob:
    """Unfinished job, with its index among all jobs and the keeper of its state."""

    index: int
    job: Job
    checkpointer: Checkpointer | None
