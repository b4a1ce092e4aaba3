"""Compilation of kernels: the cache, its failures, and the flags."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gatecheck
from gatecheck.errors import GatecheckWarning
from gatecheck.kernels.jit import FLAGS, WARNED_VARIABLE, cache_folder, jit

SCRIPT = """
import sys
import numpy as np
import gatecheck
from gatecheck.kernels.elementwise import multiply_by_slope
a = np.ones((1, 2), sys.argv[1])
multiply_by_slope(0, a, np.full((1, 2), 0.5, a.dtype))
hits = sum(multiply_by_slope.stats.cache_hits.values())
print(gatecheck.__file__, a.ravel().tolist(), hits, sep="|")
"""


TANH, SIGMOID = "[0.75, 0.75]", "[0.25, 0.25]"
"""The slopes at value one half, as the script prints them."""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a process on a copy of the package.

    The process has a separate cache; its result is (a, cache hits).
    """
    package = tmp_path / "package"
    shutil.copytree(
        Path(gatecheck.__file__).parent,
        package / "gatecheck",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "NUMBA_OPT": "0",  # compiles faster, and caches the same
    }

    def start(dtype):
        command = [sys.executable, "-W", "error", "-c", SCRIPT, dtype]
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

        def result():
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            file, a, hits = out.strip().split("|")
            assert Path(file).is_relative_to(package)
            return a, int(hits)

        return result

    return start


def test_cache_is_used_and_notices_an_edit_in_another_file(start, tmp_path):
    assert start("float64")() == (TANH, 0)
    assert start("float64")() == (TANH, 1)
    edited = tmp_path / "package" / "gatecheck" / "kernels" / "activations.py"
    source = edited.read_text()
    assert source.count("TANH, RELU, SIGMOID = 0, 1, 2") == 1
    # blocks.py itself is unchanged.
    edited.write_text(source.replace("TANH, RELU, SIGMOID =", "SIGMOID, RELU, TANH ="))
    assert start("float64")() == (SIGMOID, 0)
    edited.write_text(source)
    assert start("float64")() == (TANH, 1)
    written = {path.suffix for path in (tmp_path / "package").rglob("*") if path.is_file()}
    assert not written & {".nbi", ".nbc"}


def test_processes_may_fill_one_cache_at_once(start):
    for result in [start(dtype) for dtype in ("float32", "float64", "float32", "float64")]:
        assert result()[0] == TANH
    for result in [start(dtype) for dtype in ("float32", "float64")]:
        assert result() == (TANH, 1)


def double(x):
    return x + x


UNCACHED = r"compiled kernels cannot be cached .* set NUMBA_CACHE_DIR"


def test_an_unwritable_cache_folder_warns_once(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(GatecheckWarning, match=UNCACHED):
        compiled = jit(double)
    assert compiled(2) == 4
    assert jit(double)(3) == 6  # no second warning, nor one in a child process
    assert os.environ[WARNED_VARIABLE]


def test_a_failed_write_to_the_cache_warns(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compiled = jit(double)
    shutil.rmtree(cache_folder(double))
    cache_folder(double).touch()
    with pytest.warns(GatecheckWarning, match=UNCACHED):
        assert compiled(2) == 4


@pytest.mark.parametrize("damage", [b"", b"\x80garbage"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_cache_files_are_compiled_again(monkeypatch, tmp_path, damage, suffix):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert jit(double)(2) == 4
    (file,) = cache_folder(double).glob(f"*{suffix}")
    file.write_bytes(damage)
    compiled = jit(double)
    assert compiled(3) == 6
    assert not compiled.stats.cache_hits
    again = jit(double)
    assert again(3) == 6
    assert again.stats.cache_hits


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_one_flipped_bit_in_the_cache_is_noticed(monkeypatch, tmp_path, suffix, place):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert jit(double)(2) == 4
    (file,) = cache_folder(double).glob(f"*{suffix}")
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 4
    file.write_bytes(data)
    compiled = jit(double)
    assert compiled(3) == 6
    assert not compiled.stats.cache_hits
    again = jit(double)
    assert again(3) == 6
    assert again.stats.cache_hits


@pytest.fixture(autouse=True)
def reset_warning(monkeypatch):
    """Reset the warning, and restore its state afterwards."""
    monkeypatch.setenv(WARNED_VARIABLE, "")
    monkeypatch.delenv(WARNED_VARIABLE)


def test_cache_folder_follows_environment_and_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert cache_folder(double).parent == tmp_path
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder(double).parent == tmp_path / "xdg" / "gatecheck"


def test_compiler_flags_are_strict():
    assert FLAGS["error_model"] == "numpy"
    assert set(FLAGS.get("fastmath", set())) <= {"contract", "nsz"}


def test_numba_is_imported_lazily():
    """Numba is not imported with gatecheck, by audits of other code or idle workers."""
    modules = "gatecheck, gatecheck.auditing.isolation.run, gatecheck._util.process_pool"
    code = (
        f"import sys, {modules}; gatecheck.auditing.selection.select_properties(); "
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
