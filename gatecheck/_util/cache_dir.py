"""The cache folder, and digests of the sources that decide what is cached in it."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).parents[1]
"""The folder of the package."""


def cache_root() -> Path:
    """Return the cache folder.

    It is ``NUMBA_CACHE_DIR`` if that is set, else the platform's folder for caches, on Linux in
    ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    return Path(
        os.environ.get("NUMBA_CACHE_DIR")
        or platformdirs.user_cache_dir("gatecheck", appauthor=False)
    )


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may write, and return it.

    What is cached there is believed, and machine code is run. Its parents may be anyone's.

    Raises
    ------
    OSError
        If it cannot be made or written, is a link, belongs to neither this user nor root, or others
        may write to it.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{path} is a link; name the folder itself, or remove the link")
    if hasattr(os, "geteuid"):
        if found.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{path} belongs to another user; remove it")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"others may write to {path}; remove it")
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written to")
    return path


DIGEST_BYTES = 16
"""Size of :func:`content_digest`."""


def content_digest(content: bytes) -> bytes:
    """Return a digest of what a cached file holds, which damage does not survive."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


@functools.cache
def source_digest(*paths: Path) -> str:
    """Return a short digest of the Python files at these paths.

    Parameters
    ----------
    paths
        Files, and folders with all that lies below them.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder: a path that went stale must not drop out in silence.
    """
    content = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(path.parent).as_posix()
            data = file.read_bytes()
            content.update(f"{name}\0{len(data)}\0".encode() + data)
    return content.hexdigest()[:24]


def package_sources(*names: str) -> tuple[Path, ...]:
    """Return the paths of modules (``errors.py``) and packages (``cells``)."""
    return tuple(PACKAGE / name for name in names)
