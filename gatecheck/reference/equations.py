"""The cells as named equations.

An equation is a function of a :class:`~gatecheck.reference.scope.Scope`, which holds the terms of
one step by name. A cell is three dictionaries of equations in order of evaluation: `step` (forward,
at one t), `back` (backward, at one t) and `total` (sums over the sequence). Options and faults are
edits of these dictionaries.

Sources: Elman 1990 (RNN); Cho et al. 2014 (GRU, reset before), NVIDIA's cuDNN (reset after); Gers
et al. 2000 (LSTM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.cells import GRU, LSTM, RNN, Cell
from gatecheck.errors import UsageError
from gatecheck.reference.scope import Scope

Equation = Callable[[Any], Any]


@dataclass(frozen=True)
class Equations:
    """A cell's forward and backward equations, and its sums over the sequence."""

    cell: Cell
    step: Mapping[str, Equation]
    back: Mapping[str, Equation]
    total: Mapping[str, Equation]

    def __getitem__(self, name: str) -> Equation:
        return {**self.step, **self.back, **self.total}[name]

    def edited(self, edits: Mapping[str, Equation]) -> Equations:
        """Return the cell with some equations replaced, in the same order.

        Raises
        ------
        UsageError
            If an edit names an equation that the cell does not have.
        """
        unknown = set(edits) - {*self.step, *self.back, *self.total}
        if unknown:
            raise UsageError(f"a {self.cell} has no equation {', '.join(sorted(unknown))}")
        step, back, total = (
            {k: edits.get(k, e) for k, e in part.items()}
            for part in (self.step, self.back, self.total)
        )
        return replace(self, step=step, back=back, total=total)

    def ordered(self, *back: str) -> Equations:
        """Return the cell with its backward equations in another order."""
        return replace(self, back={k: self.back[k] for k in back})


def sigmoid(a: Array) -> Array:
    """Return the logistic function of a real or complex array, without overflow."""
    if not np.iscomplexobj(a):
        real: Array = expit(a)
        return real
    right = a.real >= 0
    e = np.exp(np.where(right, -a, a))
    value: Array = np.where(right, 1, e) / (1 + e)
    return value


def relu(a: Array) -> Array:
    """Return the positive part, by the real part if complex; NaN stays NaN."""
    value: Array = np.where(a.real <= 0, 0, a) if np.iscomplexobj(a) else np.maximum(a, 0)
    return value


def T(matrix: Array) -> Array:
    """Transpose the last two axes."""
    return matrix.swapaxes(-1, -2)


def flat(a: Array) -> Array:
    """Reshape (T, ..., B, N) to (..., T*B, N)."""
    a = a.transpose(*range(1, a.ndim - 2), 0, -2, -1)
    return a.reshape(*a.shape[:-3], -1, a.shape[-1])


def over_time(a: Array, b: Array) -> Array:
    """Sum aᵀb over time and batch."""
    product: Array = T(flat(a)) @ flat(b)
    return product


def rows(a: Array) -> Array:
    """Sum over time and batch."""
    total: Array = flat(a).sum(-2, keepdims=True)
    return total


def _preactivations(gates: Iterable[str]) -> dict[str, Equation]:
    def preactivation(k: str) -> Equation:
        return lambda s: s.x @ s[f"W_{k}"] + s.h_prev @ s[f"U_{k}"] + s[f"b_{k}"]

    return {f"a_{k}": preactivation(k) for k in gates}


def product_sum(delta: str, block: str, gates: Iterable[str]) -> Equation:
    """Return the equation for the sum over gates of delta_k block_kᵀ."""
    first, *rest = gates

    def equation(s: Scope) -> Any:
        out = s[f"{delta}_{first}"] @ T(s[f"{block}_{first}"])
        for k in rest:
            out = out + s[f"{delta}_{k}"] @ T(s[f"{block}_{k}"])
        return out

    return equation


def parameter_sums(gates: Iterable[str]) -> dict[str, Equation]:
    """Return the equations for the gradients of every gate's W, U and b."""

    def sums(k: str) -> dict[str, Equation]:
        return {
            f"dW_{k}": lambda q: over_time(q.x, q[f"da_{k}"]),
            f"dU_{k}": lambda q: over_time(q.h_prev, q[f"da_{k}"]),
            f"db_{k}": lambda q: rows(q[f"da_{k}"]),
        }

    return {name: equation for k in gates for name, equation in sums(k).items()}


_CARRIED: dict[str, Equation] = dict(
    dh_next=lambda s: s.after.dh_prev if s.after else s.dhT,
    dh=lambda s: s.dy + s.dh_next,
)
_H_PREV: dict[str, Equation] = dict(h_prev=lambda s: s.before.h if s.before else s.h0)
_DH0: dict[str, Equation] = dict(dh0=lambda q: q.first.dh_prev)

_RNN = Equations(
    RNN(),
    step=_H_PREV | _preactivations("n") | dict(h=lambda s: np.tanh(s.a_n)),
    back=_CARRIED
    | dict(
        da_n=lambda s: s.dh * (1 - s.h**2),
        dx=product_sum("da", "W", "n"),
        dh_prev=product_sum("da", "U", "n"),
    ),
    total=parameter_sums("n") | _DH0,
)

_LSTM = Equations(
    LSTM(),
    step=_H_PREV
    | dict(c_prev=lambda s: s.before.c if s.before else s.c0)
    | _preactivations("ifgo")
    | dict(
        i=lambda s: sigmoid(s.a_i),
        f=lambda s: sigmoid(s.a_f),
        g=lambda s: np.tanh(s.a_g),
        o=lambda s: sigmoid(s.a_o),
        c=lambda s: s.f * s.c_prev + s.i * s.g,
        m=lambda s: np.tanh(s.c),
        h=lambda s: s.o * s.m,
    ),
    back=_CARRIED
    | dict(
        dc_next=lambda s: s.after.dc_prev if s.after else s.dcT,
        do=lambda s: s.dh * s.m,
        dm=lambda s: s.dh * s.o,
        dc=lambda s: s.dm * (1 - s.m**2) + s.dc_next,
        di=lambda s: s.dc * s.g,
        df=lambda s: s.dc * s.c_prev,
        dg=lambda s: s.dc * s.i,
        dc_prev=lambda s: s.dc * s.f,
        da_i=lambda s: s.di * s.i * (1 - s.i),
        da_f=lambda s: s.df * s.f * (1 - s.f),
        da_g=lambda s: s.dg * (1 - s.g**2),
        da_o=lambda s: s.do * s.o * (1 - s.o),
        dx=product_sum("da", "W", "ifgo"),
        dh_prev=product_sum("da", "U", "ifgo"),
    ),
    total=parameter_sums("ifgo") | _DH0 | dict(dc0=lambda q: q.first.dc_prev),
)

_GRU = Equations(
    GRU(),
    step=_H_PREV
    | _preactivations("rz")
    | dict(
        r=lambda s: sigmoid(s.a_r),
        z=lambda s: sigmoid(s.a_z),
        q=lambda s: s.h_prev @ s.U_n + s.c_n,
        a_n=lambda s: s.x @ s.W_n + s.b_n + s.r * s.q,
        n=lambda s: np.tanh(s.a_n),
        h=lambda s: s.z * s.n + (1 - s.z) * s.h_prev,
    ),
    back=_CARRIED
    | dict(
        dz=lambda s: s.dh * (s.n - s.h_prev),
        dn=lambda s: s.dh * s.z,
        da_n=lambda s: s.dn * (1 - s.n**2),
        dr=lambda s: s.da_n * s.q,
        dq=lambda s: s.da_n * s.r,
        da_r=lambda s: s.dr * s.r * (1 - s.r),
        da_z=lambda s: s.dz * s.z * (1 - s.z),
        dx=product_sum("da", "W", "rzn"),
        dh_prev=lambda s: (
            s.dh * (1 - s.z) + s.da_r @ T(s.U_r) + s.da_z @ T(s.U_z) + s.dq @ T(s.U_n)
        ),
    ),
    total=parameter_sums("rzn")
    | _DH0
    | dict(dU_n=lambda q: over_time(q.h_prev, q.dq), dc_n=lambda q: rows(q.dq)),
)


def _without(part: Mapping[str, Equation], name: str) -> dict[str, Equation]:
    return {k: e for k, e in part.items() if k != name}


# The reset before the product with U_n; dr then depends on dq, so the two are swapped.
_GRU_BEFORE = replace(
    _GRU.edited(
        dict(
            q=lambda s: s.r * s.h_prev,
            a_n=lambda s: s.x @ s.W_n + s.b_n + s.q @ s.U_n,
            dq=lambda s: s.da_n @ T(s.U_n),
            dr=lambda s: s.dq * s.h_prev,
            dh_prev=lambda s: s.dh * (1 - s.z) + s.da_r @ T(s.U_r) + s.da_z @ T(s.U_z) + s.dq * s.r,
            dU_n=lambda q: over_time(q.q, q.da_n),
        )
    ).ordered("dh_next", "dh", "dz", "dn", "da_n", "dq", "dr", "da_r", "da_z", "dx", "dh_prev"),
    cell=GRU("before"),
    total=_without(_GRU.edited(dict(dU_n=lambda q: over_time(q.q, q.da_n))).total, "dc_n"),
)

_ACTIVATION: dict[str, dict[str, Equation]] = {
    "tanh": {},
    "relu": dict(h=lambda s: relu(s.a_n), da_n=lambda s: s.dh * (s.a_n > 0)),
    "sigmoid": dict(h=lambda s: sigmoid(s.a_n), da_n=lambda s: s.dh * s.h * (1 - s.h)),
}


def plain(cell: Cell) -> Equations:
    """Return the textbook equations of a cell.

    They lack the options of :mod:`gatecheck.reference.options`.
    """
    if cell.kind == "rnn":
        return replace(_RNN.edited(_ACTIVATION[cell.activation]), cell=cell)
    return _LSTM if cell.kind == "lstm" else _GRU_BEFORE if cell.reset == "before" else _GRU
