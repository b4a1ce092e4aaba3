"""What a decay sweep found: plain data, as tables, figures and JSON need it."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

SCHEMA = "gatecheck-decay-1"
UNITS = {"rate": "nats per step", "lag": "steps", "log_size": "nats, relative to lag 1"}


@dataclass(frozen=True)
class Curve:
    """ln G at some lags: the log of ‖∂ℓ/∂s‖ relative to lag 1, over seeds.

    Attributes
    ----------
    lags
        Lags from 1 to T, the early ones all, the later ones in equal ratios.
    median, low, high
        The median and the 10 % and 90 % quantiles over seeds.
    theory
        What :attr:`Row.assumption` predicts at these lags, or None.
    """

    lags: tuple[int, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    theory: tuple[float, ...] | None


@dataclass(frozen=True)
class Row:
    """One network: a cell at an initialisation.

    Attributes
    ----------
    rate, rate_low, rate_high, rate_sd
        λ₁, its 95 % interval and its standard deviation over seeds; NaN where there is too little to tell, -inf for exact zeros.
    lag_half, lag_e, lag_thousandth
        First lags at which the median gradient is down to 1/2, 1/e and 1e-3 of that at lag 1; None if that is beyond T.
    lag_float32_zero
        First lag at which a float32 gradient whose entries are about 1 at lag 1 rounds to zero, G < 2^-150; None if that is beyond T.
    predicted_rate, assumption
        What theory says and on what assumption, or None.
    """

    cell: str
    initialiser: str
    rate: float
    rate_low: float
    rate_high: float
    rate_sd: float
    lag_half: int | None
    lag_e: int | None
    lag_thousandth: int | None
    lag_float32_zero: int | None
    predicted_rate: float | None
    assumption: str | None
    curve: Curve


@dataclass(frozen=True)
class DecayResult:
    """A decay sweep and all that is needed to run it again.

    Attributes
    ----------
    hidden, inputs, steps, seeds, seed
        The arguments of :func:`gatecheck.decay.sweep.decay`.
    probes, probe_offset
        How many random cotangents measured each norm, and by how many nats ln G can be low for that reason, by cell.
    rows
        The networks.
    skipped
        Combinations that do not exist, each with the reason.
    versions
        Of Python and the packages that computed it.
    """

    hidden: int
    inputs: int
    steps: int
    seeds: int
    seed: int
    probes: int
    probe_offset: dict[str, float]
    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    versions: dict[str, str]

    def to_json(self) -> str:
        """The result as JSON text. Numbers that are not finite become null; of `log_size` that is a gradient of exactly zero."""
        content = {"schema": SCHEMA, "units": UNITS} | dataclasses.asdict(self)
        return json.dumps(_finite(content), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
