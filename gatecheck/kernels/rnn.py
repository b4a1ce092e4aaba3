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
def forward(code: int, U: Array, a: Array, h: Array) -> None:
    """Fill h[1:]; `a` is used up."""
    for t in range(a.shape[1]):
        np.dot(h[t], U[0], h[t + 1])
        add(h[t + 1], a[0, t])
        activate(code, h[t + 1])


@jit
def backward(code: int, Ut: Array, h: Array, dy: Array, dh: Array, d: Array) -> None:
    """Fill `d`, the gradient at the preactivations; `dh` is that at h_T before and that at h_0 after. `Ut` is U transposed."""
    for t in range(dy.shape[0] - 1, -1, -1):
        for p in range(dh.shape[0]):
            for q in range(dh.shape[1]):
                d[0, t, p, q] = dh[p, q] + dy[t, p, q]
        times_slope(code, d[0, t], h[t + 1])
        np.dot(d[0, t], Ut[0], dh)


@jit
def tangent(code: int, U: Array, h: Array, a: Array, dh: Array, dy: Array) -> None:
    """Fill `dy`, the derivative of every h, from that of the preactivations but for what dh adds; `dh` is h_0's before, h_T's after."""
    for t in range(dy.shape[0]):
        add_product(a[0, t], dh, U[0], dy[t])
        times_slope(code, a[0, t], h[t + 1])
        for p in range(dh.shape[0]):
            for q in range(dh.shape[1]):
                dh[p, q] = a[0, t, p, q]
                dy[t, p, q] = dh[p, q]
