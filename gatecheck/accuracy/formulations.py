"""Formulations of a cell: an ensemble of correct implementations.

They differ in all that frameworks differ in, and their errors are what a budget has to cover. Each
is the reference with some equations rewritten and with a separate arithmetic. Both are exact where
arithmetic is, and :func:`require_correct` refuses one that is not. The sources that ``gatecheck
conventions`` names show which framework uses which equations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.accuracy.arithmetic import Arithmetic, arithmetic_array_type
from gatecheck.cases import Case
from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.errors import InputError
from gatecheck.reference import Equations, equations, run
from gatecheck.reference.equations import Equation, T, sigmoid

Replacements = Mapping[str, Equation]


# ---- equations rewritten; a cell with options keeps those of the textbook


def _textbook(_: Equations) -> Replacements:
    return {}


def _recurrent_gradient(s: Any) -> Any:
    return s.da_r @ T(s.U_r) + s.da_z @ T(s.U_z) + s.dq @ T(s.U_n)


def _copy_gate(s: Any) -> Any:
    """Return the gate 1 - z of most frameworks, whose weights are those of z negated."""
    return sigmoid(-s.a_z)


def _convex(base: Equations) -> Replacements:
    """Return h' = (1 - k) n + k h, where the gate k = σ(-a) keeps the state."""
    if base.cell != GRU():
        return {}
    return dict(
        h=lambda s: (1 - _copy_gate(s)) * s.n + _copy_gate(s) * s.h_prev,
        dn=lambda s: s.dh * (1 - _copy_gate(s)),
        da_z=lambda s: s.dz * _copy_gate(s) * (1 - _copy_gate(s)),
        dh_prev=lambda s: s.dh * _copy_gate(s) + _recurrent_gradient(s),
    )


def _lerp(base: Equations) -> Replacements:
    """Return h' = n + k (h - n): what k keeps, the candidate's gradient loses."""
    if base.cell != GRU():
        return {}
    return dict(
        h=lambda s: s.n + _copy_gate(s) * (s.h_prev - s.n),
        dn=lambda s: s.dh - s.dh * _copy_gate(s),
        da_z=lambda s: s.dz * (_copy_gate(s) * (1 - _copy_gate(s))),
        dh_prev=lambda s: s.dh * _copy_gate(s) + _recurrent_gradient(s),
    )


def _factored_slopes(base: Equations) -> Replacements:
    """Return slopes of tanh as (d + d y)(1 - y), of sigmoid as d (y (1 - y))."""

    def sigmoid_slope(k: str) -> Equation:
        return lambda s: s[f"d{k}"] * (s[k] * (1 - s[k]))

    def tanh_slope(k: str, d: str) -> Equation:
        return lambda s: (s[d] + s[d] * s[k]) * (1 - s[k])

    gates = {f"da_{k}": sigmoid_slope(k) for k in base.cell.sigmoid_gates}
    if base.cell == RNN():
        return dict(da_n=tanh_slope("h", "dh"))
    if base.cell == GRU():
        return gates | dict(da_n=tanh_slope("n", "dn"))
    if base.cell == LSTM():
        return gates | dict(
            da_g=tanh_slope("g", "dg"), dc=lambda s: tanh_slope("m", "dm")(s) + s.dc_next
        )
    return {}


def _affine_gates(base: Equations) -> tuple[str, ...]:
    """Return the gates whose preactivation is affine in x and h."""
    if base.cell not in (RNN(), GRU(), LSTM()):
        return ()
    return tuple(k for k in base.cell.gates if base.cell != GRU() or k != "n")


def _bias_first(base: Equations) -> Replacements:
    """Return preactivations as (x W + b) + h U."""

    def preactivation(k: str) -> Equation:
        return lambda s: (s.x @ s[f"W_{k}"] + s[f"b_{k}"]) + s.h_prev @ s[f"U_{k}"]

    return {f"a_{k}": preactivation(k) for k in _affine_gates(base)}


def _one_product(base: Equations) -> Replacements:
    """Return [x, h] times [W; U] as one sum.

    Backwards, the deltas of all gates times all of W or U are one sum each.
    """

    def preactivation(k: str) -> Equation:
        return lambda s: (
            np.concatenate([s.x, s.h_prev], -1) @ np.concatenate([s[f"W_{k}"], s[f"U_{k}"]], -2)
            + s[f"b_{k}"]
        )

    def product(block: str) -> Equation:
        gates = base.cell.gates
        return lambda s: (
            np.concatenate([s[f"da_{k}"] for k in gates], -1)
            @ np.concatenate([T(s[f"{block}_{k}"]) for k in gates], -2)
        )

    forward = {f"a_{k}": preactivation(k) for k in _affine_gates(base)}
    return forward | (
        dict(dx=product("W"), dh_prev=product("U")) if base.cell in (RNN(), LSTM()) else {}
    )


REWRITES: Mapping[str, Callable[[Equations], Replacements]] = {
    "textbook": _textbook,  # Haiku, DyNet
    "convex": _convex,  # Keras, ONNX, Flax, MLX, cuDNN, oneDNN
    "towards": _lerp,  # PyTorch, Equinox
    "slopes": _factored_slopes,  # JAX
    "bias first": _bias_first,  # PyTorch, Keras, ONNX Runtime
    "one product": _one_product,  # TensorFlow 1, Haiku, DyNet
}


@dataclass(frozen=True)
class Formulation:
    """One correct implementation: a key of :data:`REWRITES`, and an arithmetic."""

    rewrite: str
    arithmetic: Arithmetic

    @property
    def name(self) -> str:
        """Name of the formulation in reports."""
        by = self.arithmetic
        return f"{self.rewrite}; {by.sigmoid}; {by.tanh}; {by.order}"

    def run(self, case: Case, dtype: np.dtype[Any] | None = None) -> dict[str, Array]:
        """Return the results and gradients of a case, in its own dtype or another.

        Raises
        ------
        InputError
            If the case has lengths, which frameworks treat in too many different ways.
        """
        if "lengths" in case.arrays:
            raise InputError("formulations compute whole sequences, but this case has lengths")
        array_type = arithmetic_array_type(self.arithmetic)
        base = equations(case.cell)
        arrays = {k: v.astype(dtype or case.dtype).view(array_type) for k, v in case.arrays.items()}
        with np.errstate(all="ignore"):
            return {
                k: v.view(np.ndarray)
                for k, v in run(base.edited(REWRITES[self.rewrite](base)), arrays).items()
            }


FORMULATIONS = tuple(
    Formulation(written, Arithmetic(*by))
    for written, *by in (
        ("textbook", "e^a / (1 + e^a) below 0", "library", "forwards"),
        ("textbook", "1 / (1 + e^-a)", "expm1", "pairwise"),
        ("textbook", "1 - sigma(-a)", "polynomials", "permuted"),
        ("convex", "1 / (1 + e^-a)", "polynomials", "eight lanes"),
        ("convex", "(1 + tanh(a / 2)) / 2", "polynomials", "forwards"),
        ("convex", "1 - sigma(-a)", "(e^2a - 1) / (e^2a + 1)", "backwards"),
        ("towards", "1 / (1 + e^-a)", "library", "eight lanes"),
        ("towards", "(1 + tanh(a / 2)) / 2", "2 sigma(2a) - 1", "permuted"),
        ("slopes", "1 / (1 + e^-a)", "polynomials", "forwards"),
        ("slopes", "1 - sigma(-a)", "2 sigma(2a) - 1", "pairwise"),
        ("bias first", "(1 + tanh(a / 2)) / 2", "library", "backwards"),
        ("bias first", "e^a / (1 + e^a) below 0", "1 - 2 / (e^2a + 1)", "eight lanes"),
        ("one product", "1 - sigma(-a)", "polynomials", "forwards"),
        ("one product", "(1 + tanh(a / 2)) / 2", "(e^2a - 1) / (e^2a + 1)", "permuted"),
    )
)
"""Ensemble with every rewriting, sigmoid, tanh and order at least twice.

Each occurs in different combinations.
"""


def require_correct(
    formulation: Formulation, case: Case, true: Mapping[str, Array], tolerance: Mapping[str, Array]
) -> None:
    """Refuse a formulation that is not the mathematics of the cell.

    Run in the finer format of the true values, it must agree with them.

    Parameters
    ----------
    formulation
        The formulation.
    case, true
        A case, and its true values in a finer format.
    tolerance
        By how much it may be off, entry by entry; infinity in places that cannot be judged.

    Raises
    ------
    InputError
        If it is off by more somewhere.
    """
    results = formulation.run(case, next(iter(true.values())).dtype)
    for name, exact in true.items():
        error = np.abs(results[name] - exact)
        if not (error <= tolerance[name]).all():
            worst = float(np.nanmax(error / tolerance[name]))
            raise InputError(
                f"the formulation {formulation.name!r} of a {case.cell} is wrong: in "
                f"{results[name].dtype} its {name} is off by {worst:.3g} times what an exact "
                "formula may be; correct its equations or its arithmetic"
            )
