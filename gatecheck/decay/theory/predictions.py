"""Theoretical predictions of gradient decay, each with its assumption.

Rates are nats per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expn, logsumexp

from gatecheck._util.typing import Array
from gatecheck.cells import Cell

# Standard deviation of a recurrent block's entries times √H: its spectral radius for large H
# (Girko's circular law), and exactly 1 for an orthogonal one.
GAIN = {"uniform": 1 / math.sqrt(3), "unit_forget_bias": 1 / math.sqrt(3), "glorot_orthogonal": 1.0}
KEEP_BIAS = {"unit_forget_bias": 1.0}

# Nodes and weights of E φ(ξ), ξ ~ N(0, 1). The trapezoidal rule converges geometrically for
# analytic φ (Trefethen & Weideman 2014); Gauss-Hermite's does not for tanh, which has poles near
# the real line.
XI = np.linspace(-12.0, 12.0, 4801)
WEIGHTS = np.exp(-(XI**2) / 2) / np.exp(-(XI**2) / 2).sum()


class ConstantGate(NamedTuple):
    """Decay through a gate that is constant."""

    rate: float
    e_lag: float
    half_life: float


def constant_gate(bias: float) -> ConstantGate:
    """Return the decay through a keeping gate held at σ(bias).

    Its rate is ln σ(b) = -softplus(-b); the lags are those at 1/e and 1/2.
    """
    loss = float(np.logaddexp(0, -bias))
    return ConstantGate(-loss, 1 / loss, math.log(2) / loss)


def zero_state_edge(cell: Cell, gain: float, keep_bias: float = 0.0) -> float | None:
    """Return the spectral radius of a step's Jacobian at h = c = 0 for a large H.

    Other biases are zero. RNN: g. GRU: (1 - z) + z r g. LSTM: f + o i g. With gates at σ(0) = ½,
    but 1 - z or f at σ(`keep_bias`). None where zero is not a fixed point of the cell (sigmoid) or
    has no derivative (relu).
    """
    if cell.kind == "rnn":
        return gain if cell.activation == "tanh" else None
    keep = math.exp(constant_gate(keep_bias).rate)
    if cell.kind == "gru":
        return keep + (1 - keep) * 0.5 * gain
    return keep + 0.5 * 0.5 * gain


class PathSizes(NamedTuple):
    """Gradient over many steps: the whole, and the part along the cell state alone."""

    total: float
    cell_path: float


def scalar_path_split(f: float, i: float, o: float, u: float, steps: int) -> PathSizes:
    """Return the gradient of a scalar LSTM at zero state, whole and by the cell state.

    With recurrent weight u into g these are (f + o i u)^T and f^T.
    """
    return PathSizes((f + o * i * u) ** steps, f**steps)


class InputDrivenGate(NamedTuple):
    """Decay through a gate driven by white inputs: ln of a step's factor, in nats."""

    typical: float
    mean: float


def input_driven_gate(a: float, b: float) -> InputDrivenGate:
    """Return the decay through a gate f = σ(a ξ + b), ξ ~ N(0, 1) at each step.

    A single run has the typical rate E ln f. ln E f, that of a mean over runs, is larger (Jensen)
    and dominated by rare runs.
    """
    log_f = -np.logaddexp(0, -(a * XI + b))
    return InputDrivenGate(float(WEIGHTS @ log_f), math.log(float(WEIGHTS @ np.exp(log_f))))


class MeanField(NamedTuple):
    """Mean field of a wide tanh RNN with independent weights.

    It has the variance q of a preactivation, χ, and λ₁ = ½ ln χ in nats per step.
    """

    q: float
    chi: float
    rate: float


def mean_field(gain: float, input_variance: float) -> MeanField:
    """Return the mean field of a tanh RNN with gain g and white input of a variance.

    The input is that of the preactivations (Sompolinsky et al. 1988). q = g² E tanh²(√q ξ) + q_in,
    χ = g² E sech⁴(√q ξ). Of the fixed points q without input, the one with activity, if there is
    one.
    """
    # takes a fifth of a second, which every process of a sweep would wait for
    from scipy.optimize import brentq

    def excess(q: float) -> float:
        return gain**2 * float(WEIGHTS @ np.tanh(math.sqrt(q) * XI) ** 2) + input_variance - q

    # q = 0 is the dead fixed point, which the search must avoid for an active network with g > 1.
    least = input_variance or 1e-12
    q = (
        brentq(excess, least, gain**2 + input_variance + least, xtol=1e-15)
        if excess(least) > 0
        else input_variance
    )
    chi = gain**2 * float(WEIGHTS @ np.cosh(math.sqrt(q) * XI) ** -4.0)
    return MeanField(q, chi, math.log(chi) / 2)


def input_variance(initializer: str, D: int, H: int) -> float | None:
    """Return the variance over units of x W + b at an initialization of a tanh RNN.

    Inputs are from N(0, 1). None where it is not known.
    """
    return {"uniform": (D + 2) / (3 * H), "glorot_orthogonal": 2 * D / (D + H)}.get(initializer)


def untied_rate(cell: Cell, gain: float, keep_bias: float = 0.0) -> float | None:
    """Return ½ ln χ of a gated cell at zero state, with fresh weights at each step.

    This is the "untied" rate of mean-field papers. χ = k² + w² for :func:`zero_state_edge`'s k + w.
    The weights that networks use are the same at each step, and their rate is the log of that edge,
    -0.44 against -0.65 at PyTorch's initialization. None for a plain RNN, whose two rates agree.
    """
    if cell.kind == "rnn":
        return None
    keep = math.exp(constant_gate(keep_bias).rate)
    edge = zero_state_edge(cell, gain, keep_bias)
    return None if edge is None else math.log(keep**2 + (edge - keep) ** 2) / 2


class LogSizes(NamedTuple):
    """Logs of the mean over units of a gradient, and of its root mean square."""

    mean: Array
    rms: Array


def chrono_sizes(lags: Array, Tmax: float) -> LogSizes:
    """Return sizes for constant gates f = 1 - 1/τ, with τ uniform in (0, Tmax).

    For large k and Tmax they are E₂(k/Tmax), the mean of e^(-k/τ) over τ with the exponential
    integral E₂, and √E₂(2k/Tmax): neither an exponential nor a power law.
    """
    x = np.asarray(lags, dtype=float) / Tmax
    return LogSizes(np.log(expn(2, x)), np.log(expn(2, 2 * x)) / 2)


def uniform_gate_sizes(lags: Array) -> LogSizes:
    """Return sizes for constant gates uniform in (0, 1), which are a power law.

    They are E f^k = 1/(k + 1), and 1/√(2k + 1).
    """
    k = np.asarray(lags, dtype=float)
    return LogSizes(-np.log1p(k), -np.log1p(2 * k) / 2)


class LinearMemory(NamedTuple):
    """Mean squares of a linear unit's state and of its derivative by its own weight."""

    state: float
    sensitivity: float


def linear_memory(weight: float) -> LinearMemory:
    """Return E h² and E (dh/dλ)² of the unit h' = λh + ξ with white ξ of variance 1.

    They are 1/(1 - λ²) and (1 + λ²)/(1 - λ²)³. Long memory costs sensitivity: as λ → 1 the second
    grows as the cube of the memory and the first only linearly.

    Raises
    ------
    ValueError
        If there is no stationary state, |λ| ≥ 1.
    """
    if not abs(weight) < 1:
        raise ValueError(
            f"the weight is {weight}, but a stationary state needs one between -1 and 1"
        )
    rest = 1 - weight**2
    return LinearMemory(1 / rest, (1 + weight**2) / rest**3)


@dataclass(frozen=True)
class Prediction:
    """Theoretical decay of a gradient.

    Attributes
    ----------
    log_rms
        Log of the root mean square over units, as a function of lags.
    rate
        Rate at long lags, that of the slowest unit.
    assumption
        Assumption under which it holds.
    """

    log_rms: Callable[[Array], Array]
    rate: float
    assumption: str

    def log_size(self, lags: Array) -> Array:
        """Return the log of the root mean square over units, relative to lag 1."""
        return self.log_rms(np.asarray(lags, dtype=float)) - self.log_rms(np.array(1.0))


def _log_rms_of_rates(log_keep: Array) -> Callable[[Array], Array]:
    """Return the log-size over equally likely units, each with its own rate."""
    return lambda lag: np.asarray(logsumexp(2 * np.multiply.outer(lag, log_keep), axis=-1)) / 2


def predict(cell: Cell, initializer: str, inputs: float | None = None) -> Prediction | None:
    """Return a prediction for a cell at an initialization; None without a theory.

    Chrono: time constants are uniform in 1 … Tmax - 1, every gate constant, nothing returns through
    the recurrence; the mixture is √E₂(2 lag / Tmax) (decay of neither an exponential nor a power
    law), the slowest gate has the rate ln(1 - 1/Tmax). Uniform gates: the power law 1/√(2 lag + 1),
    whose rate is 0 in the end. Others: the spectral edge at zero state, or for a tanh RNN the mean
    field, if `inputs` gives the variance of x W + b (:func:`input_variance`).
    """
    kind, _, argument = initializer.partition(":")
    if kind == "chrono" and "gated" in cell.traits:
        # e^b at the middle of a thousand equally likely intervals
        odds = 1 + (float(argument) - 2) * (np.arange(1000) + 0.5) / 1000
        slowest = constant_gate(math.log(float(argument) - 1)).rate
        return Prediction(
            _log_rms_of_rates(-np.log1p(1 / odds)),
            slowest,
            "constant gates, no recurrence; rate of the slowest gate",
        )
    if kind == "uniform_gate" and "gated" in cell.traits:
        return Prediction(
            lambda lag: uniform_gate_sizes(lag).rms,
            0.0,
            "constant gates, no recurrence, H large; a power law",
        )
    if kind in GAIN and inputs is not None and cell.kind == "rnn" and cell.activation == "tanh":
        field = mean_field(GAIN[kind], inputs)
        return Prediction(
            _log_rms_of_rates(np.array([field.rate])),
            field.rate,
            "mean field: independent weights, white inputs, H large",
        )
    edge = zero_state_edge(cell, GAIN[kind], KEEP_BIAS.get(kind, 0.0)) if kind in GAIN else None
    if edge is None:
        return None
    rate = math.log(edge)
    return Prediction(
        _log_rms_of_rates(np.array([rate])),
        rate,
        "spectral edge at zero state: no input, no bias but the keeping gate's, H large",
    )


def predictions(
    cell: Cell, initializer: str, D: int, H: int, input_std: float = 1.0
) -> list[Prediction]:
    """Return all predictions for a cell at an initialization, the best first.

    Parameters
    ----------
    cell, initializer
        Cell and name of its initialization.
    D, H, input_std
        Sizes, and the standard deviation of the inputs; the mean field is known for 1 only.
    """
    variance = input_variance(initializer, D, H) if input_std == 1 else None
    candidates = [predict(cell, initializer, variance), predict(cell, initializer)]
    rate = (
        untied_rate(cell, GAIN[initializer], KEEP_BIAS.get(initializer, 0.0))
        if initializer in GAIN
        else None
    )
    if rate is not None:
        candidates.append(
            Prediction(
                _log_rms_of_rates(np.array([rate])),
                rate,
                "untied: weights drawn afresh at each step, as no network has them",
            )
        )
    existing = [p for p in candidates if p is not None]
    return [
        p
        for k, p in enumerate(existing)
        if p.assumption not in {q.assumption for q in existing[:k]}
    ]
