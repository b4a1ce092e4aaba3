"""An LSTM with a class for each gate, which stores values for its backward."""

import numpy as np

import gatecheck as gk


class Gate:
    def __init__(self, W, U, b, squash, slope):
        self.W, self.U, self.b, self.squash, self.slope = W, U, b, squash, slope
        self.dW, self.dU, self.db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)

    def __call__(self, x, h):
        return self.squash(self.W @ x + self.U @ h + self.b)

    def push(self, x, h, value, d):
        """Add to the gradients, and return those of x and h."""
        da = d * self.slope(value)
        self.dW += np.outer(da, x)
        self.dU += np.outer(da, h)
        self.db += da
        return self.W.T @ da, self.U.T @ da


def sigmoid(a):
    return np.where(
        a >= 0, 1 / (1 + np.exp(-np.abs(a))), np.exp(-np.abs(a)) / (1 + np.exp(-np.abs(a)))
    ).astype(a.dtype)


class GateByGate:
    cell = "lstm"
    convention = gk.Convention(
        "gate by gate",
        {
            "lstm": gk.Layout(
                "ifog",
                {"{gate}.W": "W", "{gate}.U": "U", "{gate}.b": "b"},
                gate_names=dict(i="input", f="forget", o="output", g="cell"),
            )
        },
        rows=True,
    )

    def _gates(self, params):
        def made(name, squash, slope):
            return Gate(
                params[f"{name}.W"], params[f"{name}.U"], params[f"{name}.b"], squash, slope
            )

        gates = {
            name: made(name, sigmoid, lambda v: v * (1 - v))
            for name in ("input", "forget", "output")
        }
        return gates | {"cell": made("cell", np.tanh, lambda v: 1 - v * v)}

    def _one(self, gates, x, h, c):
        """Yield the states of one row of the batch, step by step."""
        steps = []
        for x_t in x:
            i, f, o, g = (gates[k](x_t, h) for k in ("input", "forget", "output", "cell"))
            before, c = c, f * c + i * g
            steps.append((x_t, h, before, i, f, o, g, c))
            h = o * np.tanh(c)
            yield h, c, steps

    def _states(self, params, x, h0, c0):
        H = params["input.b"].size
        zero = np.zeros((x.shape[1], H), x.dtype)
        return (zero if h0 is None else h0), (zero if c0 is None else c0)

    def forward(self, params, x, h0, c0=None):
        h0, c0 = self._states(params, x, h0, c0)
        y, hT, cT = np.zeros((*x.shape[:2], h0.shape[1]), x.dtype), h0.copy(), c0.copy()
        for row in range(x.shape[1]):
            for t, (h, c, _) in enumerate(
                self._one(self._gates(params), x[:, row], h0[row], c0[row])
            ):
                y[t, row], hT[row], cT[row] = h, h, c
        return y, hT, cT

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        h0, c0 = self._states(params, x, h0, c0)
        gates, dx = self._gates(params), np.zeros_like(x)
        dh0, dc0 = (np.zeros_like(s) if d is None else d.copy() for s, d in ((h0, dhT), (c0, dcT)))
        for row in range(x.shape[1]):
            steps = []
            for _, _, steps in self._one(gates, x[:, row], h0[row], c0[row]):  # noqa: B007
                pass
            dh, dc = dh0[row], dc0[row]
            for t in reversed(range(len(steps))):
                x_t, h, before, i, f, o, g, c = steps[t]
                dh = dh if dy is None else dh + dy[t, row]
                m = np.tanh(c)
                dc = dc + dh * o * (1 - m * m)
                shares = {
                    "output": (o, dh * m),
                    "input": (i, dc * g),
                    "cell": (g, dc * i),
                    "forget": (f, dc * before),
                }
                pushed = [gates[name].push(x_t, h, *share) for name, share in shares.items()]
                dx[t, row], dh, dc = sum(p[0] for p in pushed), sum(p[1] for p in pushed), dc * f
            dh0[row], dc0[row] = dh, dc
        grads = {
            f"{name}.{k}": getattr(gate, "d" + k) for name, gate in gates.items() for k in "WUb"
        }
        return grads | {"x": dx, "h0": dh0, "c0": dc0}
