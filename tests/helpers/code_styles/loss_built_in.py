"""A character model with its loss built in: a plain RNN and a softmax.

Its gradients are perhaps clipped, as in often copied code.
"""

import numpy as np


class CharModel:
    cell = "custom"
    clip = None

    def example(self, rng):
        V, H = 5, 4
        sizes = {"Wxh": (H, V), "Whh": (H, H), "Why": (V, H), "bh": (H,), "by": (V,)}
        self.targets = rng.integers(0, V, 6)
        return {
            "params": {k: rng.normal(size=s) for k, s in sizes.items()},
            "x": rng.normal(size=(6, V)),
            "h0": rng.normal(size=H),
        }

    def _run(self, p, x, h):
        hs, probabilities, loss = [h], [], 0.0
        for x_t, target in zip(x, self.targets, strict=True):
            h = np.tanh(p["Wxh"] @ x_t + p["Whh"] @ h + p["bh"])
            y = p["Why"] @ h + p["by"]
            e = np.exp(y - y.max())
            hs.append(h)
            probabilities.append(e / e.sum())
            loss -= np.log(probabilities[-1][target])
        return loss, hs, probabilities

    def forward(self, params, x, h0):
        return self._run(params, x, h0)[0]

    def backward(self, params, x, h0, dloss):
        p = params
        _, hs, probabilities = self._run(p, x, h0)
        grads = {k: np.zeros_like(v) for k, v in p.items()} | {"x": np.zeros_like(x)}
        dh = np.zeros_like(h0)
        for t in reversed(range(len(x))):
            dy = probabilities[t].copy()
            dy[self.targets[t]] -= 1
            grads["Why"] += np.outer(dy, hs[t + 1])
            grads["by"] += dy
            da = (p["Why"].T @ dy + dh) * (1 - hs[t + 1] ** 2)
            grads["Wxh"] += np.outer(da, x[t])
            grads["Whh"] += np.outer(da, hs[t])
            grads["bh"] += da
            grads["x"][t] = p["Wxh"].T @ da
            dh = p["Whh"].T @ da
        grads = {k: dloss * g for k, g in (grads | {"h0": dh}).items()}
        return (
            grads
            if self.clip is None
            else {k: np.clip(g, -self.clip, self.clip) for k, g in grads.items()}
        )


class Clipped(CharModel):
    clip = 0.5
