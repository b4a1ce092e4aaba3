"""A framework that gatecheck does not know, for the example in CONTRIBUTING.md.

Batch first, one matrix for each side, z keeps.
"""

import numpy as np


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * a))


class GRU:
    def __init__(self, wx, wh, bx, bh):
        self.wx, self.wh, self.bx, self.bh = wx, wh, bx, bh

    def __call__(self, x, h=None):
        h = np.zeros((len(x), len(self.wh)), x.dtype) if h is None else h
        y = np.zeros((*x.shape[:2], len(self.wh)), x.dtype)
        for t in range(x.shape[1]):
            xz, xr, xn = np.split(x[:, t] @ self.wx + self.bx, 3, axis=1)
            hz, hr, hn = np.split(h @ self.wh + self.bh, 3, axis=1)
            z = sigmoid(xz + hz)
            h = z * h + (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn)
            y[:, t] = h
        return y, h.copy()
