"""Files that commands audit, and a shell that runs the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HAND_WRITTEN = '''
"""An LSTM by hand, in PyTorch's convention."""
import numpy as np


def sigmoid(a):
    return 0.5 * (1 + np.tanh(a / 2))


class MyLSTM:
    cell = "lstm"
    convention = "pytorch"

    def forward(self, params, x, h0, c0=None):
        return self.run(params, x, h0, c0)[:3]

    def run(self, params, x, h0, c0):
        b = params["bias_ih_l0"] + params["bias_hh_l0"]
        H, (T, B, _) = len(b) // 4, x.shape
        h = np.zeros((B, H), x.dtype) if h0 is None else h0
        c = np.zeros((B, H), x.dtype) if c0 is None else c0
        y, tape = np.zeros((T, B, H), x.dtype), []
        for t in range(T):
            a = x[t] @ params["weight_ih_l0"].T + h @ params["weight_hh_l0"].T + b
            i, f, g, o = np.split(a, 4, axis=1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            tape.append((i, f, g, o, c, h))
            c = f * c + i * g
            h = y[t] = o * np.tanh(c)
        return y, h, c, tape

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        W, U = params["weight_ih_l0"], params["weight_hh_l0"]
        y, h, c, tape = self.run(params, x, h0, c0)
        dh = np.zeros_like(h) if dhT is None else dhT
        dc = np.zeros_like(h) if dcT is None else dcT
        dW, dU, dx = np.zeros_like(W), np.zeros_like(U), np.zeros_like(x)
        db = np.zeros(len(W), x.dtype)
        for t in reversed(range(len(x))):
            i, f, g, o, c, h = tape[t]
            dh = dh if dy is None else dh + dy[t]
            m = np.tanh(f * c + i * g)
            dc = dc + dh * o * (1 - m * m)
            di, df = dc * g * i * (1 - i), dc * c * f * (1 - f)
            dg, do = dc * i * (1 - g * g), dh * m * o * (1 - o)
            da = np.concatenate([di, df, dg, do], axis=1)
            dW, dU, db = dW + da.T @ x[t], dU + da.T @ h, db + da.sum(0)
            dx[t], dh = da @ W, da @ U
            dc = dc * f
        gradients = {"weight_ih_l0": dW, "weight_hh_l0": dU, "bias_ih_l0": db, "bias_hh_l0": db}
        return gradients | {"x": dx, "h0": dh, "c0": dc}
'''
DROPS_FORGET = HAND_WRITTEN.replace("            dc = dc * f\n", "")
TARGETS = {
    "correct.py": HAND_WRITTEN,
    "broken.py": DROPS_FORGET,
    "crashes.py": HAND_WRITTEN.replace("b = params", "b = params['no such']; b = params"),
    "import_error.py": "1 / 0",
    "no_class.py": "x = 1",
    "exits.py": "import sys; sys.exit(0)",
    "exits_later.py": HAND_WRITTEN.replace(
        "return self.run", "raise SystemExit(0); return self.run"
    ),
    "tells.py": HAND_WRITTEN.replace(
        "return self.run", "open('begun', 'w').close(); return self.run"
    ),
    "interrupted.py": HAND_WRITTEN.replace(
        "return self.run", "raise KeyboardInterrupt; return self.run"
    ),
}
TARGETS["net.py"] = """
import torch


class Net(torch.nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.layer = torch.nn.GRU(inputs, hidden)

    def forward(self, x, h=None):
        return self.layer(x, h)
"""
ONE_PROPERTY = ("--profile", "quick", "--only", "gradients_within_budget")


def shell(command, **more):
    """Run a command in a shell; return exit status, output and errors."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"PATH": path, **more},
    )
    return done.returncode, done.stdout, done.stderr
