"""A user's GRU: Keras's arrays, forward only, at least one step."""

import numpy as np


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * a))


class MyGRU:
    cell = "gru"
    convention = "keras"

    def forward(self, params, x, h0, c0=None):
        if x.shape[1] == 0:
            raise ValueError("a sequence needs one step at least")
        W, U, (b, c) = params["kernel"], params["recurrent_kernel"], params["bias"]
        h = np.zeros((len(x), len(U)), x.dtype) if h0 is None else h0
        y = np.zeros((*x.shape[:2], len(U)), x.dtype)
        for t in range(x.shape[1]):
            xz, xr, xh = np.split(x[:, t] @ W + b, 3, axis=1)
            hz, hr, hh = np.split(h @ U + c, 3, axis=1)
            z = sigmoid(xz + hz)
            h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
            y[:, t] = h
        return y, h.copy()


class Wrong(MyGRU):
    """The update gate is the share of the new value, which Keras's is not."""

    def forward(self, params, x, h0, c0=None):
        z = slice(0, params["recurrent_kernel"].shape[0])
        params = {name: a.copy() for name, a in params.items()}
        params["kernel"][:, z] *= -1
        params["recurrent_kernel"][:, z] *= -1
        return super().forward(params, x, h0)
