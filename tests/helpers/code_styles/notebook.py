"""A GRU as in notebooks: one array per gate, a loop, and no declared convention."""

import numpy as np


def sigmoid(a):
    return 0.5 * (1 + np.tanh(a / 2))


class NotebookGRU:
    cell = "gru-before"

    def shapes(self, D, H):
        return {
            f"{kind}{gate}": shape
            for gate in "zrh"
            for kind, shape in (("W", (D, H)), ("U", (H, H)), ("b", (H,)))
        }

    def forward(self, p, x, h0, c0=None):
        h = np.zeros((x.shape[1], p["bz"].size), x.dtype) if h0 is None else h0
        self.cache, hs = [], []
        for x_t in x:
            z = sigmoid(x_t @ p["Wz"] + h @ p["Uz"] + p["bz"])
            r = sigmoid(x_t @ p["Wr"] + h @ p["Ur"] + p["br"])
            h_tilde = np.tanh(x_t @ p["Wh"] + (r * h) @ p["Uh"] + p["bh"])
            self.cache.append((x_t, h, z, r, h_tilde))
            h = (1 - z) * h + z * h_tilde
            hs.append(h)
        y = np.array(hs) if hs else np.zeros((0, *h.shape), x.dtype)
        return y, h.copy()

    def backward(self, p, x, h0, c0, dy, dhT, dcT):
        _, h_last = self.forward(p, x, h0)
        grads = {name: np.zeros_like(value) for name, value in p.items()}
        dx = np.zeros_like(x)
        dh = np.zeros_like(h_last) if dhT is None else dhT.copy()
        for t in reversed(range(len(x))):
            x_t, h, z, r, h_tilde = self.cache[t]
            dh = dh if dy is None else dh + dy[t]
            da = {"h": dh * z * (1 - h_tilde**2), "z": dh * (h_tilde - h) * z * (1 - z)}
            drh = da["h"] @ p["Uh"].T
            da["r"] = drh * h * r * (1 - r)
            dh = dh * (1 - z) + drh * r + da["z"] @ p["Uz"].T + da["r"] @ p["Ur"].T
            for gate, seen in (("z", h), ("r", h), ("h", r * h)):
                grads["W" + gate] += x_t.T @ da[gate]
                grads["U" + gate] += seen.T @ da[gate]
                grads["b" + gate] += da[gate].sum(0)
                dx[t] += da[gate] @ p["W" + gate].T
        return grads | {"x": dx, "h0": dh}
