"""An LSTM in column vectors, as in courses.

x is (n_x, m, T_x), and each gate has one matrix on [a_prev; x_t].
"""

import numpy as np

import gatecheck as gk


def sigmoid(v):
    return 0.5 * (1 + np.tanh(0.5 * v))


class Course:
    cell = "lstm"
    convention = gk.Convention(
        "course",
        {
            "lstm": gk.Layout(
                "fiog", {"W{gate}": "U; W", "b{gate}": "b"}, gate_names={"g": "c", "i": "u"}
            )
        },
        rows=True,
        vectors="column",
        axes="DBT",
        columns=True,
    )

    def forward(self, p, x, a0, c0=None):
        (_, m, T_x), n_a = x.shape, p["bf"].shape[0]
        a_next = np.zeros((n_a, m), x.dtype) if a0 is None else a0
        c_next = np.zeros((n_a, m), x.dtype) if c0 is None else c0
        a, self.caches = np.zeros((n_a, m, T_x), x.dtype), []
        for t in range(T_x):
            a_prev, c_prev = a_next, c_next
            concat = np.concatenate([a_prev, x[:, :, t]], axis=0)
            ft = sigmoid(p["Wf"] @ concat + p["bf"])
            it = sigmoid(p["Wu"] @ concat + p["bu"])
            cct = np.tanh(p["Wc"] @ concat + p["bc"])
            ot = sigmoid(p["Wo"] @ concat + p["bo"])
            c_next = ft * c_prev + it * cct
            a_next = ot * np.tanh(c_next)
            a[:, :, t] = a_next
            self.caches.append((concat, c_prev, ft, it, cct, ot, c_next))
        return a, a_next.copy(), c_next.copy()

    def backward(self, p, x, a0, c0, da, daT, dcT):
        _, a_last, c_last = self.forward(p, x, a0, c0)
        n_a = len(a_last)
        grads = {k: np.zeros_like(v) for k, v in p.items()}
        dx = np.zeros_like(x)
        da_next = np.zeros_like(a_last) if daT is None else daT.copy()
        dc_next = np.zeros_like(c_last) if dcT is None else dcT.copy()
        for t in reversed(range(x.shape[2])):
            concat, c_prev, ft, it, cct, ot, c_next = self.caches[t]
            da_next = da_next if da is None else da_next + da[:, :, t]
            dc = dc_next + da_next * ot * (1 - np.tanh(c_next) ** 2)
            d = {
                "f": dc * c_prev * ft * (1 - ft),
                "u": dc * cct * it * (1 - it),
                "c": dc * it * (1 - cct**2),
                "o": da_next * np.tanh(c_next) * ot * (1 - ot),
            }
            dconcat = sum(p["W" + k].T @ v for k, v in d.items())
            for k, v in d.items():
                grads["W" + k] += v @ concat.T
                grads["b" + k] += v.sum(1, keepdims=True)
            da_next, dx[:, :, t], dc_next = dconcat[:n_a], dconcat[n_a:], dc * ft
        return grads | {"x": dx, "h0": da_next, "c0": dc_next}
