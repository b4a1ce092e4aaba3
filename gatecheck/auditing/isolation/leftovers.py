"""Removal of what an audit left behind when even its supervisor was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "gatecheck-"
"""Beginning of the names of temporary folders."""

OWNER = "owner"
"""File in such a folder that says which process removes it."""

MARK = "GATECHECK_FOLDER"
"""Environment variable by which a process below a target's is known."""


def make_folder(parent: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder, which is removed later if this process is killed."""
    folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    owner = {"pid": os.getpid(), "started": _start_time(os.getpid())}
    Path(folder.name, OWNER).write_bytes(json.dumps(owner).encode())
    return folder


def remove_leftovers() -> None:
    """Remove folders of processes that are gone, and kill their processes."""
    for file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            if hasattr(os, "getuid") and file.lstat().st_uid != os.getuid():
                continue
            owner = json.loads(file.read_text())
            if _start_time(owner["pid"]) == owner["started"]:
                continue
            end_marked(str(file.parent))
            shutil.rmtree(file.parent, ignore_errors=True)


def end_marked(folder: str) -> None:
    """Kill processes whose environment names a folder; on Linux."""
    mark = f"{MARK}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)


def _start_time(pid: int) -> str | None:
    """Return when a process started, as far as is known; None if it is gone."""
    if sys.platform == "linux":
        with suppress(OSError, IndexError):
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            return stat.rpartition(")")[2].split()[19]
        return None
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return "unknown"
        return None
    return "unknown"
