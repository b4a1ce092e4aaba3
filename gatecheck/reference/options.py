"""Options of a cell as edits of its forward and backward equations.

Each edits the result of the previous ones.

Sources: Gers & Schmidhuber 2000 (peepholes), Greff et al. 2017 (coupled gates), Sak et al. 2014
(cell clip), ONNX's and Keras's operators (hard sigmoids), TensorFlow 1 (run-time forget bias), Sak
et al. 2014 (projection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.reference.equations import (
    Equation,
    Equations,
    T,
    over_time,
    parameter_sums,
    plain,
    product_sum,
    rows,
)


def _ordered(part: Mapping[str, Equation], names: str) -> dict[str, Equation]:
    return {name: part[name] for name in names.split()}


def coupled(base: Equations) -> Equations:
    """Couple the gates: i = 1 - f, so that only f has weights."""
    edits: dict[str, Equation] = dict(
        i=lambda s: 1 - s.f,
        df=lambda s: s.dc * (s.c_prev - s.g),
        dx=product_sum("da", "W", "fgo"),
        dh_prev=product_sum("da", "U", "fgo"),
    )
    new = base.edited(edits)
    return replace(
        new,
        step=_ordered(new.step, "h_prev c_prev a_f a_g a_o f i g o c m h"),
        back=_ordered(
            new.back, "dh_next dh dc_next do dm dc df dg dc_prev da_f da_g da_o dx dh_prev"
        ),
        total=parameter_sums("fgo") | {k: new.total[k] for k in ("dh0", "dc0")},
    )


def peepholes(base: Equations) -> Equations:
    """Add peepholes a_k + p_k c: i and f read the old cell state, o the new one."""
    before = [k for k in "if" if f"a_{k}" in base.step]

    def seeing(k: str, c: str) -> Equation:
        return lambda s: base.step[f"a_{k}"](s) + s[f"p_{k}"] * s[c]

    def share(k: str, c: str) -> Equation:
        return lambda q: rows(q[f"da_{k}"] * q[c])

    def dc_prev(s: Any) -> Any:
        out = base.back["dc_prev"](s)
        for k in before:
            out = out + s[f"da_{k}"] * s[f"p_{k}"]
        return out

    edits: dict[str, Equation] = {f"a_{k}": seeing(k, "c_prev") for k in before}
    edits |= dict(
        a_o=seeing("o", "c"), dc=lambda s: base.back["dc"](s) + s.da_o * s.p_o, dc_prev=dc_prev
    )
    new = base.edited(edits)
    back = [k for k in new.back if k not in ("da_o", "dc_prev")]
    back.insert(back.index("dc"), "da_o")
    back.insert(back.index("dx"), "dc_prev")
    late = ["a_o", "o", "m", "h"]
    return replace(
        new,
        step={k: new.step[k] for k in (*(k for k in new.step if k not in late), *late)},
        back={k: new.back[k] for k in back},
        total=dict(new.total)
        | {f"dp_{k}": share(k, "c_prev") for k in before}
        | {"dp_o": share("o", "c")},
    )


def clipped(base: Equations, clip: float) -> Equations:
    """Clip c' to ±clip; beyond, its slope is zero."""
    edits: dict[str, Equation] = dict(
        c=lambda s: np.minimum(np.maximum(base.step["c"](s), -clip), clip),
        dc=lambda s: base.back["dc"](s) * (abs(s.c) < clip),
    )
    return base.edited(edits)


def hard_gates(base: Equations, width: float) -> Equations:
    """Make every gate min(max(a/width + ½, 0), 1).

    Its slope is 1/width inside and zero beyond.
    """

    def gate(k: str) -> Equation:
        return lambda s: np.minimum(np.maximum(s[f"a_{k}"] / width + 0.5, 0), 1)

    def slope(k: str) -> Equation:
        return lambda s: s[f"d{k}"] * ((s[k] > 0) & (s[k] < 1)) / width

    gates = base.cell.sigmoid_gates
    return base.edited({k: gate(k) for k in gates} | {f"da_{k}": slope(k) for k in gates})


def forget_bias(base: Equations, bias: float) -> Equations:
    """Add a constant, which is not a parameter, to the forget gate's preactivation."""
    return base.edited(dict(a_f=lambda s: base.step["a_f"](s) + bias))


def projected(base: Equations) -> Equations:
    """Project the output: h' = v R, where v is the output without projection."""
    step = {("v" if k == "h" else k): e for k, e in base.step.items()} | {"h": lambda s: s.v @ s.R}
    back: dict[str, Equation] = {}
    for name, equation in base.back.items():
        if name == "do":  # the first that depends on dh
            back |= {"dr": lambda s: s.dh, "dv": lambda s: s.dr @ T(s.R)}
        back[name] = equation
    inner: dict[str, Equation] = dict(do=lambda s: s.dv * s.m, dm=lambda s: s.dv * s.o)
    return replace(
        base,
        step=step,
        back=back | inner,
        total=dict(base.total) | {"dR": lambda q: over_time(q.v, q.dr)},
    )


def masked(base: Equations) -> Equations:
    """Hold the state where ``s.valid`` is false, and pass gradients through unchanged.

    The caller sets the inputs and the cotangents of such steps to zero.
    """

    def hold(name: str) -> Equation:
        return lambda s: np.where(s.valid, base.step[name](s), s[f"{name}_prev"])

    def cut(name: str) -> Equation:
        return lambda s: np.where(s.valid, base.back[name](s), 0 * s.dh[..., :1])

    def passed(name: str) -> Equation:
        return lambda s: np.where(s.valid, base.back[f"{name}_prev"](s), s[f"{name}_next"])

    states = [k[1:-1] for k in ("dh0", "dc0") if k in base.total]
    edits = {k: hold(k) for k in states} | {f"d{k}_prev": passed(f"d{k}") for k in states}
    edits |= {k: cut(k) for k in base.back if k.startswith("da_") or k == "dr"}
    return base.edited(edits)


def equations(cell: Cell) -> Equations:
    """Return the equations of a cell with its options, or of each layer of a network."""
    result = plain(cell)
    if cell.hard is not None:
        result = hard_gates(result, cell.hard)
    if cell.coupled:
        result = coupled(result)
    if cell.forget_bias:
        result = forget_bias(result, cell.forget_bias)
    if cell.peepholes:
        result = peepholes(result)
    if cell.clip is not None:  # after the peepholes, since that of o reads the clipped state
        result = clipped(result, cell.clip)
    if cell.projection is not None:
        result = projected(result)
    return replace(result, cell=cell)
