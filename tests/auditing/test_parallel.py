"""Worker processes end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gatecheck.auditing.parallel import map_jobs, map_labels
from gatecheck.errors import WorkerLostError
from helpers.processes import is_alive, wait_until

SCRIPT = """
import os, pathlib, sys, time
from gatecheck.auditing.parallel import map_labels

def long(label, folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(300)

if __name__ == "__main__":
    map_labels(long, ["rnn: a", "gru: b", "rnn: c", "gru: d"], sys.argv[1], workers=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name
)
def test_workers_end_with_the_parent(sent, tmp_path):
    script, marks = tmp_path / "script.py", tmp_path / "marks"
    script.write_text(SCRIPT)
    marks.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(marks)], stderr=subprocess.PIPE, text=True
    )
    pids = []
    try:
        assert wait_until(90, lambda: len(list(marks.iterdir())) == 2)
        pids = [int(mark.name) for mark in marks.iterdir()]
        assert all(map(is_alive, pids))
        process.send_signal(sent)
        _, printed = process.communicate(timeout=60)
        assert process.returncode != 0
        assert wait_until(30, lambda: not any(map(is_alive, pids)))
        # The traceback of this script, which catches nothing.
        assert printed.count("Traceback") <= (sent == signal.SIGINT), printed
    finally:
        process.kill()
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_worker_exception_is_raised():
    with pytest.raises(ValueError, match="invalid literal"):
        map_labels(int, ["1", "one", "2"], workers=1)


def test_lost_worker_is_an_error():
    with pytest.raises(
        WorkerLostError, match="the process running 0 ended before it was done, with status 0"
    ):
        map_jobs(os._exit, [0, 3], workers=1, done=print)


def test_done_is_called_early_and_results_are_ordered():
    told = []
    assert map_jobs(
        int, ["3", "1", "2"], workers=2, done=lambda job, result: told.append((job, result))
    ) == [3, 1, 2]
    assert sorted(told) == [("1", 1), ("2", 2), ("3", 3)]
