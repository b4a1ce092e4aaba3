"""A minimal gated unit (Zhou et al. 2016) that returns its last state only.

It is a custom cell with its own example.
"""

import numpy as np


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * a))


class MinimalGatedUnit:
    cell = "custom"

    def example(self, rng):
        D, H = 3, 4
        params = {name: rng.normal(size=(D + H, H)) for name in ("Wf", "Wh")}
        return {"params": params, "x": rng.normal(size=(5, 2, D)), "h0": rng.normal(size=(2, H))}

    def _steps(self, params, x, h):
        for x_t in x:
            seen = np.hstack([x_t, h])
            f = sigmoid(seen @ params["Wf"])
            inner = np.hstack([x_t, f * h])
            n = np.tanh(inner @ params["Wh"])
            yield seen, f, inner, n, h
            h = (1 - f) * h + f * n

    def forward(self, params, x, h0):
        h = h0
        for _, f, _, n, before in self._steps(params, x, h0):
            h = (1 - f) * before + f * n
        return h.copy()

    def backward(self, params, x, h0, dh):
        steps, D = list(self._steps(params, x, h0)), x.shape[2]
        dWf, dWh, dx = np.zeros_like(params["Wf"]), np.zeros_like(params["Wh"]), np.zeros_like(x)
        for t in reversed(range(len(x))):
            seen, f, inner, n, h = steps[t]
            dn = dh * f * (1 - n**2)
            dinner = dn @ params["Wh"].T
            df = (dh * (n - h) + dinner[:, D:] * h) * f * (1 - f)
            dseen = df @ params["Wf"].T
            dWh += inner.T @ dn
            dWf += seen.T @ df
            dx[t] = dinner[:, :D] + dseen[:, :D]
            dh = dh * (1 - f) + dinner[:, D:] * f + dseen[:, D:]
        return {"Wf": dWf, "Wh": dWh, "x": dx, "h0": dh}
