"""An LSTM with one matrix on [1, x, h], the bias being its first row."""

import numpy as np


class Fused:
    cell = "lstm"

    def shapes(self, D, H):
        return {"WLSTM": (D + H + 1, 4 * H)}

    def _run(self, params, x, h0, c0):
        W, (T, B, D) = params["WLSTM"], x.shape
        H = W.shape[1] // 4
        Hin, IFOGf = np.ones((T, B, 1 + D + H), x.dtype), np.zeros((T, B, 4 * H), x.dtype)
        C, Ct, Hout = (np.zeros((T, B, H), x.dtype) for _ in range(3))
        h = np.zeros((B, H), x.dtype) if h0 is None else h0
        c = np.zeros((B, H), x.dtype) if c0 is None else c0
        first = c
        for t in range(T):
            Hin[t, :, 1 : 1 + D], Hin[t, :, 1 + D :] = x[t], h
            a = Hin[t] @ W
            IFOGf[t, :, : 3 * H] = 1 / (1 + np.exp(-np.clip(a[:, : 3 * H], -80, None)))
            IFOGf[t, :, 3 * H :] = np.tanh(a[:, 3 * H :])
            i, f, o, g = np.split(IFOGf[t], 4, axis=1)
            c = C[t] = i * g + f * c
            Ct[t] = np.tanh(c)
            h = Hout[t] = o * Ct[t]
        return Hout, h, c, (Hin, IFOGf, C, Ct, first)

    def forward(self, params, x, h0, c0=None):
        y, h, c, _ = self._run(params, x, h0, c0)
        return y, h.copy(), c.copy()

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        W, (T, _, D) = params["WLSTM"], x.shape
        _, h, c, (Hin, IFOGf, C, Ct, first) = self._run(params, x, h0, c0)
        dW, dx = np.zeros_like(W), np.zeros_like(x)
        dh = np.zeros_like(h) if dhT is None else dhT.copy()
        dc = np.zeros_like(c) if dcT is None else dcT.copy()
        for t in reversed(range(T)):
            i, f, o, g = np.split(IFOGf[t], 4, axis=1)
            dh = dh if dy is None else dh + dy[t]
            dc = dc + dh * o * (1 - Ct[t] ** 2)
            before = C[t - 1] if t else first
            da = np.hstack(
                [
                    dc * g * i * (1 - i),
                    dc * before * f * (1 - f),
                    dh * Ct[t] * o * (1 - o),
                    dc * i * (1 - g**2),
                ]
            )
            dW += Hin[t].T @ da
            dHin = da @ W.T
            dx[t], dh, dc = dHin[:, 1 : 1 + D], dHin[:, 1 + D :], dc * f
        return {"WLSTM": dW, "x": dx, "h0": dh, "c0": dc}
