"""Certified outputs and gradients of a case.

The cells are written here a third time, forward alone and row by row, independently of
:mod:`gatecheck.reference` and the kernels: gradients come from the forward via
:mod:`gatecheck.oracles.certified`.

Sources: as in :mod:`gatecheck.reference.equations` and :mod:`gatecheck.reference.options`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import layer_params, split
from gatecheck.oracles.ball_arithmetic import arb, clip, sigmoid, tanh
from gatecheck.oracles.certified import MAX_BITS, CertifiedValues, Enclosures, enclose, refine

States = Mapping[str, Array]
Parts = Mapping[str, Array]


def _gate(cell: Cell, a: Array) -> Array:
    """Return a gate of its preactivation.

    The complement 1 - gate(a) is gate(-a), which loses no digits where the gate is almost 1.
    """
    return sigmoid(a) if cell.hard is None else clip(a / cell.hard + 0.5, 0.0, 1.0)


def _affine(p: Parts, k: str, x: Array, h: Array) -> Array:
    a: Array = x @ p[f"W_{k}"] + h @ p[f"U_{k}"] + p[f"b_{k}"]
    return a


def _rnn(cell: Cell, p: Parts, x: Array, s: States) -> dict[str, Array]:
    a = _affine(p, "n", x, s["h"])
    return {
        "h": tanh(a)
        if cell.activation == "tanh"
        else sigmoid(a)
        if cell.activation == "sigmoid"
        else clip(a, 0.0, np.inf)
    }


def _gru(cell: Cell, p: Parts, x: Array, s: States) -> dict[str, Array]:
    h = s["h"]
    r, a_z = _gate(cell, _affine(p, "r", x, h)), _affine(p, "z", x, h)
    recurrent = (r * h) @ p["U_n"] if cell.reset == "before" else r * (h @ p["U_n"] + p["c_n"])
    n = tanh(x @ p["W_n"] + p["b_n"] + recurrent)
    return {"h": _gate(cell, a_z) * n + _gate(cell, -a_z) * h}


def _lstm(cell: Cell, p: Parts, x: Array, s: States) -> dict[str, Array]:
    h, c = s["h"], s["c"]

    def a(k: str, state: Array) -> Array:
        return _affine(p, k, x, h) + (p[f"p_{k}"] * state if cell.peepholes else 0)

    a_f = a("f", c) + cell.forget_bias
    i = _gate(cell, -a_f if cell.coupled else a("i", c))
    c = _gate(cell, a_f) * c + i * tanh(_affine(p, "g", x, h))
    if cell.clip is not None:
        c = clip(c, -cell.clip, cell.clip)
    h = _gate(cell, a("o", c)) * tanh(c)
    return {"h": h if cell.projection is None else h @ p["R"], "c": c}


_STEPS: dict[str, Callable[[Cell, Parts, Array, States], dict[str, Array]]] = {
    "rnn": _rnn,
    "gru": _gru,
    "lstm": _lstm,
}


def forward(cell: Cell, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Run one row of a network, and return y and the final states.

    y is ``(T, P)``, or with both directions ``(T, 2P)``; the states are ``(N, P)`` and ``(N, H)``.

    Parameters
    ----------
    cell
        Cell with any options.
    arrays
        Arrays of balls: canonical parameters, ``x (T, D)`` and the initial states ``(N, P)`` and
        ``(N, H)``, N for layers and directions.
    """
    sequence: Sequence[Array] = list(arrays["x"])
    final: dict[str, list[Array]] = {k: [] for k in cell.state}
    for layer in range(cell.layers):
        sides = []
        for direction in range(cell.directions):
            n = layer * cell.directions + direction
            parts = split(cell, layer_params(cell, arrays, cell.param_suffixes[n]))
            states, outputs = {k: arrays[f"{k}0"][n] for k in cell.state}, []
            for x in reversed(sequence) if direction else sequence:
                states = _STEPS[cell.kind](cell, parts, x, states)
                outputs.append(states["h"])
            sides.append(outputs[::-1] if direction else outputs)
            for k, state in states.items():
                final[k].append(state)
        sequence = [np.concatenate(parts_of_step) for parts_of_step in zip(*sides, strict=True)]
    width = cell.directions * arrays["h0"].shape[-1]
    return {"y": np.array(sequence, object).reshape(-1, width)} | {
        f"{k}T": np.stack(v) for k, v in final.items()
    }


def enclosures(case: Case, *, gradients: bool = True) -> Enclosures:
    """Return outputs and gradients of a case in balls, at the working precision.

    Names and shapes are the reference's. Rows are independent, so each is run alone: a gradient by
    forward mode costs as many numbers as there are inputs.
    """
    cell, values = case.cell, case.as_float64()
    T, B, _, H = case.sizes
    N = len(cell.param_suffixes)
    lengths = values.get("lengths", np.full(B, T))
    initial = {
        f"{k}0": values.get(f"{k}0", np.zeros(cell.state_shape(k, B, H))) for k in cell.state
    }
    by_row = {k: v.reshape(N, *v.shape[-2:]) for k, v in initial.items()}
    cotangents = {
        k: values[f"d{k}"] for k in ("y", *(f"{k}T" for k in cell.state)) if f"d{k}" in values
    }
    out = {"y": _zeros(T, B, cell.directions * cell.width(H))} | {
        f"{k}T": _zeros(*by_row[f"{k}0"].shape) for k in cell.state
    }
    if gradients:
        out |= {f"d{k}": _zeros(*values[k].shape) for k in case.params} | {
            "dx": _zeros(*values["x"].shape)
        }
        out |= {f"d{k}": _zeros(*v.shape) for k, v in by_row.items()}
    for b, n in enumerate(lengths.tolist()):
        row = case.params | {"x": values["x"][:n, b]} | {k: v[:, b] for k, v in by_row.items()}
        weights = {
            k: v[:n, b] if k == "y" else v.reshape(N, *v.shape[-2:])[:, b]
            for k, v in cotangents.items()
        }
        for name, part in enclose(
            lambda arrays: forward(cell, arrays), row, weights if gradients else None
        ).items():
            if name[1:] in case.params:
                out[name] = out[name] + part
            elif name in ("y", "dx"):
                out[name][:n, b] = part
            else:
                out[name][:, b] = part
    shapes = {f"{k}T": v.shape for k in cell.state for v in (initial[f"{k}0"],)}
    shapes |= {f"d{k}": v.shape for k, v in initial.items()} if gradients else {}
    return {name: a.reshape(shapes.get(name, a.shape)) for name, a in out.items()}


def _zeros(*shape: int) -> Array:
    return np.full(shape, arb(0), object)


def estimated_products(case: Case) -> int:
    """Return about how many products of balls the gradients take, at 50 ns each."""
    cell, sizes = case.cell, case.sizes
    fan_in = max(
        sizes.D, cell.directions * cell.width(sizes.H) if cell.layers > 1 else 0
    ) + cell.width(sizes.H)
    per_step = len(cell.param_suffixes) * len(cell.gates) * sizes.H * fan_in
    directions = (
        sum(a.size for a in case.params.values())
        + sizes.T * sizes.D
        + 2 * len(cell.param_suffixes) * sizes.H
    )
    return sizes.T * sizes.B * per_step * directions


def certify(case: Case, *, gradients: bool = True, max_bits: int = MAX_BITS) -> CertifiedValues:
    """Return the correctly rounded outputs and gradients of a case.

    They are in float32 and in float64, whatever the dtype of the case.

    Parameters
    ----------
    case
        Case of any cell, with any options. Absent states are zero, but have gradients.
    gradients
        Whether to certify more than the outputs, which take a fraction of the time.
    max_bits
        Precision in bits beyond which an entry is left undecided.

    Raises
    ------
    InputError
        If the case holds NaN or infinity outside the padding.
    MissingExtraError
        If python-flint is not installed.
    """
    return refine(lambda: enclosures(case, gradients=gradients), max_bits=max_bits)
