"""Hostile files of every format take little memory and time, and one line."""

import signal
import sys
from pathlib import Path

import pytest

from gatecheck.errors import GatecheckError
from helpers import measured_read
from helpers.hostile.attacks import ATTACKS, NO_FILES, TARGETS

for library in ("h5py", "onnx", "safetensors", "torch"):
    pytest.importorskip(library)

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the memory is measured by /proc"
)

SECONDS, BYTES = 10, 2**28
"""Limits of a file of a megabyte."""

HARMLESS = {"answer: many members", "answer: zeros up to the limit"}
"""Attacks that end in a result, which takes little too."""


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_takes_little(tmp_path, name):
    reader, file, write = ATTACKS[name]
    write(tmp_path / file)
    outcome = measured_read.measure(reader, tmp_path / file)
    assert outcome.error == ("" if name in HARMLESS else "refused"), outcome
    assert outcome.seconds < SECONDS
    assert outcome.peak < BYTES
    assert "\n" not in outcome.message
    assert len(outcome.message) < 2000
    if not reader.startswith("answer") and outcome.error:
        assert file.removesuffix(".npz") in outcome.message


def raise_hang(*_):
    raise TimeoutError("the reader waits")


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("form", TARGETS)
def test_only_a_plain_file_is_opened(tmp_path, monkeypatch, form, kind):
    monkeypatch.chdir(tmp_path)
    reader, file, _ = TARGETS[form]
    path = tmp_path / file
    NO_FILES[kind](path)
    read = measured_read.READERS[reader](path)
    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        if reader == "project":  # the nearest project file is that of another folder
            assert read() == ("", {})
            return
        with pytest.raises(GatecheckError) as raised:
            read()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert "plain file" in str(raised.value) or "symbolic link" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert Path(file).stem in str(raised.value)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("x = bytearray(2**29)", "memory"),
        ("import time; time.sleep(1.2)", "time"),
        ("raise KeyError(3)", "traceback"),
        ("import os; os.abort()", "death"),
    ],
)
def test_the_measure_detects(tmp_path, monkeypatch, code, fault):
    (tmp_path / "code").write_text(code)
    outcome = measured_read.measure("code", tmp_path / "code")
    found = {
        "memory": outcome.peak > BYTES,
        "time": outcome.seconds > 1,
        "traceback": outcome.error == "traceback",
        "death": outcome.error == "death",
    }
    assert found[fault], outcome
