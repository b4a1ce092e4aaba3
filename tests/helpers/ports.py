"""Ports of the cells as people write them, with bugs that can be switched on.

They are independent of the reference equations. The forward runs on NumPy arrays and on torch
tensors. The backward is written by hand, or is torch's autograd through the faulty forward. Bugs
have the names of the catalogue's faults, so that a diagnosis can be scored.
"""

from __future__ import annotations

import numpy as np

from helpers.port_forward import GATES, PortForward


class Port(PortForward):
    """A cell with some bugs, and a backward by hand without the forward's bugs."""

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        gates, has = GATES[self.cell], self.has
        h0, c0 = self._initial(params, x, h0, c0)
        record, n = self.unroll(params, x, h0, c0), h0.shape[-1]
        W, U = ({k: params[p][:, j * n : (j + 1) * n] for j, k in enumerate(gates)} for p in "WU")
        grad = {k: np.zeros_like(v) for k, v in params.items()}
        parts = {
            name: {k: grad[name][..., j * n : (j + 1) * n] for j, k in enumerate(gates)}
            for name in "WUb"
        }
        dx = np.zeros_like(x)
        dy = np.zeros((*x.shape[:2], n), x.dtype) if dy is None else dy
        dh = np.zeros_like(h0) if dhT is None or has("dhT ignored") else dhT.copy()
        dc = np.zeros_like(h0) if dcT is None or has("dcT ignored") else dcT.copy()
        T = len(x)
        for t in reversed(range(T)):
            s = record[t] | {"h_first": t == 0, "before": record[max(t - 1, 0)]}
            dh, dc = (
                dh * (2 if has("dh carried twice") else 1),
                dc * (2 if has("dc carried twice") else 1),
            )
            if t < T - 1:
                dh = dh * (not has("dh not carried"))
                if has("truncated after 2 steps") and (T - 1 - t) % 2 == 0:
                    dh = dh * 0
                dc = dc * (not has("dc not carried"))
            out = dy[t] * (t == T - 1) if has("dy of the last step only") else dy[t]
            delta, dh, dc = getattr(self, f"_{self.cell.partition('-')[0]}_back")(
                s, out, dh, dc, W, U, params
            )
            for k in gates:
                own = delta[k]
                dx[t] += (own @ W[k].T) * (not has(f"{k} missing in dx"))
                summed = own
                if has("mean over the batch"):
                    summed = own / x.shape[1]
                if has("first row only in the sums"):
                    summed = own * (np.arange(len(own)) == 0)[:, None]
                if has("last step only in the sums"):
                    summed = own * (t == T - 1)
                parts["W"][k] += x[t].T @ summed * (not has(f"dW_{k} missing"))
                bias = (
                    summed / x.shape[1] if has("bias gradients averaged over the batch") else summed
                )
                parts["b"][k] += bias.sum(0) * (not has(f"db_{k} missing"))
                seen = (
                    s["h"]
                    if has("dU with h for h_prev") or has(f"dU_{k} with h for h_prev")
                    else s["was"]
                )
                if t == 0 and has("dU without h0"):
                    seen = seen * 0
                at = summed
                if k == "n" and self.cell == "gru":
                    at = summed if has("r missing in dU_n") else summed * s["r"]
                    grad["c_n"] += (summed * s["r"]).sum(0) * (not has("dc_n missing"))
                if k == "n" and self.cell == "gru-before":
                    kept = s["q"] if seen is s["was"] else s["r"] * seen
                    seen = seen if has("r missing in dU_n") else kept
                parts["U"][k] += seen.T @ at
        states = {"h0": dh * (not has("dh0 missing"))} | (
            {"c0": dc * (not has("dc0 missing"))} if self.cell == "lstm" else {}
        )
        dx = dx * (not has("dx missing"))
        return {k: np.asarray(v, x.dtype) for k, v in {**grad, "x": dx, **states}.items()}

    def _through(self, k, delta, U):
        share = delta @ (U if self.has(f"U_{k} for its transpose") else U.T)
        return (
            share
            * (not self.has(f"{k} missing in dh"))
            * (2 if self.has(f"{k} twice in dh") else 1)
        )

    def _slope(self, k, d, s, kind):
        at = s["before"] if self.has(f"slope of {k} of the step before") else s
        v = at["h" if self.cell == "rnn" else k]
        if self.has(f"slope of {k} missing"):
            return d
        kind = (
            {"s": "t", "t": "s"}[kind]
            if self.has(f"slope of {k} as if {'tanh' if kind == 's' else 'a sigmoid'}")
            else kind
        )
        made = d * (v * (1 - v) if kind == "s" else 1 - v * v)
        return -made if self.has(f"delta of {k}: sign") else made

    def _rnn_back(self, s, dy, dh, dc, W, U, p):
        d = self._slope("n", dy + dh, s, "t")
        return {"n": d}, self._through("n", d, U["n"]), dc

    def _gru_back(self, s, dy, dh, dc, W, U, p):
        has, d = self.has, dy + dh
        was, n, z, r = s["was"], s["n"], s["z"], s["r"]
        dz = (dy if has("dz from dy only") else d) * (
            n * (not has("dz without the candidate")) - was * (not has("dz without the old state"))
        )
        if has("dz with h for h_prev"):
            dz = d * (n - s["h"])
        dn = d * (
            1
            if has("z missing in dn")
            else 1 - z
            if has("1 - z in dn")
            else r
            if has("r in dn")
            else z
        )
        dn = self._slope("n", dn, s, "t")
        carried = d * (
            z if has("z for 1 - z in dh") else 1 if has("1 - z missing in dh") else 1 - z
        )
        carried = carried * (not has("copy path missing in dh"))
        if self.cell == "gru":
            q = (
                s["q"] - p["c_n"]
                if has("c_n missing in dr")
                else was
                if has("dr with h_prev for q")
                else s["q"]
            )
            inner = dn * (1 if has("reset factor missing in dh") else r)
            dr, back = dn * q, self._through("n", inner, U["n"])
        else:
            dq = self._through("n", dn, U["n"])
            dr = (
                dn * was
                if has("dr before U_n")
                else dq * (s["h"] if has("dr with h for h_prev") else was)
            )
            back = dq * (
                1 if has("reset factor missing in dh") else z if has("z for r in dh") else r
            )
        dr, dz = self._slope("r", dr, s, "s"), self._slope("z", dz, s, "s")
        carried = carried + self._through("r", dr, U["r"]) + self._through("z", dz, U["z"]) + back
        return {"r": dr, "z": dz, "n": dn}, carried, dc

    def _lstm_back(self, s, dy, dh, dc, W, U, p):
        has, d = self.has, dy + dh
        i, f, g, o, m, cwas = (s[k] for k in ("i", "f", "g", "o", "m", "cwas"))
        do = (dy if has("do from dy only") else d) * (s["c"] if has("do with c for tanh c") else m)
        slope = (
            1
            if has("tanh' missing in dc")
            else (1 - s["c"] ** 2)
            if has("tanh' from c itself")
            else 1 - m * m
        )
        d = d * (1 if has("o missing in dc") else o) * slope + dc
        di = d * (i if has("di with i for g") else cwas if has("di with c_prev for g") else g)
        dg = d * (1 if has("i missing in dg") else f if has("dg with f for i") else i)
        seen = (
            s["c"] if has("c where c_prev belongs") else g if has("df with g for c_prev") else cwas
        )
        df = d * seen * (not (s["h_first"] and has("df without c0")))
        if has("di and df exchanged"):
            di, df = d * seen, d * g
        kept = d * (
            1
            if has("f missing in dc")
            else i
            if has("i for f in dc")
            else 1 - f
            if has("1 - f in dc")
            else f
        )
        delta = {"i": self._slope("i", di, s, "s"), "f": self._slope("f", df, s, "s")}
        delta |= {"g": self._slope("g", dg, s, "t"), "o": self._slope("o", do, s, "s")}
        return delta, sum(self._through(k, v, U[k]) for k, v in delta.items()), kept


class Autograd(Port):
    """The same forward in torch, with gradients by autograd."""

    def __init__(self, cell, *bugs, dtype="float64"):
        super().__init__(cell, *bugs, dtype=dtype)
        self.name = f"autograd {self.name}"

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        import torch

        h0, c0 = self._initial(params, x, h0, c0)
        given = {**params, "x": x, "h0": h0} | ({"c0": c0} if self.cell == "lstm" else {})
        leaves = {k: torch.tensor(v, requires_grad=True) for k, v in given.items()}
        record = self.unroll(
            {k: leaves[k] for k in params}, leaves["x"], leaves["h0"], leaves.get("c0")
        )
        last = record[-1] if record else {"h": leaves["h0"], "c": leaves.get("c0")}
        outputs = [(torch.stack([s["h"] for s in record]), dy)] if record else []
        outputs += [(last["h"], dhT)] + ([(last["c"], dcT)] if self.cell == "lstm" else [])
        loss = sum((out * torch.tensor(d)).sum() for out, d in outputs if d is not None)
        if not isinstance(loss, int):
            loss.backward()
        return {
            k: np.zeros_like(given[k]) if v.grad is None else v.grad.numpy()
            for k, v in leaves.items()
        }
