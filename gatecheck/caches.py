"""Where what can be computed again is kept between processes: one folder, in folders named by the
source that made what is in them.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """``NUMBA_CACHE_DIR`` if that is set, else the platform's folder for caches (``XDG_CACHE_HOME``
    or ``~/.cache`` on Linux).
    """
    return Path(
        os.environ.get("NUMBA_CACHE_DIR")
        or platformdirs.user_cache_dir("gatecheck", appauthor=False)
    )


@functools.cache
def source_digest(*folders: Path) -> str:
    """A short name for the content of all Python files that lie in these folders, but not in
    folders of theirs.
    """
    content = hashlib.sha256()
    for path in (path for folder in folders for path in sorted(folder.glob("*.py"))):
        content.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return content.hexdigest()[:24]
