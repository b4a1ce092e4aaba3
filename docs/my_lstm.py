"""An LSTM as one writes it by hand, with one thing missing in its backward.

It is the subject of the picture in README.md.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


class MyLSTM:
    cell, convention = "lstm", "pytorch"

    def forward(self, params, x, h0, c0=None):
        return self.run(params, x, h0, c0)[0]

    def run(self, params, x, h0, c0):
        W, U = params["weight_ih_l0"], params["weight_hh_l0"]
        b = params["bias_ih_l0"] + params["bias_hh_l0"]
        zero = np.zeros((x.shape[1], U.shape[1]), x.dtype)
        h, c = zero if h0 is None else h0, zero if c0 is None else c0
        y, steps = np.zeros((len(x), *zero.shape), x.dtype), []
        with np.errstate(over="ignore"):
            for t in range(len(x)):
                i, f, g, o = np.split(x[t] @ W.T + h @ U.T + b, 4, axis=1)
                i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
                before, c = (h, c), f * c + i * g
                h = y[t] = o * np.tanh(c)
                steps.append((*before, i, f, g, o, np.tanh(c)))
        return (y, h, c), steps

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        W, U = params["weight_ih_l0"], params["weight_hh_l0"]
        (_, h, c), steps = self.run(params, x, h0, c0)
        dh = np.zeros_like(h) if dhT is None else dhT
        dc = np.zeros_like(c) if dcT is None else dcT
        dW, dU, db, dx = (
            np.zeros_like(W),
            np.zeros_like(U),
            np.zeros(len(W), x.dtype),
            np.zeros_like(x),
        )
        for t in reversed(range(len(x))):
            h, c, i, f, g, o, m = steps[t]
            dh = dh if dy is None else dh + dy[t]
            dc = dc + dh * o * (1 - m**2)
            da = np.concatenate(
                [
                    dc * g * i * (1 - i),
                    dc * c * f * (1 - f),
                    dc * i * (1 - g**2),
                    dh * m * o * (1 - o),
                ],
                axis=1,
            )
            dW, dU, db, dx[t] = dW + da.T @ x[t], dU + da.T @ h, db + da.sum(0), da @ W
            dh, dc = da @ U, dc  # and dc * f, where it is right
        return {
            "weight_ih_l0": dW,
            "weight_hh_l0": dU,
            "bias_ih_l0": db,
            "bias_hh_l0": db,
            "x": dx,
            "h0": dh,
            "c0": dc,
        }
