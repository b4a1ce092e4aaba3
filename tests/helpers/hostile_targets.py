"""Hostile targets: each a plain RNN that is right but for what its name says."""

from __future__ import annotations

import ctypes
import os
import sys
import time
import warnings

import numpy as np


class CorrectRNN:
    """A plain RNN with hooks `before` and `after` for harm.

    `before` may do harm at the start of each call, and `after` to its results.
    """

    cell = "rnn"

    def before(self, params, x):
        """Do nothing."""

    def after(self, y, h):
        return y, h

    def forward(self, params, x, h0, c0=None):
        self.before(params, x)
        h = np.zeros((x.shape[1], len(params["U"])), x.dtype) if h0 is None else h0.copy()
        y = np.zeros((*x.shape[:2], len(params["U"])), x.dtype)
        for t in range(len(x)):
            h = y[t] = np.tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
        return self.after(y, h.copy())


def define_target(name, before=None, after=None):
    """Define a class of this name whose calls do harm."""
    methods = {"before": before, "after": after}
    made = type(name, (CorrectRNN,), {k: v for k, v in methods.items() if v})
    globals()[name] = made


def on_empty_sequence(harm):
    """Restrict harm to an empty sequence."""
    return lambda self, params, x: harm() if len(x) == 0 else None


def segfault():
    ctypes.string_at(0)


def hold_the_lock():
    ctypes.PyDLL(None).sleep(1000)  # a PyDLL does not release the interpreter's lock


def loop():
    while True:
        time.sleep(0.01)


def hoard():
    kept = []
    while True:
        kept.append(np.ones(2**22))


def interrupt():
    raise KeyboardInterrupt


def fail():
    raise ValueError("no empty sequences here")


def chatter():
    print("\x1b[31mhello from Python")
    print("and on stderr", file=sys.stderr)


def complain():
    os.write(2, b"first this\nout of mappings\n")
    os.abort()


HARMS = {
    "Segfault": segfault,
    "Abort": os.abort,
    "Complain": complain,
    "Exit": lambda: os._exit(3),
    "ExitInC": lambda: ctypes.CDLL(None).exit(0),
    "SystemExit_": lambda: sys.exit(0),
    "Interrupt": interrupt,
    "Loop": loop,
    "LoopInC": hold_the_lock,
    "Hoard": hoard,
    "Fail": fail,
}
"""Harm that a call does in the middle of a check."""

for _name, _harm in HARMS.items():
    define_target(_name, before=on_empty_sequence(_harm))

define_target("Chatter", before=lambda self, params, x: chatter())
define_target("ChatterInC", before=lambda self, params, x: ctypes.CDLL(None).puts(b"hello from C"))
define_target(
    "Warns", before=lambda self, params, x: warnings.warn("old", DeprecationWarning, stacklevel=1)
)
define_target("WrongShape", after=lambda self, y, h: (y[..., None], h))
define_target("WrongDtype", after=lambda self, y, h: (y.astype(complex), h))
define_target("Nothing", after=lambda self, y, h: None)
define_target("NaN", after=lambda self, y, h: (y * np.nan, h))
define_target("InPlace", before=lambda self, params, x: x.__imul__(2))
define_target(
    "Unsteady",
    after=lambda self, y, h: (y + np.random.default_rng().normal(size=y.shape).astype(y.dtype), h),
)
define_target("AlwaysExits", before=lambda self, params, x: os._exit(4))
define_target("ForksAndExits", before=on_empty_sequence(lambda: os.fork() and os._exit(5)))
# The fork ends first, and must not answer.
define_target(
    "ForksAndExitsLate",
    before=on_empty_sequence(lambda: os.fork() and (time.sleep(1), os._exit(5))),
)
