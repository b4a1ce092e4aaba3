"""What a decay study found: plain data, as tables, figures, pages and JSON need it."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

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
    """A quantity at some lags: quantiles over seeds.

    Attributes
    ----------
    median, low, high
        The median and the 10 % and 90 % quantiles over seeds, one for each of the lags.
    """

    median: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class TheoryLine:
    """What theory says ln G is, at the lags of a row.

    Attributes
    ----------
    assumption
        What has to hold for it.
    rate
        At long lags.
    log_size
        ln G.
    """

    assumption: str
    rate: float
    log_size: Numbers


@dataclass(frozen=True)
class Gate:
    """The values of one gate over steps, units and seeds.

    Attributes
    ----------
    mean
        The mean value.
    shut, open
        The shares of values below 0.1 and above 0.9.
    histogram
        The shares of values in equal bins from 0 to 1.
    """

    mean: float
    shut: float
    open: float
    histogram: Numbers


@dataclass(frozen=True)
class Truncation:
    """What backpropagation cut after K steps leaves out: ‖g_K - g‖ / ‖g‖, of the gradient of all
    parameters for a loss at the last step.

    Attributes
    ----------
    K
        The lengths.
    bias
        At each of them.
    bound
        What follows from λ₁ alone; empty where λ₁ ≥ 0 (Aicher, Foti & Fox 2019).
    K_tenth, K_hundredth
        The first lengths at which the median bias is at most 10 % and 1 %; None beyond T.
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
        Over how many steps.
    exponents, errors
        In nats per step, from the largest, and the standard error of each by batch means. -inf for
        a direction that is lost in one step.
    volume_residual
        |Σλ - ⟨ln|det J|⟩| in nats per step; NaN where a Jacobian is singular.
    """

    steps: int
    exponents: Numbers
    errors: Numbers
    volume_residual: float


@dataclass(frozen=True)
class Convergence:
    """λ₁ from the first steps alone: how long one has to measure.

    Attributes
    ----------
    steps
        How many.
    rate, low, high
        The estimate and its 95 % interval.
    """

    steps: tuple[int, ...]
    rate: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Integrity:
    """What a row was checked by: each number is zero but for rounding if the row can be believed.

    Attributes
    ----------
    adjoint
        |ln|⟨u, J v⟩| - ln|⟨Jᵀu, v⟩|| over the whole sequence, adjoint against tangent (in nats).
    gradient
        The relative difference of a step's adjoint from the backward kernel's, which was derived
        apart; of a target's own backward from central differences of its forward. A target has this
        number only, the others are NaN.
    order
        The relative difference of three steps of the adjoint from a product of dense Jacobians in
        the order of time.
    """

    adjoint: float
    gradient: float
    order: float


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes
    ----------
    name
        How tables call it.
    network
        The keys of its entry in the spec.
    cell, hidden, inputs
        What it is.
    seeds
        How many runs stand behind it.
    rate, rate_low, rate_high, rate_sd
        λ₁, its 95 % interval and its standard deviation over seeds; NaN where there is too little
        to tell, -inf for exact zeros.
    kind, kind_index, kind_low, kind_high
        The class of decay, ``exponential``, ``power``, ``mixture`` or ``undecided``, and what shows
        it: the index of :mod:`gatecheck.decay.theory.kind`, 0 for an exponential and 1 for a power law,
        with its 95 % interval.
    lag_half, lag_e, lag_thousandth
        First lags at which the median gradient is down to 1/2, 1/e and 1e-3 of that at lag 1; None
        if that is beyond T.
    lag_float32_zero
        First lag at which a float32 gradient whose entries are about 1 at lag 1 rounds to zero, G <
        2^-150; None if that is beyond T.
    lags
        From 1 to T, the early ones all, the later ones in equal ratios.
    curve
        ln G, the log of ‖∂ℓ/∂s‖ relative to lag 1.
    theory
        What theory predicts of it; the first is the one that tables show.
    paths
        The same for what is left when only one path is open; by name.
    input_curve
        ln‖∂ℓ/∂x‖ relative to that of the last input, at `lags` less one; None if it was not
        measured.
    gates
        By name.
    time_constants
        -1/mean(ln keep) of each unit, sorted; empty where no gate keeps.
    probe_offset
        By how many nats ln G can be low because it was measured from random cotangents.
    notes
        What was assumed of the network or left out, in sentences.
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
    """The gates of a trained network over one sentence.

    Attributes
    ----------
    words
        The sentence.
    gates
        Of each gate the value of one unit, the one that remembers best, at each word.
    unit
        That unit.
    state
        What it holds, h or tanh c.
    """

    words: tuple[str, ...]
    gates: dict[str, Numbers]
    unit: int
    state: Numbers


@dataclass(frozen=True)
class Training:
    """One cell trained on one task, at several seeds.

    Attributes
    ----------
    setting
        The keys of its entry in the spec.
    updates, loss
        The loss, smoothed, after so many updates.
    baseline
        The loss of the best predictor without memory.
    final, solved
        The last loss of each seed, and whether it is well below the baseline.
    lags, before, after
        ln G of the networks on the task's own inputs, untrained and trained.
    needed
        How many steps back the task reaches.
    findings
        What the gates do, in sentences that hold numbers.
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
    """A decay study and all that is needed to run it again.

    Attributes
    ----------
    spec
        What was to be measured.
    rows
        The networks.
    training
        Trained against untrained.
    skipped
        Combinations that do not exist, each with the reason.
    versions
        Of Python and the packages that computed it.
    """

    spec: dict[str, Any]
    rows: tuple[Row, ...]
    training: tuple[Training, ...]
    skipped: tuple[str, ...]
    versions: dict[str, str]

    def to_json(self) -> str:
        """The result as JSON text, numbers to ten digits. What is not finite becomes null; of a log
        of a size that is an exact zero.
        """
        content = {"schema": SCHEMA, "units": UNITS} | dataclasses.asdict(self)
        return json.dumps(_plain(content), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.10g}") if math.isfinite(value) else None
