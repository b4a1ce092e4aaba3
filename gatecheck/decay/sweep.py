"""The headline table: cells × initialisations, each at several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import as_cell, without_options
from gatecheck.decay import statistics
from gatecheck.decay.networks import Network
from gatecheck.decay.profile import adjoint_profile
from gatecheck.decay.result import Curve, DecayResult, Row
from gatecheck.decay.theory import predict
from gatecheck.errors import InputError, UsageError
from gatecheck.initialisers import initialiser
from gatecheck.validation import whole
from gatecheck.versions import versions

Array = NDArray[Any]
Progress = Callable[[int, int, str], None]

DEFAULT_ROWS = (
    ("rnn", "uniform"),
    ("rnn", "glorot_orthogonal"),
    ("gru", "uniform"),
    ("lstm", "uniform"),
    ("lstm", "unit_forget_bias"),
    ("lstm", "chrono:1000"),
    ("gru", "chrono:1000"),
)

# With 16 of 256 directions the estimated norm of a rank-one product is 3 % low on average (statistics.probe_offset) and scatters by 18 %,
# less than seeds do.
PROBES = 16
POINTS = 400


def decay(
    cells: Sequence[str] | None = None,
    initialisers: Sequence[str] | None = None,
    hidden: int = 128,
    inputs: int = 16,
    steps: int = 4000,
    seeds: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> DecayResult:
    """Measure how fast gradients fade with lag, at random weights and inputs from N(0, 1).

    Parameters
    ----------
    cells, initialisers
        Names of cells (``rnn``, ``rnn-relu``, ``rnn-sigmoid``, ``gru``, ``gru-before``, ``lstm``) and of initialisers (``uniform``,
        ``glorot_orthogonal``, ``unit_forget_bias``, ``uniform_gate``, ``chrono:TMAX``), all combinations of which are measured. If one is
        None it stands for those of :data:`DEFAULT_ROWS`; if both are, exactly these rows are measured.
    hidden, inputs
        Hidden size H and input size D.
    steps
        Length T of the sequences and the longest lag. Up to 1e6 at H = 128 fits in 1 GiB of memory.
    seeds
        How many networks, with inputs of their own, stand behind each row.
    seed
        The run's seed. The same seed gives the same result, whatever else is measured beside it.
    progress
        Called with the work done, the work to do and what is being measured.

    Returns
    -------
    DecayResult
        G(lag) is the median over seeds of ‖∂s_T/∂s_{T-lag}‖ (Frobenius norm, s = h or (h, c)) relative to lag 1, measured from
        min(16, size of s) random orthonormal cotangents of s_T.

    Raises
    ------
    UsageError
        If a number is too small, a name is unknown, or no combination exists.
    InputError
        If a network overflows.
    """
    least = {"hidden": 1, "inputs": 1, "steps": 2, "seeds": 1, "seed": 0}
    hidden, inputs, steps, seeds, seed = (
        whole(name, value, least[name]) for name, value in zip(least, (hidden, inputs, steps, seeds, seed), strict=True)
    )
    networks, skipped = _networks(cells, initialisers, hidden, inputs)
    work = 2 * steps * seeds * len(networks)
    rows = []
    for k, network in enumerate(networks):
        log_norm = np.empty((seeds, steps + 1))
        for trial in range(seeds):
            report = _part(progress, 2 * steps * (k * seeds + trial), work, network.name)
            log_norm[trial] = _measure(network, steps, seed, trial, report)
        rows.append(_row(network, log_norm, network.generator(seed, seeds)))
    return DecayResult(
        hidden=hidden,
        inputs=inputs,
        steps=steps,
        seeds=seeds,
        seed=seed,
        probes=PROBES,
        probe_offset={n.cell.name: _offset(n) for n in networks},
        rows=tuple(rows),
        skipped=skipped,
        versions=versions(),
    )


def _networks(
    cells: Sequence[str] | None, initialisers: Sequence[str] | None, hidden: int, inputs: int
) -> tuple[list[Network], tuple[str, ...]]:
    """The networks of these combinations, and those that do not exist, with the reason."""
    pairs: Sequence[tuple[str, str]] = DEFAULT_ROWS
    if cells is not None or initialisers is not None:
        default_cells, default_initialisers = (tuple(dict.fromkeys(names)) for names in zip(*DEFAULT_ROWS, strict=True))
        pairs = tuple(product(default_cells if cells is None else cells, default_initialisers if initialisers is None else initialisers))
    networks, skipped = [], []
    for cell, name in dict.fromkeys(pairs):
        network, draw = Network(without_options(as_cell(cell), "decay measures"), name, hidden, inputs), initialiser(name)
        try:
            draw(np.random.default_rng(0), network.cell, 1, 1)
        except UsageError as error:
            skipped.append(f"{network.name}: {error}")
        else:
            networks.append(network)
    if not networks:
        raise UsageError("nothing to measure: " + ("; ".join(skipped) or "no cell or no initialiser was given"))
    return networks, tuple(skipped)


def _part(progress: Progress | None, before: int, work: int, label: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, _: progress(before + done, work, label)


def _measure(network: Network, steps: int, seed: int, trial: int, progress: Callable[[int, int], None] | None) -> Array:
    """Log-norms ``(T+1,)`` by lag of one network on one sequence."""
    rng = network.generator(seed, trial)
    params, start, x = network.params(rng), network.probes(rng, PROBES), network.sequence(rng, steps)
    log_norm = adjoint_profile(network.cell, params, x, start, progress=progress).log_norm
    if np.isnan(log_norm).any() or np.isposinf(log_norm).any():
        raise InputError(f"{network.name} overflows within {steps} steps (seed {seed}, trial {trial}), so it has no gradient to measure")
    return log_norm


def _offset(network: Network) -> float:
    size = network.hidden * len(network.cell.state)
    return statistics.probe_offset(min(PROBES, size), size)


def _row(network: Network, log_norm: Array, rng: np.random.Generator) -> Row:
    rate, curve = statistics.rate(log_norm, rng), statistics.curve(log_norm)
    prediction = predict(network.cell, network.initialiser)
    lags = np.unique(np.geomspace(1, log_norm.shape[1] - 1, POINTS).round().astype(int))
    half, e, thousandth, float32 = (statistics.first_lag(curve.median, level) for level in (1 / 2, 1 / np.e, 1e-3, 2.0**-150))
    return Row(
        cell=network.cell.name,
        initialiser=network.initialiser,
        rate=rate.mean,
        rate_low=rate.low,
        rate_high=rate.high,
        rate_sd=rate.sd,
        lag_half=half,
        lag_e=e,
        lag_thousandth=thousandth,
        lag_float32_zero=float32,
        predicted_rate=prediction.rate if prediction else None,
        assumption=prediction.assumption if prediction else None,
        curve=Curve(
            lags=tuple(lags.tolist()),
            median=tuple(curve.median[lags].tolist()),
            low=tuple(curve.low[lags].tolist()),
            high=tuple(curve.high[lags].tolist()),
            theory=tuple(prediction.log_size(lags).tolist()) if prediction else None,
        ),
    )
