"""Helpers of tests that wait for other processes."""

from __future__ import annotations

import os
import time


def wait_until(seconds, holds):
    """Return whether a condition becomes true in time; the machine may be busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def is_alive(pid):
    """Return whether a process of this number exists; on POSIX."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
