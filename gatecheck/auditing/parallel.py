"""One function on many labels in processes of their own; the result does not depend on how many."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, TypeVar

R = TypeVar("R")


def on_each(
    function: Callable[..., R],
    labels: Sequence[str],
    *arguments: Any,
    workers: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[R]:
    """``function(label, *arguments)`` for every label, in their order.

    Parameters
    ----------
    function
        Of a module, since it is sent to other processes.
    labels, arguments
        What it is called with.
    workers
        Processes; by default as many as there are cores.
    progress
        Called with how many are done, how many there are, and the label of the last one.
    """
    found: dict[str, R] = {}
    # Neither PyTorch nor JAX can be forked once it runs threads.
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(function, label, *arguments): label for label in labels}
        try:
            for finished in as_completed(waiting):
                found[waiting[finished]] = finished.result()
                if progress:
                    progress(len(found), len(labels), waiting[finished])
        except BaseException:
            pool.shutdown(cancel_futures=True)  # leaving the block shuts down once more, which without waiting here takes this back
            raise
    return [found[label] for label in labels]
