"""A resumed sweep ends at the same bits, wherever it was interrupted."""

import numpy as np
import pytest

from gatecheck.cells import as_cell
from gatecheck.decay.jacobians.profile import adjoint_profile
from gatecheck.decay.jobs import checkpoints as module
from gatecheck.decay.jobs.checkpoints import Checkpointer, PartStore
from gatecheck.decay.spec import NetworkSpec
from gatecheck.decay.study.networks import Network
from helpers.small_studies import run_study

T = 150
SEGMENTS = 13  # of 12 steps, and one of 6


class Interruption(Exception):
    """Stand-in for Ctrl-C."""


def problem(name):
    network = Network(NetworkSpec(name, "uniform", 7, 3), as_cell(name), 7, 3)
    rng = np.random.default_rng(5)
    state = rng.standard_normal((len(network.cell.state), 7)) / 2
    return (
        network.cell,
        network.params(rng),
        network.sequence(rng, T, 0),
        network.probes(rng, 4),
        state,
    )


def bits(profile):
    return [array.tobytes() for array in (profile.log_norm, profile.cell_share, profile.direction)]


class Recorder(Checkpointer):
    """Keeper that copies the last state to memory, and interrupts after some saves."""

    def __init__(self, saved, after):
        super().__init__(None, "", saved)
        self.after, self.last, self.saves = after, saved, 0

    def save(self, state):
        self.last = {name: array.copy() for name, array in state.items()}
        self.saves += 1
        if self.saves == self.after:
            raise Interruption


@pytest.mark.parametrize("name", ["rnn", "gru-before", "lstm"])
def test_interrupted_anywhere_it_ends_at_the_same_bits(name):
    arguments = problem(name)
    expected = bits(adjoint_profile(*arguments))
    whole = Recorder(None, None)
    assert bits(adjoint_profile(*arguments, checkpointer=whole)) == expected
    assert whole.saves == 2 * SEGMENTS
    for after in range(1, 2 * SEGMENTS + 1):
        first = Recorder(None, after)
        with pytest.raises(Interruption):
            adjoint_profile(*arguments, checkpointer=first)
        second = Recorder(first.last, None)
        assert bits(adjoint_profile(*arguments, checkpointer=second)) == expected, after
        assert second.saves == 2 * SEGMENTS - after  # nothing is done twice


def test_interrupted_again_and_again_it_ends_at_the_same_bits():
    arguments, rng, saved, runs = problem("lstm"), np.random.default_rng(0), None, 0
    while True:
        keeper = Recorder(saved, int(rng.integers(1, 5)))
        try:
            found = adjoint_profile(*arguments, checkpointer=keeper)
        except Interruption:
            saved, runs = keeper.last, runs + 1
        else:
            break
    assert runs > 5
    assert bits(found) == bits(adjoint_profile(*arguments))


@pytest.mark.parametrize("name", ["s", "0 u", "checkpoints", "0 growth", "0 share", "position"])
@pytest.mark.parametrize("after", [SEGMENTS // 2, SEGMENTS + 3])
def test_every_array_of_a_state_is_needed(name, after):
    """The bits differ if one array is lost, so the tests above show that it is saved."""
    arguments = problem("lstm")
    first = Recorder(None, after)
    with pytest.raises(Interruption):
        adjoint_profile(*arguments, checkpointer=first)
    lost = first.last | {name: np.zeros_like(first.last[name])}
    if name == "position":
        lost[name] = np.array([0, SEGMENTS]) + (after > SEGMENTS) * np.array([SEGMENTS, -1])
    unused = {"s": after > SEGMENTS, "0 growth": after < SEGMENTS, "0 share": after < SEGMENTS}
    same = bits(adjoint_profile(*arguments, checkpointer=Recorder(lost, None))) == bits(
        adjoint_profile(*arguments)
    )
    assert same == unused.get(name, False)


SMALL = dict(hidden=6, inputs=2, steps=200, seeds=2)


def test_a_sweep_goes_on_inside_a_job(tmp_path, monkeypatch):
    """A resumed job continues from the state on disk, not from its beginning."""
    monkeypatch.setattr(module, "SAVE_EVERY_S", 0.0)
    expected, store, calls = (
        run_study(("lstm",), ("uniform",), **SMALL),
        PartStore(tmp_path / "parts"),
        [],
    )

    def interrupt(done, total, label):
        if done > 0.7 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(("lstm",), ("uniform",), **SMALL, store=store, progress=interrupt)
    assert store.status.startswith("1 of 2 parts and the state of 1 unfinished are kept in ")
    for workers in (2, 1):
        found = run_study(
            *(("lstm",), ("uniform",)),
            **SMALL,
            store=store,
            resume=True,
            workers=workers,
            progress=lambda *call: calls.append(call[0]),
        )
        assert found.to_json() == expected.to_json()
    total = 2 * 200 * 2
    assert calls[0] == total // 2
    assert 0.65 * total < calls[1] < 0.8 * total
    assert calls[-1] == total
    assert store.status.startswith("2 of 2 parts are kept in ")


def test_more_seeds_go_on_from_fewer(tmp_path):
    store, calls = PartStore(tmp_path / "parts"), []
    run_study(("rnn",), ("uniform",), **SMALL, store=store)
    more = run_study(
        ("rnn",),
        ("uniform",),
        **SMALL | {"seeds": 3},
        store=store,
        resume=True,
        progress=lambda *call: calls.append(call[0]),
    )
    assert calls[0] == 2 * 2 * 200
    assert more.to_json() == run_study(("rnn",), ("uniform",), **SMALL | {"seeds": 3}).to_json()


def test_workers_change_no_bit_of_a_sweep():
    assert (
        run_study(**SMALL | {"steps": 40}, workers=2).to_json()
        == run_study(**SMALL | {"steps": 40}).to_json()
    )
