"""Races: contestants run in turns, and ratios are taken round by round.

A machine that slows down for a while slows all contestants of a round alike, so a ratio within the
round does not change.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Call = Callable[[], object]
Clock = Callable[[], float]

MIN_ROUNDS = 3
"""Rounds that every race has, however long they take; fewer have no median."""

LOW, HIGH = 0.1, 0.9


class RatioInterval(NamedTuple):
    """The median over rounds, and the quantiles :data:`LOW` and :data:`HIGH`."""

    median: float
    low: float
    high: float


def ratio_interval(values: Sequence[float]) -> RatioInterval:
    """Return the interval of positive values."""
    low, median, high = (float(v) for v in np.quantile(values, (LOW, 0.5, HIGH)))
    return RatioInterval(median, low, high)


def race(
    contestants: Mapping[str, Call],
    *,
    rounds: int,
    least: float,
    deadline: float = math.inf,
    warm: bool = True,
    settle: float = 0.0,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Return seconds per call, round by round.

    Each contestant is called once to warm up, and once to see how many calls a measurement needs,
    if there is a `least`. Then all are measured in every round, in an order that moves on by one,
    so that none always follows the same other.

    Parameters
    ----------
    contestants
        Calls, by name.
    rounds
        Number of rounds.
    least
        Seconds that one measurement takes at least: a shorter call is repeated within it. With 0
        nothing is repeated.
    deadline
        Time of the clock after which no round is begun, except for the first :data:`MIN_ROUNDS`.
    warm
        Whether to call each before the first round. Without, nothing is repeated either.
    settle
        Seconds for which each is called before each of its measurements. The idle threads of the
        contestant before it spin for a while, as those of OpenBLAS and OpenMP do, and would take a
        core from it.
    clock
        Clock in seconds, for tests.

    Returns
    -------
    dict
        A number for each round, by name.
    """
    names = list(contestants)
    repeats = {
        name: _repeat_count(contestants[name], least, clock) if warm else 1 for name in names
    }
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for k in range(rounds):
            if k >= MIN_ROUNDS and clock() >= deadline:
                break
            for j in range(len(names)):
                name = names[(j + k) % len(names)]
                start = clock()
                while clock() < start + settle:
                    contestants[name]()
                seconds[name].append(_time_calls(contestants[name], repeats[name], clock))
    finally:
        if collecting:
            gc.enable()
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], subject: str) -> dict[str, RatioInterval]:
    """Return how many times as long as the subject each other takes.

    2 means that the subject is twice as fast.
    """
    own = seconds[subject]
    return {
        name: ratio_interval([theirs / ours for theirs, ours in zip(taken, own, strict=True)])
        for name, taken in seconds.items()
        if name != subject
    }


def _repeat_count(call: Call, least: float, clock: Clock) -> int:
    call()
    if not least:
        return 1
    once = _time_calls(call, 1, clock)
    return max(1, math.ceil(least / once)) if once > 0 else 1000


def _time_calls(call: Call, repeats: int, clock: Clock) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats
