"""Cases drawn from a seed, in regimes of weak, usual and saturated numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases.case import Case
from gatecheck.cells import Cell, Sizes
from gatecheck.cells.gate_blocks import block
from gatecheck.errors import UsageError


@dataclass(frozen=True)
class Regime:
    """Scale of the numbers of a case.

    Attributes
    ----------
    gain
        Weights are uniform in ±gain/√(fan in).
    input_std
        Standard deviation of x.
    gate_bias
        Biases of sigmoid gates are uniform in ±gate_bias; one beyond 10 saturates.
    keep_bias
        Added to the bias of the gate that keeps the old state.
    description
        Description in one sentence, for reports.
    """

    gain: float = 1.0
    input_std: float = 1.0
    gate_bias: float = 1.0
    keep_bias: float = 0.0
    description: str = ""


REGIMES = {
    "generic": Regime(description="weights of the usual size, standard normal inputs"),
    "strong": Regime(
        gain=3.0, description="weights three times as large: the state may be chaotic"
    ),
    "slow": Regime(
        gain=0.5,
        gate_bias=0.1,
        keep_bias=4.0,
        description="the gates keep almost all of the old state, so gradients reach far back",
    ),
    "saturated": Regime(gate_bias=20.0, description="gate biases up to 20 in both polarities"),
    "small": Regime(input_std=1e-3, gain=0.3, description="tiny inputs and small weights"),
    "large": Regime(input_std=30.0, description="large inputs that saturate every activation"),
}


def draw(
    cell: Cell,
    sizes: Sizes,
    *,
    seed: int,
    dtype: str,
    regime: str = "generic",
    absent: tuple[str, ...] = (),
    ragged: bool = False,
) -> Case:
    """Draw a case of short decimals from a seed: no zeros, and no two blocks equal.

    Parameters
    ----------
    cell
        Cell of the case.
    sizes
        T, B, D, H.
    seed
        Seed of NumPy's default generator.
    dtype
        ``"float32"`` or ``"float64"``.
    regime
        A name in :data:`REGIMES`.
    absent
        Names among h0, c0, dy, dhT, dcT to leave out.
    ragged
        Whether rows have different lengths, from 1 to T; of two or more rows one is full, and one
        is not if T > 1.
    """
    if regime not in REGIMES:
        raise UsageError(f"there is no regime {regime!r}; the regimes are {', '.join(REGIMES)}")
    T, B, D, H = sizes
    scales = REGIMES[regime]
    rng = np.random.default_rng(seed)

    def short(a: Array, scale: float = 1.0) -> Array:
        decimals = np.round(a / scale, 3)
        rounded: Array = ((decimals + (decimals == 0) * 0.001) * scale).astype(dtype)
        return rounded

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape)

    arrays: dict[str, Array] = {}
    for name, shape in cell.param_shapes(D, H).items():
        a = rng.uniform(-1, 1, shape)
        arrays[name] = (
            a * scales.gain / math.sqrt(shape[0]) if name[0] in "WUR" else a * min(scales.gain, 1.0)
        )
    for b in (arrays[f"b{tag}"] for tag in cell.param_suffixes):
        for gate in cell.sigmoid_gates:
            block(cell, b, gate)[...] *= scales.gate_bias / min(scales.gain, 1.0)
        if "update_gate" in cell.traits:
            block(cell, b, "z")[...] -= scales.keep_bias
        elif "cell_state" in cell.traits:
            block(cell, b, "f")[...] += scales.keep_bias
    arrays = {k: short(v) for k, v in arrays.items()}
    arrays["x"] = short(normal(T, B, D) * scales.input_std, scales.input_std)
    for name in cell.state:
        arrays[f"{name}0"] = short(np.tanh(normal(*cell.state_shape(name, B, H))))
    arrays["dy"] = short(normal(T, B, cell.directions * cell.width(H)))
    arrays |= {f"d{name}T": short(normal(*cell.state_shape(name, B, H))) for name in cell.state}
    if ragged:
        lengths = rng.integers(1, T + 1, B) if T else np.zeros(B, np.int64)
        if B > 1 and T > 1:
            full, other = rng.permutation(B)[:2]
            lengths[full], lengths[other] = T, rng.integers(1, T)
        arrays["lengths"] = lengths
    origin = {"seed": seed, "regime": regime}
    return Case(cell, {k: v for k, v in arrays.items() if k not in absent}, origin)
