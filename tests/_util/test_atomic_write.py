"""A written file is whole, whatever happens: the old one or the new one."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from gatecheck._util.atomic_write import (
    TEMP_SUFFIX,
    atomic_writer,
    check_folder,
    check_writable,
    make_folder,
    write_bytes,
    write_text,
)
from gatecheck.errors import GatecheckError, OutputError

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's files and signals")


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), ValueError("x"), OSError(errno.ENOSPC, "No space left on device")],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_failure_in_the_block_changes_nothing(tmp_path, error, there):
    path = tmp_path / "a.json"
    if there:
        path.write_text("old")
    with pytest.raises((type(error), OutputError)) as raised, atomic_writer(path) as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * there
    if isinstance(error, OSError):
        assert str(raised.value) == f"{path} cannot be written: No space left on device"
        assert isinstance(raised.value, GatecheckError)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_reported_whenever_it_shows(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match=r"a cannot be written: No space left on device"):
        write_text(tmp_path / "a", "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


@posix
def test_permissions_and_links_stay(tmp_path):
    old_umask = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "ü\udc80")
    finally:
        os.umask(old_umask)
    assert (tmp_path / "new").read_bytes() == "ü�".encode()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to("../new")
    write_bytes(tmp_path / "elsewhere" / "link", b"through")
    assert (tmp_path / "elsewhere" / "link").is_symlink()
    assert (tmp_path / "new").read_bytes() == b"through"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604
    (tmp_path / "dangling").symlink_to("elsewhere/made")
    write_bytes(tmp_path / "dangling", b"x")
    assert (tmp_path / "elsewhere" / "made").read_bytes() == b"x"
    assert not list(tmp_path.rglob(f"*{TEMP_SUFFIX}"))


@posix
def test_a_special_file_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    check_writable(tmp_path / "pipe")
    write_bytes(tmp_path / "pipe", b"flows")
    reader.join(10)
    assert read == [b"flows"]
    assert (tmp_path / "pipe").is_fifo()
    write_bytes("/dev/null", b"gone")
    check_writable("/dev/null")
    if sys.platform == "linux":
        with pytest.raises(
            OutputError, match="/dev/full cannot be written: No space left on device"
        ):
            write_bytes("/dev/full", b"x")


@posix
def test_names_of_the_largest_length(tmp_path):
    write_bytes(tmp_path / ("é" * 127), b"x")
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        write_bytes(tmp_path / ("é" * 128), b"x")


def test_obstacles_are_reported_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for path, why in (
        ("no/a", "there is no folder .*no"),
        ("file/a", "there is no folder .*file"),
        (".", "it is a directory"),
    ):
        with pytest.raises(OutputError, match=f"cannot be written: {why}"):
            check_writable(tmp_path / path)
    for path in ("file", "file/a/b"):
        with pytest.raises(OutputError, match="file is not a folder"):
            check_folder(tmp_path / path)
        with pytest.raises(OutputError, match="cannot be made: "):
            make_folder(tmp_path / path)
    check_writable(tmp_path / "file")
    check_folder(tmp_path / "a" / "b")


def test_no_permission(tmp_path, monkeypatch):
    # Tests may be run by root, who may write anything.
    monkeypatch.setattr(os, "access", lambda *_: False)
    for call in (check_writable, check_folder):
        with pytest.raises(
            OutputError, match=r"a cannot be written: (permission denied|.* is read-only)"
        ):
            call(tmp_path / "a")


WRITER = """
import sys
from gatecheck._util.atomic_write import write_bytes
for k in range(10**6):
    write_bytes(sys.argv[1], bytes([k % 256]) * 300_000)
    if k == 0:
        print(flush=True)
"""


@posix
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path, rng = tmp_path / "file", random.Random(0)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
            writer.send_signal(signal.SIGKILL)
        data = path.read_bytes()
        assert len(data) == 300_000
        assert len(set(data)) == 1
