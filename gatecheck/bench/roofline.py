"""What no recurrent layer can beat with this BLAS: its matrix products alone, with the BLAS of
NumPy and SciPy.

The shapes are the best that the equations allow: x with W for all steps in one product, h with U
for all gates in one product a step, and the gradients of W, U and x in one product each. No gate,
no sum and no copy is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.bench.timing import Call, race
from gatecheck.cells import Cell, Sizes
from gatecheck.kernels.jit import jit

GEMM_SIDE = 512
GEMV_SHAPE = (512, 2048)


@jit
def _products(steps: int, a: Array, b: Array, out: Array) -> None:
    for _ in range(steps):
        np.dot(a, b, out)


def products(cell: Cell, sizes: Sizes, dtype: str, work: str) -> Call:
    """A call that computes the matrix products of a point and nothing else; with one row they are
    matrix times vector.
    """
    T, B, D, H = sizes
    n = len(cell.gates) * H
    rng = np.random.default_rng(0)

    def some(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    x, h, d = some(T * B, D), some(T * B, H), some(T * B, n)
    W, U, Wt, Ut = some(D, n), some(H, n), some(n, D), some(n, H)
    step, step_d = (h[0], d[0]) if B == 1 else (h[:B], d[:B])
    ahead, back = np.empty_like(step_d), np.empty_like(step)
    into_d, into_x, into_W, into_U = (
        np.empty_like(d),
        np.empty_like(x),
        np.empty_like(W),
        np.empty_like(U),
    )

    def call() -> None:
        np.dot(x, W, out=into_d)
        _products(T, step, U, ahead)
        if work == "gradients":
            _products(T, step_d, Ut, back)
            np.dot(d, Wt, out=into_x)
            np.dot(x.T, d, out=into_W)
            np.dot(h.T, d, out=into_U)

    return call


def profile_products(cell: Cell, D: int, H: int, k: int) -> Callable[[int], None]:
    """A call that computes the products of a decay profile over so many steps and nothing else.

    Of each step h times U forward, and k cotangents of the preactivations times the transpose of U
    back; and x times W, a thousand steps at a time.
    """
    n = len(cell.gates) * H
    rng = np.random.default_rng(0)
    W, U, Ut, x, h, d = (
        rng.standard_normal(shape) for shape in ((D, n), (H, n), (n, H), (1000, D), (H,), (k, n))
    )
    into_x, ahead, back = np.empty((1000, n)), np.empty(n), np.empty((k, H))

    def call(T: int) -> None:
        for start in range(0, T, len(x)):
            some = slice(min(len(x), T - start))
            np.dot(x[some], W, out=into_x[some])
        _products(T, h, U, ahead)
        _products(T, d, Ut, back)

    return call


def rates(dtype: str) -> dict[str, float]:
    """Operations per second, in units of 1e9, of a square GEMM of side 512 and of a GEMV of 512 by
    2048.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((GEMM_SIDE, GEMM_SIDE)).astype(dtype) for _ in range(2))
    v, m = (
        rng.standard_normal(GEMV_SHAPE[0]).astype(dtype),
        rng.standard_normal(GEMV_SHAPE).astype(dtype),
    )
    c, w = np.empty_like(a), np.empty_like(m[0])
    taken = race(
        {"gemm": lambda: np.dot(a, b, out=c), "gemv": lambda: np.dot(v, m, out=w)},
        rounds=9,
        least=0.005,
        deadline=time.perf_counter() + 2,
    )
    work = {"gemm": 2 * GEMM_SIDE**3, "gemv": 2 * GEMV_SHAPE[0] * GEMV_SHAPE[1]}
    return {name: work[name] / float(np.median(seconds)) / 1e9 for name, seconds in taken.items()}
