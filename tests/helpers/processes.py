"""Processes of others, and what they take their time for."""

from __future__ import annotations

import os
import time


def within(seconds, holds):
    """Whether something becomes true in time; the machine may be busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def alive(pid):
    """Whether there is a process of that number; on POSIX."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
