"""Jobs on a real Dask cluster of processes on this machine."""

import os
import signal
import sys
import threading

import pytest
from distributed import Client, LocalCluster

from gatecheck.decay.jobs import dask
from gatecheck.decay.jobs.checkpoints import PartStore
from gatecheck.decay.jobs.run import run_jobs
from gatecheck.errors import MissingExtraError, UsageError, WorkerLostError
from helpers.misbehaving_jobs import chore, living_processes, logged_runs, make_jobs
from helpers.small_studies import run_study


def make_cluster(workers):
    """Return a cluster whose nannies restart killed workers; port 0 is any free one."""
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


@pytest.fixture(scope="module")
def address():
    with make_cluster(2) as local:
        yield local.scheduler_address


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def bits(results):
    return [(result["y"].tobytes(), result["file"].tobytes()) for result in results]


def test_a_killed_worker_only_delays(address, log, tmp_path):
    jobs = make_jobs(log, *("dawdle",) * 6)
    expected, calls = bits(run_jobs(chore, jobs)), []
    for file in log.iterdir():
        file.unlink()
    killed = []

    def kill(done, total, label):
        calls.append(done)
        if done >= total / 2 and not killed:
            killed.append(min(living_processes(log)))
            os.kill(killed[0], signal.SIGKILL)

    store = PartStore(tmp_path / "parts")
    found = run_jobs(chore, jobs, dask=address, store=store, progress=kill)
    assert bits(found) == expected
    assert killed
    assert len(logged_runs(log)) > 6  # unfinished work of the killed worker is repeated
    assert calls == sorted(set(calls))
    assert calls[-1] == 60
    assert any(done % 10 for done in calls)  # reported from inside jobs
    count = len(logged_runs(log))
    assert bits(run_jobs(chore, jobs, store=store, resume=True)) == expected
    assert len(logged_runs(log)) == count


def test_a_sweep_is_the_same_on_a_cluster(address):
    small = dict(hidden=6, inputs=2, steps=40, seeds=2)
    names = ("lstm", "rnn"), ("uniform",)
    assert (
        run_study(*names, **small, dask=address).to_json() == run_study(*names, **small).to_json()
    )


def test_a_job_that_kills_every_worker_is_named(address, log, tmp_path):
    store = PartStore(tmp_path / "parts")
    with pytest.raises(
        WorkerLostError,
        match=r"chore 1, that should die killed 4 workers of the cluster.*[01] of 2 parts are kept",
    ):
        run_jobs(chore, make_jobs(log, "work", "die"), dask=address, store=store)


def test_an_exception_names_its_job(address, log):
    with pytest.raises(ValueError, match="the number is odd") as caught:
        run_jobs(chore, make_jobs(log, "work", "raise"), dask=address)
    assert "in chore 1, that should raise" in caught.value.__notes__


def test_an_interruption_cancels_the_rest(address, log):
    def interrupt(done, total, label):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(chore, make_jobs(log, *("dawdle",) * 8), dask=address, progress=interrupt)
    with Client(address, set_as_default=False) as client:
        assert (
            client.run_on_scheduler(
                lambda dask_scheduler: {
                    str(key) for key, task in dask_scheduler.tasks.items() if task.who_wants
                }
            )
            == set()
        )
    assert len(logged_runs(log)) < 8


def test_a_worker_with_another_version_is_refused(address, log, monkeypatch):
    from gatecheck.decay.jobs import run as jobs

    monkeypatch.setattr(jobs, "part_key", lambda function, arguments: "another")
    with pytest.raises(
        UsageError,
        match=r"the Dask worker at tcp://.* has another gatecheck, NumPy, Numba "
        "or kind of processor than this machine",
    ):
        run_jobs(chore, make_jobs(log, "work"), dask=address)


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:1", "nonsense://x", "no address"])
def test_a_scheduler_that_does_not_answer_is_reported(log, monkeypatch, wrong):
    monkeypatch.setattr(dask, "CONNECT_TIMEOUT_S", 0.5)
    before = threading.active_count()
    with pytest.raises(UsageError, match=f"no Dask scheduler answers at {wrong}: "):
        run_jobs(chore, make_jobs(log, "work"), dask=wrong)
    assert threading.active_count() <= before + 1


def test_a_missing_package_is_reported(log, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gatecheck\[distributed\]"'):
        run_jobs(chore, make_jobs(log, "work"), dask="tcp://127.0.0.1:1")


def test_a_scheduler_that_goes_away_is_reported(log, tmp_path, caplog):
    store = PartStore(tmp_path / "parts")
    with make_cluster(1) as local:

        def close(done, total, label):
            if done == 10:
                threading.Thread(target=local.close).start()

        with pytest.raises(
            WorkerLostError,
            match=r"the Dask scheduler at .* was lost before chore .*; "
            r"[01] of 3 parts are kept in ",
        ):
            run_jobs(
                chore,
                make_jobs(log, "work", "wait", "wait"),
                dask=local.scheduler_address,
                store=store,
                progress=close,
            )
    assert [
        record
        for record in caplog.records
        if record.name == "distributed.client" and record.exc_info
    ] == []
