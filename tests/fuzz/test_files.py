"""A thousand damaged files of every format: read, or refused in one line.

``PYTHONPATH=tests python -m helpers.fuzzing.files`` tries ten thousand.
"""

import os
import pickle
import signal
import time

import numpy as np
import pytest

from gatecheck.errors import UsageError
from helpers.fuzzing import files
from helpers.fuzzing.formats import FORMATS, Format
from helpers.fuzzing.mutations import MaliciousPickle

for module in ("h5py", "onnx", "safetensors", "torch"):
    pytest.importorskip(module)
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="the time of a file is limited by a signal"
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_damage_is_one_line(tmp_path, name):
    assert files.fuzz(name, tmp_path, 1000, 0) == {}


def raise_nameless(path):
    raise UsageError("it is damaged")


def raise_key_error(path):
    raise KeyError(path)


def raise_two_lines(path):
    raise UsageError(f"{path}\nis damaged")


def raise_long_message(path):
    raise UsageError(f"{path} holds {'x' * 5000}")


def warn(path):
    np.float32(1e30) * np.float32(1e30)


def unpickle(path):
    pickle.loads(pickle.dumps(MaliciousPickle())).close()


def write(path):
    path.write_text("x")


def hang(path):
    try:
        time.sleep(60)
    except Exception:
        time.sleep(60)


def do_nothing(path):
    """Read nothing, and do nothing."""


@pytest.mark.parametrize(
    ("read", "complaint"),
    [
        (raise_nameless, "the message does not name the file"),
        (raise_key_error, "KeyError"),
        (raise_two_lines, "the message is not one line"),
        (raise_long_message, "the message has 5"),
        (warn, "RuntimeWarning: overflow"),
        (unpickle, "it did ['open trace-of-code-that-was-run"),
        (write, "it did ['open "),
        (hang, "HangError: took more than"),
    ],
)
def test_fuzzer_detects(tmp_path, monkeypatch, read, complaint):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "TIME_LIMIT", 0.3 if read is hang else 10)
    before = signal.signal(signal.SIGALRM, files._raise_hang)
    try:
        path = tmp_path / "seen.npz"
        path.touch()
        assert complaint in files.outcome(Format(path.name, None, (), read), path)
        assert files.outcome(Format(path.name, None, (), do_nothing), path) == (
            "it did []" if read is unpickle else ""
        )
        monkeypatch.setattr(files, "MEMORY_LIMIT", -1)
        assert read is unpickle or " bytes" in files.outcome(
            Format(path.name, None, (), do_nothing), path
        )
    finally:
        signal.signal(signal.SIGALRM, before)
