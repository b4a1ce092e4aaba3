"""Opening plain files, and what reading one may take."""

import os
import time

import pytest

from gatecheck._util import plain_files
from gatecheck._util.plain_files import (
    BASE_BYTES,
    EXPANSION,
    LIMIT,
    Allowance,
    file_size,
    open_plain,
    read_plain,
)
from gatecheck.errors import ArchiveError


def test_a_plain_file_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"text")
    with open_plain(path, 4) as file:
        assert file.read() == b"text"
        assert file.name == str(path)
        assert (file_size(file), file.tell()) == (4, 4)
    assert read_plain(path, 4) == b"text"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_plain(link, 4) == b"text"


def test_a_larger_file_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"texts")
    with pytest.raises(OSError, match="it has 5 bytes, but gatecheck reads 4 at most"):
        open_plain(tmp_path / "a", 4)


def test_a_file_that_grows_is_refused(tmp_path, monkeypatch):
    """Its size is that of the first look, and more follows."""
    (tmp_path / "a").write_bytes(b"texts")
    opened = open_plain(tmp_path / "a")
    monkeypatch.setattr(plain_files, "open_plain", lambda *_, **__: opened)
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_plain(tmp_path / "a", 4)


@pytest.mark.parametrize(("kind", "make"), [("a folder", os.mkdir), ("a pipe", os.mkfifo)])
def test_anything_else_is_refused_at_once(tmp_path, kind, make):
    make(tmp_path / "a")
    with pytest.raises(OSError, match=f"it is {kind}, but should be a plain file"):
        open_plain(tmp_path / "a")


def test_a_file_that_becomes_a_pipe_is_refused(tmp_path, monkeypatch):
    """Between the look at the path and its opening."""
    path, pipe = tmp_path / "a", tmp_path / "pipe"
    path.touch()
    os.mkfifo(pipe)
    status = path.stat()
    monkeypatch.setattr(plain_files.os, "stat", lambda *_, **__: status)
    with pytest.raises(OSError, match="it is a pipe"):
        open_plain(pipe)


def test_a_device_is_refused():
    with pytest.raises(OSError, match="it is a device"):
        open_plain("/dev/zero")


def test_a_link_is_refused_where_none_is_followed(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError, match="it is a link"):
        open_plain(tmp_path / "link", links=False)
    open_plain(tmp_path / "a", links=False).close()


def test_no_file_stays_open(tmp_path):
    (tmp_path / "a").write_bytes(b"texts")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with pytest.raises(OSError, match="5 bytes"):
            open_plain(tmp_path / "a", 4)
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_bytes_are_in_proportion_to_the_file():
    assert Allowance(0).most("bytes") == BASE_BYTES
    assert Allowance(10).most("bytes") == BASE_BYTES + 10 * EXPANSION
    assert Allowance(2**50).most("bytes") == LIMIT


@pytest.mark.parametrize("kind", ["bytes", *plain_files.MOST])
def test_what_is_spent_adds_up(kind):
    allowance = Allowance(1000)
    most = allowance.most(kind)
    allowance.spend("a", most - 1, kind)
    allowance.spend("b", 1, kind)
    with pytest.raises(ArchiveError) as raised:
        allowance.spend("c", 1, kind)
    assert str(raised.value) == (
        f"c, with what is before it, takes {most + 1:,} {kind}, "
        f"but gatecheck reads {most:,} at most of a file of 1,000 bytes"
    )


def test_time_is_limited(monkeypatch):
    monkeypatch.setattr(plain_files, "BASE_SECONDS", 0.01)
    allowance = Allowance(0)
    allowance.spend("a", 1)
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    with pytest.raises(ArchiveError, match="reading up to b took more than 0 s"):
        allowance.spend("b", 1)
