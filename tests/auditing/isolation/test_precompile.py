"""Compilation on a second core: when it starts, what it leaves, and that it ends."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from gatecheck.auditing.isolation import precompile
from gatecheck.auditing.isolation.precompile import compiling_beside
from gatecheck.cells import LSTM, RNN
from gatecheck.kernels import Builtin, jit, rnn


@pytest.fixture
def nothing_kept(monkeypatch):
    """Simulate an empty kernel cache and a second core, without compiling."""
    monkeypatch.setattr(jit, "to_be_kept", lambda kernel: kernel is rnn.backward)
    monkeypatch.setattr(precompile, "cores", lambda: 2)
    monkeypatch.setattr(precompile, "compile_float64", wait)


def wait(cell, options):
    time.sleep(100)


def test_a_process_works_meanwhile_and_no_longer(nothing_kept):
    with compiling_beside(Builtin("rnn")):
        (process,) = multiprocessing.active_children()
        assert process.is_alive()
    assert process.exitcode != 0
    assert not multiprocessing.active_children()


def test_it_ends_with_an_interrupt_too(nothing_kept):
    with pytest.raises(KeyboardInterrupt), compiling_beside(Builtin("rnn")):
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("cell", "cores"), [(RNN(), 1), (LSTM(), 2)], ids=["one core", "something is kept"]
)
def test_there_is_none_where_it_would_be_of_no_use(nothing_kept, monkeypatch, cell, cores):
    monkeypatch.setattr(precompile, "cores", lambda: cores)
    with compiling_beside(Builtin(cell)):
        assert not multiprocessing.active_children()


COMPILE = """
from gatecheck.auditing.isolation.precompile import compile_float64
from gatecheck.cells import RNN
from gatecheck.kernels import jit, rnn
print(jit.to_be_kept(rnn.backward))
compile_float64(RNN(), {"reverse": False, "batch_first": False})
print(jit.to_be_kept(rnn.backward))
print(*(str(s[-4]) for f in (rnn.forward, rnn.backward, rnn.tangent) for s in f.signatures))
"""


def test_all_that_an_audit_needs_in_float64_is_kept(tmp_path):
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


def test_where_nothing_can_be_kept_nothing_is_compiled_ahead(tmp_path):
    (tmp_path / "file").write_text("")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    ask = "from gatecheck.kernels import jit, rnn; print(jit.to_be_kept(rnn.backward))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ask],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
