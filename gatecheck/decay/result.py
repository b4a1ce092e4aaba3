"""Results of a decay study, as plain data for tables, figures, pages and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from gatecheck.errors import printable_data

SCHEMA = "gatecheck-decay-2"
UNITS = {
    "rate": "nats per step",
    "lag": "steps",
    "log_size": "nats, relative to lag 1",
    "time_constant": "steps",
}

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """Quantiles over seeds of a quantity at some lags.

    Attributes
    ----------
    median, low, high
        Median, 10 % and 90 % quantiles over seeds, one entry for each lag.
    """

    median: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class TheoryLine:
    """Prediction of ln G at the lags of a row.

    Attributes
    ----------
    assumption
        Assumption under which it holds.
    rate
        Rate at long lags.
    log_size
        ln G.
    """

    assumption: str
    rate: float
    log_size: Numbers


@dataclass(frozen=True)
class Gate:
    """Distribution of one gate over steps, units and seeds.

    Attributes
    ----------
    mean
        Mean value.
    shut, open
        Shares of values below 0.1 and above 0.9.
    histogram
        Shares of values in equal bins from 0 to 1.
    """

    mean: float
    shut: float
    open: float
    histogram: Numbers


@dataclass(frozen=True)
class Truncation:
    """Relative bias ‖g_K - g‖ / ‖g‖ of backpropagation truncated after K steps.

    The gradient g is that of a loss at the last step, with respect to all parameters.

    Attributes
    ----------
    K
        Truncation lengths.
    bias
        Bias at each length.
    bound
        Upper bound that follows from λ₁ alone; empty where λ₁ ≥ 0 (Aicher, Foti & Fox 2019).
    K_tenth, K_hundredth
        First lengths at which the median bias is at most 10 % and 1 %; None beyond T.
    """

    K: tuple[int, ...]
    bias: Curve
    bound: Numbers
    K_tenth: int | None
    K_hundredth: int | None


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents of one network on one sequence.

    Attributes
    ----------
    steps
        Number of steps.
    exponents, errors
        Exponents in nats per step, the largest first, and the standard error of each by batch
        means. -inf for a direction that is lost in one step.
    volume_residual
        |Σλ - ⟨ln|det J|⟩| in nats per step; NaN where a Jacobian is singular.
    """

    steps: int
    exponents: Numbers
    errors: Numbers
    volume_residual: float


@dataclass(frozen=True)
class Convergence:
    """Estimates of λ₁ from the first steps alone, to see how many are needed.

    Attributes
    ----------
    steps
        Numbers of steps.
    rate, low, high
        Estimates and their 95 % intervals.
    """

    steps: tuple[int, ...]
    rate: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Integrity:
    """Self-checks of a row: each number is zero up to rounding if the row is right.

    Attributes
    ----------
    adjoint
        |ln|⟨u, J v⟩| - ln|⟨Jᵀu, v⟩|| over the whole sequence, adjoint against tangent (in nats).
    gradient
        Relative difference between a step's adjoint and the backward kernel's, which was derived
        independently; for a target between its own backward and central differences of its forward.
        A target has this number only, the others are NaN.
    order
        Relative difference between three steps of the adjoint and a product of dense Jacobians in
        the order of time.
    """

    adjoint: float
    gradient: float
    order: float


@dataclass(frozen=True)
class NetworkRow:
    """Measurements of one network.

    Attributes
    ----------
    name
        Name in tables.
    network
        Keys of its entry in the spec.
    cell, hidden, inputs
        Name of the cell, hidden size and input size.
    seeds
        Number of runs.
    rate, rate_low, rate_high, rate_sd
        λ₁, its 95 % interval and its standard deviation over seeds; NaN where data do not suffice,
        -inf for exact zeros.
    kind, kind_index, kind_low, kind_high
        Class of decay, ``exponential``, ``power``, ``mixture`` or ``undecided``, and its evidence:
        the index of :mod:`gatecheck.decay.theory.kind`, 0 for an exponential and 1 for a power law,
        with its 95 % interval.
    lag_half, lag_e, lag_thousandth
        First lags at which the median gradient is down to 1/2, 1/e and 1e-3 of that at lag 1; None
        if that is beyond T.
    lag_float32_zero
        First lag at which a float32 gradient whose entries are about 1 at lag 1 rounds to zero, G <
        2^-150; None if that is beyond T.
    lags
        Lags from 1 to T, all of the early ones, the later ones in equal ratios.
    curve
        ln G, the log of ‖∂ℓ/∂s‖ relative to lag 1.
    theory
        Predictions of the curve; tables show the first.
    paths
        Median ln G along each path alone, by name.
    input_curve
        ln‖∂ℓ/∂x‖ relative to that of the last input, at `lags` less one; None if it was not
        measured.
    gates
        Gates by name.
    time_constants
        -1/mean(ln keep) of each unit, sorted; empty where no gate keeps.
    probe_offset
        Most nats by which ln G is low because it was measured from random cotangents.
    notes
        Assumptions about the network and omissions, in sentences.
    """

    name: str
    network: dict[str, Any]
    cell: str
    hidden: int
    inputs: int
    seeds: int
    rate: float
    rate_low: float
    rate_high: float
    rate_sd: float
    kind: str
    kind_index: float
    kind_low: float
    kind_high: float
    lag_half: int | None
    lag_e: int | None
    lag_thousandth: int | None
    lag_float32_zero: int | None
    lags: tuple[int, ...]
    curve: Curve
    theory: tuple[TheoryLine, ...]
    paths: dict[str, Numbers]
    input_curve: Curve | None
    gates: dict[str, Gate]
    time_constants: Numbers
    truncation: Truncation | None
    spectrum: Spectrum | None
    convergence: Convergence
    integrity: Integrity
    probe_offset: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Sentence:
    """Gates of a trained network over one sentence.

    Attributes
    ----------
    words
        Words of the sentence.
    gates
        Values of each gate at each word, in the unit that remembers best.
    unit
        Index of that unit.
    state
        State of that unit, h or tanh c.
    """

    words: tuple[str, ...]
    gates: dict[str, Numbers]
    unit: int
    state: Numbers


@dataclass(frozen=True)
class Training:
    """Trainings of one cell on one task, at several seeds.

    Attributes
    ----------
    setting
        Keys of its entry in the spec.
    updates, loss
        Numbers of updates, and the smoothed loss after each.
    baseline
        Loss of the best predictor without memory.
    final, solved
        Last loss of each seed, and whether it is well below the baseline.
    lags, before, after
        ln G of the networks on the task's own inputs, untrained and trained.
    needed
        Number of steps that the task reaches back.
    findings
        Behavior of the gates, in sentences with numbers.
    sentence
        Gates over a sentence, for the agreement task.
    """

    setting: dict[str, Any]
    updates: tuple[int, ...]
    loss: Curve
    baseline: float
    final: Numbers
    solved: tuple[bool, ...]
    lags: tuple[int, ...]
    before: Curve
    after: Curve
    needed: int
    findings: tuple[str, ...]
    sentence: Sentence | None


@dataclass(frozen=True)
class DecayResult:
    """Result of a decay study, with all that is needed to run it again.

    Attributes
    ----------
    spec
        Spec of the study.
    rows
        Measured networks.
    training
        Trained networks.
    skipped
        Combinations that do not exist, each with the reason.
    versions
        Versions of Python and of the packages that computed it.
    """

    spec: dict[str, Any]
    rows: tuple[NetworkRow, ...]
    training: tuple[Training, ...]
    skipped: tuple[str, ...]
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return the result as JSON text, with numbers to ten digits.

        Numbers that are not finite become null; in a log of a size, null is an exact zero.
        """
        content = {"schema": SCHEMA, "units": UNITS} | dataclasses.asdict(self)
        return json.dumps(printable_data(_plain(content)), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.10g}") if math.isfinite(value) else None
