"""Initializers of parameters, by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.spec import Cell
from gatecheck.errors import UsageError

Initializer = Callable[[np.random.Generator, Cell, int, int], dict[str, Array]]


def uniform(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """Draw PyTorch's default: every entry uniform in ±1/√H, and two biases a gate.

    PyTorch keeps both biases; here they are one, their sum, except for the candidate of a
    reset-after GRU.
    """
    a = 1 / math.sqrt(H)
    draw = {name: rng.uniform(-a, a, shape) for name, shape in cell.param_shapes(D, H).items()}
    second = rng.uniform(-a, a, draw["b"].shape)
    if "c_n" in draw:
        block(cell, second, "n")[:] = 0
    draw["b"] += second
    return draw


def glorot_orthogonal(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """Draw Glorot-uniform input blocks and orthogonal recurrent ones; biases are zero.

    Glorot & Bengio 2010, eq. 16; Saxe et al. 2014. Each gate's block is drawn separately (Keras
    draws the fused matrices).
    """
    params = {name: np.zeros(shape) for name, shape in cell.param_shapes(D, H).items()}
    a = math.sqrt(6 / (D + H))
    for k in cell.gates:
        block(cell, params["W"], k)[:] = rng.uniform(-a, a, (D, H))
        q, r = np.linalg.qr(rng.standard_normal((H, H)))
        # The signs make the draw uniform over all rotations.
        block(cell, params["U"], k)[:] = q * np.sign(np.diag(r))
    return params


def _set_keep_bias(params: dict[str, Array], cell: Cell, bias: Array) -> dict[str, Array]:
    """Set the bias of the keeping gate, and the opposite one of the writing gate."""
    if "update_gate" in cell.traits:
        block(cell, params["b"], "z")[:] = -bias
    elif "cell_state" in cell.traits:
        block(cell, params["b"], "f")[:] = bias
        block(cell, params["b"], "i")[:] = -bias
    else:
        raise UsageError(
            f"a {cell} has no gate that keeps the old state, "
            "so this initializer does not apply to it"
        )
    return params


def unit_forget_bias(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """Draw PyTorch's uniform with a bias of 1 towards keeping the old state.

    b_f = 1, or b_z = -1 in a GRU (Jozefowicz et al. 2015).
    """
    params = uniform(rng, cell, D, H)
    if "cell_state" in cell.traits:
        block(cell, params["b"], "f")[:] = 1
        return params
    return _set_keep_bias(params, cell, np.ones(H))


def chrono(Tmax: float) -> Initializer:
    """Return an initializer with time constants uniform in 1 … Tmax - 1.

    b_f = log U(1, Tmax - 1), b_i = -b_f (Tallec & Ollivier 2018).

    Raises
    ------
    UsageError
        If Tmax is not greater than 2.
    """
    if not Tmax > 2 or not math.isfinite(Tmax):
        raise UsageError(f"Tmax is {Tmax!r}, but should be a number greater than 2")

    def initialize(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
        return _set_keep_bias(uniform(rng, cell, D, H), cell, np.log(rng.uniform(1, Tmax - 1, H)))

    return initialize


def uniform_gate(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """Draw the keeping gate uniform in (0, 1) at zero input.

    b_f = -log(1/u - 1), b_i = -b_f (Gu et al. 2020).
    """
    u = rng.uniform(1 / H, 1 - 1 / H, H) if H > 2 else rng.uniform(0.25, 0.75, H)
    return _set_keep_bias(uniform(rng, cell, D, H), cell, -np.log(1 / u - 1))


INITIALIZERS: dict[str, Initializer] = {
    "uniform": uniform,
    "glorot_orthogonal": glorot_orthogonal,
    "unit_forget_bias": unit_forget_bias,
    "uniform_gate": uniform_gate,
}


def initializer(name: str) -> Initializer:
    """Return the initializer of that name.

    ``chrono:1000`` is :func:`chrono` with Tmax = 1000.

    Raises
    ------
    UsageError
        If there is no such initializer.
    """
    kind, _, argument = name.partition(":")
    if kind == "chrono":
        try:
            return chrono(float(argument))
        except ValueError as error:
            raise UsageError(
                f"the initializer {name!r} should be written chrono:TMAX with a TMAX above 2, "
                "such as chrono:1000"
            ) from error
    if name not in INITIALIZERS:
        raise UsageError(
            f"there is no initializer {name!r}; "
            f"the initializers are {', '.join(INITIALIZERS)}, chrono:TMAX"
        )
    return INITIALIZERS[name]
