"""What a process owes to the one that started it."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from typing import Any


def end_with_parent() -> None:
    """This process ends with the one that started it, whatever ended that, SIGKILL even."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
