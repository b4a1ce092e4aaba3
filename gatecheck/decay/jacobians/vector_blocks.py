"""Operations on blocks of vectors: products with weights, and scaling to norm 1."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.kernels.elementwise import broadcast_row, clear
from gatecheck.kernels.gemm import gemm_acc, pack_weights
from gatecheck.kernels.jit import jit
from gatecheck.kernels.simd import assume_no_alias


def pack_both(M: Array) -> tuple[Array, Array]:
    """Return a matrix and its transpose, each packed for :func:`multiply`."""
    return pack_weights(M, 1)[0], pack_weights(M, 1, transposed=True)[0]


@jit
def multiply(v: Array, M: Array, out: Array) -> None:
    """Set `out` to the matrix product v M.

    np.dot is slower for so few rows, and on a busy machine its BLAS waits 5 ms a step for its
    threads.
    """
    clear(out)
    gemm_acc(out, v, M)


@jit
def preactivate(v: Array, M: Array, start: Array, out: Array) -> None:
    """Set `out` to a row `start` plus the product of the row v and M."""
    broadcast_row(out, start)
    gemm_acc(out, v, M)


@jit
def rescale(u: Array) -> tuple[float, float]:
    """Scale the block to norm 1.

    Returns the log of its norm before, and the share of the second state in the squared norm.
    """
    first = _sum_of_squares(u[0])
    second = _sum_of_squares(u[1]) if u.shape[0] > 1 else 0.0
    norm = np.sqrt(first + second)
    # A zero block stays zero, its log -inf; a NaN stays NaN.
    if norm != 0.0:
        for n in range(u.shape[0]):
            _divide(u[n], norm)
        return np.log(norm), second / (first + second)
    return -np.inf, np.nan


@jit
def _sum_of_squares(u: Array) -> float:
    """Return the sum of the squares, added by column so that it vectorizes."""
    columns = np.zeros(u.shape[1])
    _add_squares(columns, u)
    total = 0.0
    for j in range(columns.size):
        total += columns[j]
    return total


@jit
def _add_squares(columns: Array, u: Array) -> None:
    assume_no_alias()
    for p in range(u.shape[0]):
        for j in range(u.shape[1]):
            columns[j] += u[p, j] * u[p, j]


@jit
def _divide(u: Array, norm: float) -> None:
    assume_no_alias()
    for p in range(u.shape[0]):
        for j in range(u.shape[1]):
            u[p, j] /= norm
