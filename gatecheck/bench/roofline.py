"""Matrix products of a recurrent layer alone: a bound on its speed.

No recurrent layer can be faster with this BLAS, that of NumPy and SciPy. The shapes are the best
that the equations allow: x with W for all steps in one product, h with U for all gates in one
product a step, and the gradients of W, U and x in one product each. No gate, no sum and no copy is
computed.
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
    """Return a call that computes the matrix products of a point, nothing else.

    With one row they are matrix times vector.
    """
    T, B, D, H = sizes
    n = len(cell.gates) * H
    rng = np.random.default_rng(0)

    def random(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    x, h, d = random(T * B, D), random(T * B, H), random(T * B, n)
    W, U, Wt, Ut = random(D, n), random(H, n), random(n, D), random(n, H)
    step, step_d = (h[0], d[0]) if B == 1 else (h[:B], d[:B])
    forward_out, backward_out = np.empty_like(step_d), np.empty_like(step)
    into_d, into_x, into_W, into_U = (
        np.empty_like(d),
        np.empty_like(x),
        np.empty_like(W),
        np.empty_like(U),
    )

    def call() -> None:
        np.dot(x, W, out=into_d)
        _products(T, step, U, forward_out)
        if work == "gradients":
            _products(T, step_d, Ut, backward_out)
            np.dot(d, Wt, out=into_x)
            np.dot(x.T, d, out=into_W)
            np.dot(h.T, d, out=into_U)

    return call


def profile_products(cell: Cell, D: int, H: int, k: int) -> Callable[[int], None]:
    """Return a call that computes the products of a decay profile, nothing else.

    Its argument is the number of steps. Of each step it computes h times U forward, and k
    cotangents of the preactivations times the transpose of U back; and x times W, a thousand steps
    at a time.
    """
    n = len(cell.gates) * H
    rng = np.random.default_rng(0)
    W, U, Ut, x, h, d = (
        rng.standard_normal(shape) for shape in ((D, n), (H, n), (n, H), (1000, D), (H,), (k, n))
    )
    into_x, forward_out, backward_out = np.empty((1000, n)), np.empty(n), np.empty((k, H))

    def call(T: int) -> None:
        for start in range(0, T, len(x)):
            rows = slice(min(len(x), T - start))
            np.dot(x[rows], W, out=into_x[rows])
        _products(T, h, U, forward_out)
        _products(T, d, Ut, backward_out)

    return call


def gemm_rates(dtype: str) -> dict[str, float]:
    """Return 1e9 operations per second of a square GEMM and of a GEMV.

    The GEMM has side 512, the GEMV 512 by 2048.
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
