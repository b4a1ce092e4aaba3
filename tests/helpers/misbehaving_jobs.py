"""Jobs that misbehave on demand, in a module that other processes can import."""

import os
import signal
import time
import uuid
from pathlib import Path

import numpy as np

from gatecheck.decay.jobs.job import Job


class UnpicklableError(Exception):
    """Error that cannot be unpickled: it takes two arguments, and pickle gives one."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def chore(arguments, report, keeper):
    """Log the run in a file, misbehave as requested, and return numbers.

    They depend on the number of threads of BLAS.
    """
    number, folder = arguments["number"], Path(arguments["folder"])
    (folder / f"{number}-{os.getpid()}-{uuid.uuid4().hex}").touch()
    report(0, 4)
    match arguments["does"]:
        case "raise":
            raise ValueError("the number is odd")
        case "raise an odd error":
            raise UnpicklableError("two", "words")
        case "exit":
            os._exit(7)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once" if len(list(folder.glob(f"{number}-*"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case "wait":
            time.sleep(60)
        case "dawdle":
            time.sleep(0.5)
        case "object":
            return {"y": np.array([None])}
    report(2, 4)
    rng = np.random.default_rng(number)
    y = rng.standard_normal((1100, 190)) @ rng.standard_normal((190, 590))
    report(4, 4)
    return {"y": y[::7, ::7].copy(), "file": np.array(number)}


def make_jobs(folder, *actions):
    """Return one job for each of these words."""
    return [
        Job(
            f"chore {k}",
            f"that should {word}",
            {"number": k, "folder": str(folder), "does": word},
            10,
        )
        for k, word in enumerate(actions)
    ]


def logged_runs(folder):
    """Return the numbers of the chores that were run, once for each run."""
    return sorted(int(file.name.split("-")[0]) for file in Path(folder).iterdir())


def living_processes(folder):
    """Return the processes that ran chores and have not ended."""
    found = set()
    for pid in {int(file.name.split("-")[1]) for file in Path(folder).iterdir()} - {os.getpid()}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        found.add(pid)
    return found
