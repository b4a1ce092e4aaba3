"""Ratios: contestants of known speed, on a simulated clock."""

import gc
import math

import numpy as np
import pytest

from gatecheck.bench.timing import MIN_ROUNDS, race, ratio_interval, ratios


class Clock:
    """A clock that moves only while a contestant runs.

    All contestants are slower while the machine is busy.
    """

    def __init__(self, busy=lambda now: 1.0):
        self.now, self.busy, self.calls = 0.0, busy, []

    def __call__(self):
        return self.now

    def worker(self, name, seconds):
        def call():
            self.calls.append(name)
            self.now += seconds * self.busy(self.now)

        return call


def race_workers(clock, rounds=9, least=0.0, deadline=math.inf, **seconds):
    return race(
        {k: clock.worker(k, s) for k, s in seconds.items()},
        rounds=rounds,
        least=least,
        deadline=deadline,
        clock=clock,
    )


@pytest.mark.parametrize("factor", [2.0, 0.5, 1.0, 37.0])
def test_ratio_of_known_speeds(factor):
    found = ratios(race_workers(Clock(), ours=0.25, theirs=0.25 * factor), "ours")
    assert found.keys() == {"theirs"}
    np.testing.assert_allclose(found["theirs"], [factor] * 3)


def test_a_machine_that_becomes_ten_times_slower_half_way_changes_no_ratio():
    clock = Clock(busy=lambda now: 1.0 if now < 20 else 10.0)
    seconds = race_workers(clock, rounds=21, ours=0.5, theirs=1.0)
    assert max(seconds["ours"]) == pytest.approx(10 * min(seconds["ours"]))
    assert ratios(seconds, "ours")["theirs"].median == pytest.approx(2.0)


def test_a_single_interruption_moves_the_interval_but_not_the_median():
    assert ratio_interval([2.0] * 10 + [400.0]).median == 2.0
    low, high = ratio_interval([1.0, 2.0, 3.0])[1:]
    assert 1.0 < low < 2.0 < high < 3.0


def test_short_calls_are_repeated_until_they_can_be_measured():
    clock = Clock()
    seconds = race_workers(clock, rounds=1, least=0.1, ours=0.01, theirs=1.0)
    assert seconds["ours"] == [pytest.approx(0.01)]
    assert clock.calls.count("ours") == 2 + 10
    assert clock.calls.count("theirs") == 2 + 1


def test_all_are_warm_before_the_first_round_and_the_order_moves_on():
    clock = Clock()
    race_workers(clock, rounds=3, a=1.0, b=1.0, c=1.0)
    assert "".join(clock.calls) == "abc" + "abc" + "bca" + "cab"


def test_slow_call_is_measured_once():
    clock = Clock()
    seconds = race({"a": clock.worker("a", 9.0)}, rounds=1, least=5.0, warm=False, clock=clock)
    assert seconds == {"a": [pytest.approx(9.0)]}
    assert clock.calls == ["a"]


def test_rounds_end_at_the_deadline_but_there_are_enough_for_a_median():
    assert len(race_workers(Clock(), rounds=99, deadline=0.0, ours=1.0)["ours"]) == MIN_ROUNDS
    assert len(race_workers(Clock(), rounds=99, deadline=12.5, ours=1.0)["ours"]) == 12
    assert len(race_workers(Clock(), rounds=2, deadline=math.inf, ours=1.0)["ours"]) == 2


def test_the_collector_rests_within_rounds_and_works_after_them():
    seen, clock = [], Clock()
    work = clock.worker("ours", 1.0)
    race({"ours": lambda: work() or seen.append(gc.isenabled())}, rounds=2, least=0.0, clock=clock)
    assert seen == [True, False, False]
    assert gc.isenabled()


def test_the_collector_works_after_a_contestant_that_raises():
    calls = iter([None])
    with pytest.raises(StopIteration):
        race({"ours": lambda: next(calls)}, rounds=2, least=0.0, clock=Clock())
    assert gc.isenabled()


@pytest.mark.parametrize(("settle", "taken"), [(0.0, 1.0), (3.0, 0.5)])
def test_settling_removes_interference(settle, taken):
    """Threads of a contestant slow all others for two seconds after a call.

    They take half of the machine.
    """
    clock, ended = Clock(), {}

    def worker(name):
        def call():
            clock.now += (
                1.0
                if any(clock.now - at < 2 for other, at in ended.items() if other != name)
                else 0.5
            )
            ended[name] = clock.now

        return call

    seconds = race(
        {name: worker(name) for name in "ab"}, rounds=3, least=0.0, settle=settle, clock=clock
    )
    assert seconds == {name: [taken] * 3 for name in "ab"}
