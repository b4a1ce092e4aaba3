"""Compilation on a second core: when it starts, what it leaves, and that it ends."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from gatecheck.auditing.isolation import precompile
from gatecheck.auditing.isolation.precompile import precompile_in_background
from gatecheck.cells import LSTM, RNN
from gatecheck.kernels import Builtin, jit
from gatecheck.kernels.cells import rnn


@pytest.fixture
def empty_cache(monkeypatch):
    """Simulate an empty kernel cache and a second core, without compiling."""
    monkeypatch.setattr(jit, "has_empty_cache", lambda kernel: kernel is rnn.backward)
    monkeypatch.setattr(precompile, "available_cores", lambda: 2)
    monkeypatch.setattr(precompile, "compile_float64", wait)


def wait(cell, options):
    time.sleep(100)


def test_process_runs_only_within_the_context(empty_cache):
    with precompile_in_background(Builtin("rnn")):
        (process,) = multiprocessing.active_children()
        assert process.is_alive()
    assert process.exitcode != 0
    assert not multiprocessing.active_children()


def test_process_ends_on_interrupt(empty_cache):
    with pytest.raises(KeyboardInterrupt), precompile_in_background(Builtin("rnn")):
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("cell", "cores"), [(RNN(), 1), (LSTM(), 2)], ids=["one core", "something is kept"]
)
def test_no_process_on_one_core_or_with_a_cache(empty_cache, monkeypatch, cell, cores):
    monkeypatch.setattr(precompile, "available_cores", lambda: cores)
    with precompile_in_background(Builtin(cell)):
        assert not multiprocessing.active_children()


COMPILE = """
from gatecheck.auditing.isolation.precompile import compile_float64
from gatecheck.cells import RNN
from gatecheck.kernels import jit
from gatecheck.kernels.cells import rnn
print(jit.has_empty_cache(rnn.backward))
compile_float64(RNN(), {"reverse": False, "batch_first": False})
print(jit.has_empty_cache(rnn.backward))
print(*(str(s[-4]) for f in (rnn.forward, rnn.backward, rnn.tangent) for s in f.signatures))
"""


def test_float64_kernels_are_cached(tmp_path):
    # compiles in less time
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=True
    )
    before, after, dtypes = done.stdout.splitlines()
    assert (before, after) == ("True", "False")
    assert "float64" in dtypes
    assert "complex128" in dtypes
    assert "float32" not in dtypes


def test_nothing_is_compiled_without_a_writable_cache(tmp_path):
    (tmp_path / "file").write_text("")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    ask = (
        "from gatecheck.kernels import jit; from gatecheck.kernels.cells import rnn; "
        "print(jit.has_empty_cache(rnn.backward))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ask],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
