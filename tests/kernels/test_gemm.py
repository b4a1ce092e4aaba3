"""Products of kernels: correct, and bitwise independent of batches and threads."""

import time

import numpy as np
import pytest

from gatecheck.cells import as_cell
from gatecheck.cells.initializers import uniform
from gatecheck.kernels import Builtin, run, threads
from gatecheck.kernels.gemm import (
    add_product,
    add_weight_gradient,
    choose_steps_per_gemm,
    pack_weights,
)
from gatecheck.kernels.panels import columns_per_panel

SIZES = [
    (1, 1, 1),
    (2, 3, 5),
    (3, 16, 16),
    (5, 7, 33),
    (6, 40, 64),
    (7, 20, 65),
    (8, 3, 130),
    (13, 300, 70),
]


def random_array(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_close(actual, exact, n_terms, size):
    """Check the bound for a chain of multiply-adds and one sum (Higham 2002, § 3.1)."""
    u = np.finfo(actual.dtype).eps
    assert (np.abs(actual - exact) <= (n_terms + 2) * u * size).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("M", "K", "N"), SIZES)
def test_a_product_is_added(M, K, N, dtype):
    a, b, c = (
        random_array(M, K, dtype=dtype),
        random_array(K, 2 * N, dtype=dtype, seed=1),
        random_array(M, N, dtype=dtype, seed=2),
    )
    for gate in range(2):
        out, right = c.copy(), b[:, gate * N : (gate + 1) * N]
        add_product(out, a, pack_weights(b, 2)[gate])
        exact, size = (
            x(c).astype(float) + x(a).astype(float) @ x(right).astype(float)
            for x in (np.positive, np.abs)
        )
        assert_close(out, exact, K, size)
        # The same matrix, packed from its transpose.
        transposed = np.concatenate([right.T, right.T], axis=1)
        other = c.copy()
        add_product(other, a, pack_weights(transposed, 2, transposed=True)[gate])
        assert (other == out).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("M", "K", "N"), SIZES)
def test_a_row_is_the_same_in_any_batch(M, K, N, dtype):
    a, panels, start = (
        random_array(M, K, dtype=dtype),
        pack_weights(random_array(K, N, dtype=dtype, seed=1), 1)[0],
        random_array(M, N, dtype=dtype, seed=2),
    )
    whole = start.copy()
    add_product(whole, a, panels)
    for first in range(M):
        for last in range(first + 1, M + 1):
            part = start[first:last].copy()
            add_product(part, a[first:last], panels)
            assert (part == whole[first:last]).all()


@pytest.mark.parametrize(
    ("R", "D", "H"), [(1, 1, 1), (3, 5, 2), (256, 17, 16), (700, 9, 65), (513, 33, 130)]
)
def test_a_gradient_of_weights_is_the_same_in_any_split(R, D, H):
    x, d = random_array(R, D), random_array(2, R, H, seed=1)
    panels = -(-H // columns_per_panel("float32"))
    out = random_array(D, 1 + 2 * H, seed=2)
    exact, size = (x_(out).astype(float) for x_ in (np.positive, np.abs))
    for k in range(2):
        at = slice(1 + k * H, 1 + (k + 1) * H)
        exact[:, at] += x.astype(float).T @ d[k]
        size[:, at] += np.abs(x).astype(float).T @ np.abs(d[k])
    whole, pieces = out.copy(), out.copy()
    add_weight_gradient(x, d, whole, 1, 0, 2 * panels)
    for j in range(2 * panels):
        add_weight_gradient(x, d, pieces, 1, j, j + 1)
    assert (whole == pieces).all()
    assert_close(whole, exact, R, size)


@pytest.mark.parametrize("name", ["rnn", "gru", "gru-before", "lstm", "lstm-peepholes"])
def test_no_bit_depends_on_the_number_of_threads(monkeypatch, name):
    monkeypatch.setattr(threads, "MIN_OPERATIONS", 1)
    cell, rng = as_cell(name), np.random.default_rng(0)
    T, B, D, H = 9, 7, 5, 70
    params = {k: a.astype("float32") for k, a in uniform(rng, cell, D, H).items()}
    x, dy = random_array(T, B, D), random_array(T, B, H, seed=1)
    lengths = np.array([9, 0, 3, 9, 1, 5, 9])

    def results():
        return [
            array
            for given in ({}, {"lengths": lengths})
            for found in (
                Builtin(cell).forward(params, x, **given),
                Builtin(cell).backward(params, x, dy=dy, **given).values(),
            )
            for array in found
        ]

    alone = results()
    for number in (2, 3, 16):
        monkeypatch.setattr(threads, "thread_count", lambda number=number: number)
        for one, other in zip(alone, results(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["rnn", "gru", "gru-before", "lstm"])
def test_results_do_not_depend_on_batch_or_tape(name):
    """One row's products with x span many steps; those of many rows span one step."""
    cell, rng = as_cell(name), np.random.default_rng(0)
    T, B, D, H = 200, 100, 3, 5
    assert choose_steps_per_gemm(1) > 1 == choose_steps_per_gemm(B)
    params = {k: a.astype("float32") for k, a in uniform(rng, cell, D, H).items()}
    x, dy = random_array(T, B, D), random_array(T, B, H, seed=1)
    y, hT, cT, _ = run.forward(cell, params, x)
    for one, other in zip((y, hT, cT), run.forward(cell, params, x, keep_tape=False), strict=False):
        np.testing.assert_array_equal(one, other)
    whole = Builtin(cell).backward(params, x, dy=dy)
    for b in (0, 57, 99):
        np.testing.assert_array_equal(
            run.forward(cell, params, x[:, b : b + 1], keep_tape=False)[0], y[:, b : b + 1]
        )
        alone = Builtin(cell).backward(params, x[:, b : b + 1], dy=dy[:, b : b + 1])
        np.testing.assert_array_equal(alone["x"], whole["x"][:, b : b + 1])
        np.testing.assert_array_equal(alone["h0"], whole["h0"][b : b + 1])


@pytest.mark.parametrize(
    ("setting", "expected"), [("1", 1), ("", None), ("0", None), ("many", None), ("100000", None)]
)
def test_number_of_threads(monkeypatch, setting, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    cores = threads.thread_count() if expected is None else expected
    assert threads.thread_count() == cores >= 1


@pytest.mark.parametrize(
    ("parts", "threads_worth", "pieces"),
    [(10, 0.5, 1), (10, 3.5, 3), (10, 1e6, 4), (3, 1e6, 3), (1, 1e6, 1), (0, 0.0, 1)],
)
def test_work_is_shared_without_gaps(monkeypatch, parts, threads_worth, pieces):
    monkeypatch.setattr(threads, "thread_count", lambda: 4)
    done = []

    def run(first, last):
        time.sleep(0.02 if first > 0 else 0)  # share() must wait for the threads that it started
        done.append((first, last))

    threads.run_in_threads(run, parts, threads_worth * threads.MIN_OPERATIONS)
    assert len(done) == pieces
    assert sorted(k for first, last in done for k in range(first, last)) == list(range(parts))
