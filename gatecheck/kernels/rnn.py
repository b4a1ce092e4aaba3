"""The loops over time of the plain recurrent cell: h' = φ(a + h U), where a = x W + b has been formed for all steps.

Derived from the equations in gatecheck.cells; the layout is that of gatecheck.kernels.blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.kernels.activations import activate
from gatecheck.kernels.blocks import add, add_product, times_slope
from gatecheck.kernels.jit import jit

Array = NDArray[Any]


@jit
def forward(code: int, running: Array, U: Array, a: Array, h: Array) -> None:
    """Fill h[1:]; `a` is used up."""
    for t in range(a.shape[1]):
        n = running[t]
        new = h[t + 1, :n]
        np.dot(h[t, :n], U[0], new)
        add(new, a[0, t, :n])
        activate(code, new)


@jit
def backward(code: int, running: Array, Ut: Array, h: Array, dy: Array, dh: Array, d: Array) -> None:
    """Fill `d`, the gradient at the preactivations; `dh` is that at h_T before and that at h_0 after. `Ut` is U transposed."""
    for t in range(dy.shape[0] - 1, -1, -1):
        n = running[t]
        for p in range(n):
            for q in range(dh.shape[1]):
                d[0, t, p, q] = dh[p, q] + dy[t, p, q]
        times_slope(code, d[0, t, :n], h[t + 1, :n])
        np.dot(d[0, t, :n], Ut[0], dh[:n])


@jit
def tangent(code: int, running: Array, U: Array, h: Array, a: Array, dh: Array, dy: Array) -> None:
    """Fill `dy`, the derivative of every h, from that of the preactivations but for what dh adds; `dh` is h_0's before, h_T's after."""
    for t in range(dy.shape[0]):
        n = running[t]
        add_product(a[0, t, :n], dh[:n], U[0], dy[t, :n])
        times_slope(code, a[0, t, :n], h[t + 1, :n])
        for p in range(n):
            for q in range(dh.shape[1]):
                dh[p, q] = a[0, t, p, q]
                dy[t, p, q] = dh[p, q]
