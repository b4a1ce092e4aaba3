"""Jobs in processes: equal bits, failures, killed processes and interruptions."""

import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gatecheck._util import process_pool
from gatecheck._util.processes import ignore_interrupts
from gatecheck.decay.jobs.checkpoints import PartStore
from gatecheck.decay.jobs.run import run_jobs
from gatecheck.errors import UsageError, WorkerLostError
from helpers.misbehaving_jobs import chore, living_processes, logged_runs, make_jobs
from helpers.paths import TESTS


@pytest.fixture
def log(tmp_path):
    """Return the folder to which chores write their names."""
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def same_bits(found, expected):
    """Return whether results are equal bit for bit, types and names included."""
    return [{n: (a.dtype, a.shape, a.tobytes()) for n, a in r.items()} for r in found] == [
        {n: (a.dtype, a.shape, a.tobytes()) for n, a in r.items()} for r in expected
    ]


def wait_until(condition, seconds=20.0):
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not true in time"
        time.sleep(0.02)


ACTIONS = ("work",) * 5


def test_results_do_not_depend_on_workers_order_threads_or_store(log, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")  # for processes started later
    jobs = make_jobs(log, *ACTIONS)
    with threadpool_limits(1):
        expected = [chore(job.arguments, lambda done, total: None, None) for job in jobs]
    with threadpool_limits(4):
        other = [chore(job.arguments, lambda done, total: None, None) for job in jobs]
        assert not same_bits(other, expected)  # or this test could not fail
        assert same_bits(run_jobs(chore, jobs), expected)
    for workers in (2, 4):
        assert same_bits(run_jobs(chore, jobs[::-1], workers=workers)[::-1], expected)
    kept = run_jobs(chore, jobs, workers=2, store=PartStore(tmp_path / "parts"))
    assert same_bits(kept, expected)
    assert same_bits(kept[1:3], expected[1:3])
    assert len(kept) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_rises_to_the_whole(log, workers):
    calls = []
    run_jobs(
        chore, make_jobs(log, *ACTIONS), workers=workers, progress=lambda *call: calls.append(call)
    )
    done = [call[0] for call in calls]
    assert done == sorted(set(done))
    assert done[-1] == 50
    assert {call[1] for call in calls} == {50}
    assert {call[2] for call in calls} == {f"chore {k}" for k in range(5)}
    assert len(done) == 10  # at 2 of 4 and at the end


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_names_its_job(log, workers):
    with pytest.raises(ValueError, match="the number is odd") as caught:
        run_jobs(chore, make_jobs(log, "work", "raise"), workers=workers)
    assert "in chore 1, that should raise" in caught.value.__notes__
    assert not living_processes(log)


def test_an_unpicklable_exception_is_replaced_by_its_text(log):
    with pytest.raises(RuntimeError, match="UnpicklableError: two words") as caught:
        run_jobs(chore, make_jobs(log, "raise an odd error", "work"), workers=2)
    assert "in chore 0, that should raise an odd error" in caught.value.__notes__
    assert "misbehaving_jobs.py" in "".join(caught.value.__notes__)  # where it was raised


@pytest.mark.parametrize(
    ("word", "how"),
    [
        ("die", r"was killed by SIGKILL \(perhaps out of memory\)"),
        ("exit", "ended before it was done, with status 7"),
    ],
)
def test_a_lost_process_is_reported_with_its_job_and_other_parts_are_kept(log, tmp_path, word, how):
    store = PartStore(tmp_path / "parts")
    with pytest.raises(
        WorkerLostError,
        match=rf"the process running chore 2, that should {word}.* {how}.*; \d of 3 parts",
    ) as caught:
        run_jobs(chore, make_jobs(log, "work", "work", word), workers=2, store=store)
    assert not living_processes(log)
    assert str(caught.value).endswith(f"; {store.status}")
    assert 1 <= store.part_count <= 2


def test_a_lost_process_without_a_store_costs_all(log):
    with pytest.raises(WorkerLostError, match="nothing is kept without a store"):
        run_jobs(chore, make_jobs(log, "die", "die"), workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_ends_the_processes_and_keeps_what_is_done(log, tmp_path, workers):
    store, calls = PartStore(tmp_path / "parts"), []

    def interrupt(done, total, label):
        calls.append(done)
        if done >= 25:
            raise KeyboardInterrupt

    jobs = make_jobs(log, *ACTIONS)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(chore, jobs, workers=workers, store=store, progress=interrupt)
    assert not living_processes(log)
    kept = store.part_count
    assert 1 <= kept <= 3
    assert {file.suffix for file in store.folder.iterdir()} == {".npz"}
    before = list(log.iterdir())
    calls.clear()
    resumed = run_jobs(
        chore,
        jobs,
        workers=workers,
        store=store,
        resume=True,
        progress=lambda *call: calls.append(call[0]),
    )
    assert same_bits(resumed, run_jobs(chore, jobs))
    assert len(list(log.iterdir())) - len(before) == 5 - kept + 5
    assert calls[0] == 10 * kept  # stored parts count as done
    assert calls[-1] == 50


def test_processes_that_do_not_end_are_killed(log, monkeypatch):
    """A stopped process ends only by SIGKILL."""
    monkeypatch.setattr(process_pool, "GRACE_S", 0.2)

    def stop(done, total, label):
        for pid in living_processes(log):
            os.kill(pid, signal.SIGSTOP)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(chore, make_jobs(log, "work", "wait"), workers=2, progress=stop)
    assert not living_processes(log)


def test_ctrl_c_is_not_for_processes_that_start():
    with ignore_interrupts():
        started = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); import time; time.sleep(30)"],
            stdout=subprocess.PIPE,
        )
    with started:
        started.stdout.readline()
        started.send_signal(signal.SIGINT)
        time.sleep(0.2)
        started.kill()
    assert started.returncode == -signal.SIGKILL


def test_ctrl_c_is_not_lost_while_processes_start():
    def press():
        with ignore_interrupts():
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_process_outlives_its_parent(log, number):
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(TESTS)!r})
        from helpers.misbehaving_jobs import chore, make_jobs
        from gatecheck.decay.jobs.run import run_jobs
        if __name__ == "__main__":
            run_jobs(chore, make_jobs({str(log)!r}, "wait", "wait"), workers=2)
    """
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: len(logged_runs(log)) == 2)
    assert len(living_processes(log)) == 2
    parent.send_signal(number)
    assert parent.wait(10) == -number
    wait_until(lambda: not living_processes(log))


def test_without_resume_parts_are_computed_again_with_a_warning(log, tmp_path):
    store, jobs = PartStore(tmp_path / "parts"), make_jobs(log, "work", "work")
    run_jobs(chore, jobs, store=store)
    run_jobs(chore, make_jobs(log, "work", "work", "dawdle")[2:], store=store)  # another sweep
    assert len(list(store.folder.iterdir())) == 3
    with pytest.warns(
        RuntimeWarning,
        match="holds 2 of the 2 parts of this sweep already; "
        "they are computed again, since resume was not",
    ):
        run_jobs(chore, jobs, store=store)
    assert logged_runs(log) == [0, 0, 1, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_jobs(chore, make_jobs(log, "work", "work", "dawdle"), store=store, resume=True)
    assert logged_runs(log) == [0, 0, 1, 1, 2]


def test_a_forgotten_resume_costs_nothing(log, tmp_path):
    store, jobs = PartStore(tmp_path / "parts"), make_jobs(log, "work", "work")
    run_jobs(chore, jobs, store=store)

    def interrupt(done, total, label):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(chore, jobs, store=store, progress=interrupt, notify=lambda message: None)
    assert store.part_count == 2


def test_a_part_removed_during_a_sweep_is_an_error(log, tmp_path):
    store = PartStore(tmp_path / "parts")
    results = run_jobs(chore, make_jobs(log, "work"), store=store)
    store.clear()
    with pytest.raises(UsageError, match="was removed while the sweep ran"):
        results[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"workers": 0}, "workers is 0, but should be at least 1"),
        ({"resume": True}, "resume needs a store"),
    ],
)
def test_a_call_that_is_wrong_says_how(log, more, message):
    with pytest.raises(UsageError, match=message):
        run_jobs(chore, make_jobs(log, "work"), **more)


def test_a_result_that_cannot_be_kept_is_an_error(log, tmp_path):
    with pytest.raises(UsageError, match="y: only arrays of numbers or text can be kept"):
        run_jobs(chore, make_jobs(log, "object"), store=PartStore(tmp_path / "parts"))


def test_nothing_to_do_is_done(tmp_path):
    assert list(run_jobs(chore, [], workers=2)) == []
    assert list(run_jobs(chore, [], store=PartStore(tmp_path / "parts"))) == []


def test_results_are_arrays_as_they_were(log, tmp_path):
    (found,) = run_jobs(chore, make_jobs(log, "work"), store=PartStore(tmp_path / "parts"))
    assert found["file"].shape == ()
    assert isinstance(found["y"], np.ndarray)
