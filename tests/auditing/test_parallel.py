"""Worker processes end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gatecheck.auditing.parallel import on_all, on_each
from gatecheck.errors import WorkerLostError
from helpers.processes import alive, within

SCRIPT = """
import os, pathlib, sys, time
from gatecheck.auditing.parallel import on_each

def long(label, folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(300)

if __name__ == "__main__":
    on_each(long, ["rnn: a", "gru: b", "rnn: c", "gru: d"], sys.argv[1], workers=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name
)
def test_none_is_left_behind(sent, tmp_path):
    script, marks = tmp_path / "script.py", tmp_path / "marks"
    script.write_text(SCRIPT)
    marks.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(marks)], stderr=subprocess.PIPE, text=True
    )
    pids = []
    try:
        assert within(90, lambda: len(list(marks.iterdir())) == 2)
        pids = [int(mark.name) for mark in marks.iterdir()]
        assert all(map(alive, pids))
        process.send_signal(sent)
        _, printed = process.communicate(timeout=60)
        assert process.returncode != 0
        assert within(30, lambda: not any(map(alive, pids)))
        # The traceback of this script, which catches nothing.
        assert printed.count("Traceback") <= (sent == signal.SIGINT), printed
    finally:
        process.kill()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_what_goes_wrong_in_one_is_raised_here():
    with pytest.raises(ValueError, match="invalid literal"):
        on_each(int, ["1", "one", "2"], workers=1)


def test_one_that_ends_is_told():
    with pytest.raises(WorkerLostError, match="ended from outside, perhaps out of memory"):
        on_all(os._exit, [0, 3], workers=1, done=print)


def test_each_result_is_told_when_it_is_there_and_all_come_in_order():
    told = []
    assert on_all(
        int, ["3", "1", "2"], workers=2, done=lambda job, result: told.append((job, result))
    ) == [3, 1, 2]
    assert sorted(told) == [("1", 1), ("2", 2), ("3", 3)]
