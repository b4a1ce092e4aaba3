"""What a job is, and what runs one is told: the words that the pools, the cluster and the sweep
share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gatecheck.decay.jobs.checkpoints import Keeper

Result = Mapping[str, NDArray[Any]]

Report = Callable[[int, int], None]
"""Called by a job with the work done and its work in all, in units of its own."""

Function = Callable[[Mapping[str, Any], Report, Keeper | None], Result]
"""What does a job, from its arguments. It is a function of a module, since other processes import
it.
"""

Advance = Callable[[int, int, int], None]
"""Called with a task's index and what its job reported."""

Finish = Callable[[int, Result], None]
"""Called with a task's index and its result."""


@dataclass(frozen=True)
class Job:
    """A part of a sweep.

    Attributes
    ----------
    label
        What a progress bar shows.
    detail
        What tells it from other jobs of that label, for an error.
    arguments
        JSON values. With the function, they are all that the result depends on.
    work
        How much there is to do, in any unit that the jobs of one sweep share.
    """

    label: str
    detail: str
    arguments: Mapping[str, Any]
    work: int

    def __str__(self) -> str:
        return f"{self.label}, {self.detail}"


@dataclass(frozen=True)
class Task:
    """A job that has still to be done: its place among all, and what it saves its state with."""

    index: int
    job: Job
    keeper: Keeper | None
