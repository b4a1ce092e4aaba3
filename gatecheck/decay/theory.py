"""What theory predicts about the decay of gradients, with the assumption under which it does. Rates are nats per step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gatecheck.cells import Cell

Array = NDArray[Any]

# Standard deviation of a recurrent block's entries times √H: its spectral radius for large H (Girko's circular law), and exactly 1 for
# an orthogonal one.
GAIN = {"uniform": 1 / math.sqrt(3), "unit_forget_bias": 1 / math.sqrt(3), "glorot_orthogonal": 1.0}
KEEP_BIAS = {"unit_forget_bias": 1.0}


class ConstantGate(NamedTuple):
    """What a gate that never moves does to the past."""

    rate: float
    e_lag: float
    half_life: float


def constant_gate(bias: float) -> ConstantGate:
    """A keeping gate held at σ(bias): rate ln σ(b) = -softplus(-b), and the lags at 1/e and 1/2."""
    loss = float(np.logaddexp(0, -bias))
    return ConstantGate(-loss, 1 / loss, math.log(2) / loss)


def zero_state_edge(cell: Cell, gain: float, keep_bias: float = 0.0) -> float | None:
    """Largest modulus of an eigenvalue of one step's Jacobian at h = c = 0, other biases zero, for a large hidden size.

    RNN: g. GRU: (1 - z) + z r g. LSTM: f + o i g. With gates at σ(0) = ½, but 1 - z or f at σ(`keep_bias`). None where zero is no fixed
    point of the cell (sigmoid) or has no derivative (relu).
    """
    if cell.kind == "rnn":
        return gain if cell.activation == "tanh" else None
    keep = math.exp(constant_gate(keep_bias).rate)
    if cell.kind == "gru":
        return keep + (1 - keep) * 0.5 * gain
    return keep + 0.5 * 0.5 * gain


class Paths(NamedTuple):
    """A gradient over many steps: all of it, and what would be left of it if only the cell state carried it."""

    total: float
    cell_path: float


def path_split(f: float, i: float, o: float, u: float, steps: int) -> Paths:
    """A scalar LSTM at zero state with recurrent weight u into g: (f + o i u)^T in all, f^T along the cell state."""
    return Paths((f + o * i * u) ** steps, f**steps)


@dataclass(frozen=True)
class Prediction:
    """A gradient made of independent units, each of which shrinks at a rate of its own.

    Attributes
    ----------
    log_keep
        ``(N,)``: rates of equally likely kinds of unit.
    rate
        The rate at long lags, that of the slowest unit.
    assumption
        What has to hold for it.
    """

    log_keep: Array
    rate: float
    assumption: str

    def log_size(self, lags: Array) -> Array:
        """Log of the root mean square over units at these lags, relative to lag 1."""

        def rms(lag: Array) -> Array:
            return np.asarray(logsumexp(2 * np.multiply.outer(lag, self.log_keep), axis=-1)) / 2

        return rms(np.asarray(lags, dtype=float)) - rms(np.array(1.0))


def predict(cell: Cell, initialiser: str) -> Prediction | None:
    """What theory says about a cell at an initialisation, or None where there is no theory.

    Chrono: time constants are uniform in 1 … Tmax - 1, every gate constant, nothing returns through the recurrence; the mixture is
    √E₂(2 lag / Tmax) (decay of neither an exponential nor a power law), the slowest gate has the rate ln(1 - 1/Tmax). Others: the
    spectral edge at zero state.
    """
    kind, _, argument = initialiser.partition(":")
    if kind == "chrono" and "gated" in cell.traits:
        odds = 1 + (float(argument) - 2) * (np.arange(1000) + 0.5) / 1000  # e^b at the middle of a thousand equally likely intervals
        slowest = constant_gate(math.log(float(argument) - 1)).rate
        return Prediction(-np.log1p(1 / odds), slowest, "constant gates, no recurrence; rate of the slowest gate")
    edge = zero_state_edge(cell, GAIN[kind], KEEP_BIAS.get(kind, 0.0)) if kind in GAIN else None
    if edge is None:
        return None
    return Prediction(
        np.array([math.log(edge)]), math.log(edge), "spectral edge at zero state: no input, no bias but the keeping gate's, H large"
    )
