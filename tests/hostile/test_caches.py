"""Caches: no damaged, foreign or merely similar entry is believed."""

import importlib.util
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from gatecheck._util.array_cache import ArrayCache
from gatecheck._util.cache_dir import private_folder
from gatecheck.cases import draw
from gatecheck.cells import LSTM, Sizes
from gatecheck.checking import budgets
from gatecheck.decay.jobs.checkpoints import part_key
from gatecheck.kernels import jit

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX's owners and links")

CASE = draw(LSTM(), Sizes(2, 3, 2, 9), seed=0, dtype="float32")

FLIPS = 100


def flipped(content, rng):
    """Return content with one bit changed, anywhere."""
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


# ---- keys

REPORT = """
import hashlib, json, sys
from gatecheck._util.arithmetic import arithmetic
from gatecheck.cases import draw
from gatecheck.cells import LSTM, Sizes
from gatecheck.checking import budgets
digest = hashlib.sha256()
for sizes in (Sizes(2, 3, 2, 9), Sizes(1, 40, 4, 257)):
    budget = budgets.case_budget(draw(LSTM(), sizes, seed=0, dtype="float32"))
    for arrays in (budget.exact, budget.spread):
        for name in sorted(arrays):
            digest.update(arrays[name].tobytes())
file = budgets._cache_file("lstm")._path.parent.name
print(json.dumps([digest.hexdigest(), file, arithmetic()]))
"""

ENVIRONMENTS = {
    "plain": {},
    "again": {"UNRELATED": "1"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "no AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4"},
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Return the bits, the folder and the arithmetic of a budget, by environment."""
    folder = str(tmp_path_factory.mktemp("cache"))
    base = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    base |= {"NUMBA_CACHE_DIR": folder, "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    started = {
        name: subprocess.Popen(
            [sys.executable, "-c", REPORT], env=base | more, stdout=subprocess.PIPE, text=True
        )
        for name, more in ENVIRONMENTS.items()
    }
    return {name: json.loads(process.communicate()[0]) for name, process in started.items()}


def test_equal_environments_share_a_folder(reports):
    assert reports["plain"] == reports["again"]


def test_other_bits_are_in_another_folder(reports):
    folder_of = {}
    for bits, folder, _ in reports.values():
        assert folder_of.setdefault(folder, bits) == bits


@pytest.mark.parametrize("name", [n for n in ENVIRONMENTS if n not in ("plain", "again")])
def test_another_arithmetic_is_another_folder(reports, name):
    _, folder, arithmetic = reports[name]
    assert (folder == reports["plain"][1]) == (arithmetic == reports["plain"][2])


@pytest.mark.parametrize("name", ["one thread", "Haswell", "Prescott"])
def test_the_kernels_of_openblas_are_named(reports, name):
    """Hold of OpenBLAS, unless it would choose the same anyway."""
    blas = reports["plain"][2]["blas"]
    takes = blas and blas[0][0] == "openblas" and reports["plain"][2]["system"][0] == "x86_64"
    if takes and blas[0][2] != name and os.cpu_count() > 1:
        assert reports[name][1] != reports["plain"][1]


def test_a_dtype_and_a_kind_of_budget_are_other_records():
    other = draw(LSTM(), Sizes(2, 3, 2, 9), seed=0, dtype="float64")
    assert other.key != CASE.key


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_parts_of_a_study_are_computed_on_one_thread(threads, monkeypatch):
    from threadpoolctl import threadpool_limits

    key = part_key(flipped, {})
    from gatecheck.decay.jobs import checkpoints

    checkpoints._arithmetic.cache_clear()
    with threadpool_limits(threads):
        assert part_key(flipped, {}) == key


# ---- damage


def test_flipped_bits_of_budgets(tmp_path):
    path, rng = tmp_path / "cache" / "lstm", random.Random(0)
    budget = budgets.case_budget(CASE)
    arrays = budget.exact | {f"~{k}": v for k, v in budget.spread.items()}
    ArrayCache(path).put("a", arrays)
    whole = path.read_bytes()
    assert ArrayCache(path).get("a") is not None
    for _ in range(FLIPS):
        path.write_bytes(flipped(whole, rng))
        assert ArrayCache(path).get("a") is None


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Return a function that compiles a kernel, or takes it from a cache."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "own").mkdir()
    file = tmp_path / "own" / "kernel.py"
    file.write_text("def f(x):\n    return 3.0 * x + 1.0\n")
    spec = importlib.util.spec_from_file_location("kernel", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    jit._create_folder.cache_clear()
    yield lambda: jit.jit(module.f)
    jit._create_folder.cache_clear()


def is_cached(compiled):
    return bool(compiled.stats.cache_hits)


def kernel_files(tmp_path):
    return sorted(p for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_flipped_bits_of_kernels(kernel, tmp_path):
    assert kernel()(2.0) == 7.0
    again = kernel()
    assert again(2.0) == 7.0
    assert is_cached(again)
    rng, files = random.Random(0), kernel_files(tmp_path)
    whole = [file.read_bytes() for file in files]
    assert len(files) == 2
    for k in range(FLIPS):
        for file, content in zip(files, whole, strict=True):
            file.write_bytes(content)
        files[k % 2].write_bytes(flipped(whole[k % 2], rng))
        damaged = kernel()
        assert damaged(2.0) == 7.0
        assert not is_cached(damaged)


@pytest.mark.parametrize("end", [0, 1, 16, 40, -1])
def test_truncated_kernels(kernel, tmp_path, end):
    kernel()(2.0)
    for file in kernel_files(tmp_path):
        file.write_bytes(file.read_bytes()[:end])
    damaged = kernel()
    assert damaged(2.0) == 7.0
    assert not is_cached(damaged)


@pytest.mark.parametrize("name", ["LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK"])
def test_another_setting_of_the_compiler_is_another_kernel(kernel, monkeypatch, name):
    kernel()(2.0)
    now = getattr(jit.numba.config, name)
    monkeypatch.setattr(jit.numba.config, name, 0 if now else 1)
    other, again = kernel(), kernel()
    assert other(2.0) == again(2.0) == 7.0
    assert (is_cached(other), is_cached(again)) == (False, True)


# ---- owners and links


def group_may_write(folder, tmp_path, monkeypatch):
    folder.chmod(0o770)


def all_may_write(folder, tmp_path, monkeypatch):
    folder.chmod(0o1777)


def link(folder, tmp_path, monkeypatch):
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")


def of_another_user(folder, tmp_path, monkeypatch):
    owner = folder.stat().st_uid
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)


REASON = {
    group_may_write: "others may write to",
    all_may_write: "others may write to",
    link: "is a link",
    of_another_user: "belongs to another user",
}


@posix
@pytest.mark.parametrize("change", REASON)
def test_budgets_that_others_may_write_are_neither_read_nor_written(tmp_path, monkeypatch, change):
    path = tmp_path / "cache" / "lstm"
    ArrayCache(path).put("a", {"y": np.ones(2)})
    change(path.parent, tmp_path, monkeypatch)
    before = path.read_bytes()
    cache = ArrayCache(path)
    assert cache.get("a") is None
    cache.put("b", {"y": np.ones(2)})
    assert path.read_bytes() == before


@posix
@pytest.mark.parametrize("change", REASON)
def test_kernels_that_others_may_write_are_not_run(kernel, tmp_path, monkeypatch, change):
    monkeypatch.setenv(jit.WARNED_VARIABLE, "")  # so that it is not set after the test
    monkeypatch.delenv(jit.WARNED_VARIABLE)
    kernel()(2.0)
    (folder,) = (tmp_path / "cache").iterdir()
    change(folder, tmp_path, monkeypatch)
    jit._create_folder.cache_clear()
    with pytest.warns(match=f"compiled kernels cannot be cached .*{REASON[change]}"):
        again = kernel()
    assert again(2.0) == 7.0
    assert not is_cached(again)


@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_folder_that_is_made_is_private(tmp_path, umask):
    old = os.umask(umask)
    try:
        folder = private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


@posix
def test_a_link_above_the_folder_is_the_users_own(tmp_path):
    """Allow ``~/.cache`` to be a link to a larger disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    assert private_folder(tmp_path / "cache" / "a").is_dir()
