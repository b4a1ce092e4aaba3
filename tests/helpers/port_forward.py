"""Forward pass of ports of the cells, with bugs that can be switched on."""

from __future__ import annotations

import itertools

import numpy as np

GATES = {"rnn": "n", "gru": "rzn", "gru-before": "rzn", "lstm": "ifgo"}


def logistic(a):
    return a.sigmoid() if hasattr(a, "sigmoid") else 0.5 * np.tanh(0.5 * a) + 0.5


def hyperbolic(a):
    return a.tanh() if hasattr(a, "tanh") else np.tanh(a)


def clamp(a):
    return a.clip(0, 1)


class PortForward:
    """Forward of one cell with some bugs, on NumPy arrays and on torch tensors."""

    convention = "canonical"

    def __init__(self, cell, *bugs, dtype="float64"):
        self.cell, self.bugs, self.dtypes = cell, set(bugs), (dtype,)
        self.name = f"{cell} {'/'.join(bugs) or 'right'} {dtype}"
        self.unused = set(bugs)

    def has(self, bug):
        self.unused.discard(bug)
        return bug in self.bugs

    def weights(self, p):
        """Return each gate's slices, as the forward takes them."""
        gates = GATES[self.cell]
        n = p["U"].shape[0]
        cut = {k: slice(j * n, (j + 1) * n) for j, k in enumerate(gates)}
        home = {part: dict(zip(gates, gates, strict=True)) for part in "WUb"}
        for j, k in itertools.combinations(gates, 2):
            for part in "WUb":
                if self.has(f"{j}/{k} swapped in {part}") or self.has(f"{j}/{k} swapped"):
                    home[part][j], home[part][k] = home[part][k], home[part][j]
        take = {k: [p[part][..., cut[home[part][k]]] for part in "WUb"] for k in gates}
        for k in gates:
            if self.has(f"U_{k} transposed"):
                take[k][1] = take[k][1].T
            if self.has(f"b_{k} missing"):
                take[k][2] = take[k][2] * 0
            if self.has(f"b_{k} added twice"):
                take[k][2] = take[k][2] * 2
        if self.has("forget bias + 1"):
            take["f"][2] = take["f"][2] + 1
        if self.has("b_o used for i and f"):
            take["i"][2] = take["f"][2] = take["o"][2]
        return take

    def gate(self, k, a, before):
        if self.has(f"{k} of the step before") and before is not None:
            a = before[f"pre_{k}"]
        if self.has(f"tanh on {k}"):
            return hyperbolic(a)
        if self.has(f"no sigmoid on {k}"):
            return a
        if self.has(f"{k} is 1 - {k}"):
            return 1 - logistic(a)
        if self.has(f"Keras's hard sigmoid on {k}"):
            return clamp(0.2 * a + 0.5)
        if self.has(f"sigmoid twice on {k}"):
            return logistic(logistic(a))
        return logistic(a)

    def unroll(self, p, x, h0, c0):
        """Return everything that each step computes."""
        take, record = self.weights(p), []
        T = len(x)
        h0 = h0 * 0 if self.has("h0 ignored") else h0
        c0 = c0 * 0 if c0 is not None and self.has("c0 ignored") else c0
        h, c = h0, c0
        if c0 is not None and self.has("h0 and c0 exchanged"):
            h, c = c, h
        for t in range(T):
            xt = x[t]
            if self.has("x of the step before"):
                xt = x[max(t - 1, 0)]
            if self.has("x backwards in time"):
                xt = x[T - 1 - t]
            if self.has("every step starts from h0"):
                h = h0
            if self.has("state reset half-way") and t > 0 and t == T // 2:
                h = h * 0
            if self.has("h of two steps before") and t > 1:
                h = record[t - 2]["h"]
            before = record[-1] if record else None
            step = {"x": xt, "was": h, "cwas": c}
            step |= getattr(self, self.cell.partition("-")[0])(p, take, xt, h, c, before)
            record.append(step)
            h, c = step["h"], step.get("c")
        return record

    def linear(self, take, k, x, h):
        w, u, b = take[k]
        return (
            x @ w * (not self.has(f"{k} sees no x")) + h @ u * (not self.has(f"{k} sees no h")) + b
        )

    def rnn(self, p, take, x, h, c, before):
        a = self.linear(take, "n", x, h)
        new = (
            a
            if self.has("no activation")
            else logistic(a)
            if self.has("sigmoid for tanh")
            else hyperbolic(a)
        )
        if self.has("old state kept as well"):
            new = new + h
        if self.has("leaky state"):
            new = (new + h) / 2
        return {"pre_n": a, "h": new}

    def gru(self, p, take, x, h, c, before):
        made = {f"pre_{k}": self.linear(take, k, x, h) for k in "rz"}
        r, z = (self.gate(k, made[f"pre_{k}"], before) for k in "rz")
        w, u, b = take["n"]
        sees = not self.has("n sees no h")
        wx = x @ w * (not self.has("n sees no x"))
        r_used = {
            "reset never applied": r * 0 + 1,
            "reset by the update gate": z,
            "reset of the other polarity": 1 - r,
        }
        used = next((v for bug, v in r_used.items() if self.has(bug)), r)
        if self.cell == "gru":
            inner = p["c_n"] * (not self.has("c_n missing")) * (2 if self.has("c_n twice") else 1)
            product = h @ u * sees + inner
            a = wx + b + used * product
            if self.has("reset before the product"):
                a = wx + b + (used * h) @ u + inner
            if self.has("c_n outside the reset"):
                product = h @ u
                a = wx + b + used * product + inner
            made["q"] = product
        else:
            made["q"] = used * h
            a = wx + b + (used * h) @ u * sees
            if self.has("reset after the product"):
                a = wx + b + used * (h @ u)
        n = (
            a
            if self.has("no tanh on n")
            else logistic(a)
            if self.has("sigmoid on n")
            else hyperbolic(a)
        )
        mix = r if self.has("mix by r") else z
        old = r * h if self.has("reset also in the mix") else h
        new = mix * n + (1 - mix) * old
        if self.has("z missing on the candidate"):
            new = n + (1 - z) * h
        if self.has("1 - z missing on the old state"):
            new = z * n + h
        return made | {"pre_n": a, "r": r, "z": z, "n": n, "h": new}

    def lstm(self, p, take, x, h, c, before):
        made = {f"pre_{k}": self.linear(take, k, x, h) for k in "ifgo"}
        i, f, o = (self.gate(k, made[f"pre_{k}"], before) for k in "ifo")
        a = made["pre_g"]
        g = (
            a
            if self.has("no tanh on g")
            else logistic(a)
            if self.has("sigmoid on g")
            else hyperbolic(a)
        )
        keep, add = f, i
        if self.has("i and f exchanged in c"):
            keep, add = i, f
        if self.has("f is 1 - i"):
            keep = 1 - i
        if self.has("i missing in c"):
            add = 1
        if self.has("f missing in c"):
            keep = 1
        new = keep * c + add * g
        if self.has("f over the sum"):
            new = f * (c + i * g)
        if self.has("i + g"):
            new = f * c + i + g
        m = hyperbolic(new)
        out = o * (new if self.has("no tanh on c") else m)
        if self.has("o missing"):
            out = m
        if self.has("tanh of o c"):
            out = hyperbolic(o * new)
        return made | {"i": i, "f": f, "g": g, "o": o, "c": new, "m": m, "h": out}

    def _initial(self, params, x, h0, c0):
        shape = (x.shape[1], params["U"].shape[0])
        zero = np.zeros(shape, x.dtype)
        return (zero if h0 is None else h0), (
            (zero if c0 is None else c0) if self.cell == "lstm" else None
        )

    def forward(self, params, x, h0, c0=None):
        h0, c0 = self._initial(params, x, h0, c0)
        record = self.unroll(params, x, h0, c0)
        last = record[-1] if record else {"h": h0, "c": c0}
        y = np.stack([s["h"] for s in record]) if record else np.zeros((0, *h0.shape))
        out = (y, last["h"]) + ((last["c"],) if self.cell == "lstm" else ())
        return tuple(np.asarray(a, x.dtype) for a in out)
