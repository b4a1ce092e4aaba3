"""The headline table: cells × initialisations, each at several seeds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import as_cell, without_options
from gatecheck.decay import statistics
from gatecheck.decay.job import Job, Report
from gatecheck.decay.jobs import Progress, run, warn
from gatecheck.decay.networks import Network
from gatecheck.decay.profile import adjoint_profile
from gatecheck.decay.result import Curve, DecayResult, Row
from gatecheck.decay.store import Keeper, Store
from gatecheck.decay.theory import predict
from gatecheck.errors import InputError, UsageError
from gatecheck.initialisers import initialiser
from gatecheck.versions import versions

Array = NDArray[Any]

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

ARGUMENTS = ("cell", "initialiser", "hidden", "inputs", "steps", "seed", "trial")
"""Of :func:`measure`."""


def decay(
    cells: Sequence[str] | None = None,
    initialisers: Sequence[str] | None = None,
    hidden: int = 128,
    inputs: int = 16,
    steps: int = 4000,
    seeds: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    workers: int = 1,
    store: Store | None = None,
    resume: bool = False,
    dask: str | None = None,
    say: Callable[[str], None] = warn,
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
    workers, store, resume, dask, say
        Where it runs and what outlives an interruption, as in :func:`gatecheck.decay.jobs.run`. They do not change the result. A job is
        one network.

    Returns
    -------
    DecayResult
        G(lag) is the median over seeds of ‖∂s_T/∂s_{T-lag}‖ (Frobenius norm, s = h or (h, c)) relative to lag 1, measured from
        min(16, size of s) random orthonormal cotangents of s_T.

    Raises
    ------
    UsageError
        If a number is too small, a name is unknown, no combination exists, or the store or the cluster cannot be used.
    InputError
        If a network overflows.
    WorkerLostError
        If a process was killed; what was finished before is in the store.
    MissingExtraError
        If `dask` is given and the package ``distributed`` is missing.
    """
    least = {"hidden": 1, "inputs": 1, "steps": 2, "seeds": 1, "seed": 0, "workers": 1}
    hidden, inputs, steps, seeds, seed, workers = (
        _whole(name, value, least[name]) for name, value in zip(least, (hidden, inputs, steps, seeds, seed, workers), strict=True)
    )
    networks, skipped = _networks(cells, initialisers, hidden, inputs)
    jobs = [_job(network, steps, seed, trial) for network in networks for trial in range(seeds)]
    results = run(measure, jobs, workers=workers, store=store, resume=resume, dask=dask, progress=progress, say=say)
    rows = []
    for k, network in enumerate(networks):
        log_norm = np.stack([result["log_norm"] for result in results[k * seeds : (k + 1) * seeds]])
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


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}, but should be a whole number") from None
    if number < least:
        raise UsageError(f"{name} is {number}, but should be at least {least}")
    return number


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


def _job(network: Network, steps: int, seed: int, trial: int) -> Job:
    arguments = {"cell": network.cell.name, "initialiser": network.initialiser, "hidden": network.hidden, "inputs": network.inputs}
    return Job(network.name, f"trial {trial}", arguments | {"steps": steps, "seed": seed, "trial": trial}, 2 * steps)


def measure(arguments: Mapping[str, Any], report: Report, keeper: Keeper | None) -> dict[str, Array]:
    """The log-norms ``(T+1,)`` by lag of one network on one sequence: what a job of a sweep is."""
    cell, initialiser, hidden, inputs, steps, seed, trial = (arguments[name] for name in ARGUMENTS)
    network = Network(as_cell(cell), initialiser, hidden, inputs)
    rng = network.generator(seed, trial)
    params, start, x = network.params(rng), network.probes(rng, PROBES), network.sequence(rng, steps)
    log_norm = adjoint_profile(network.cell, params, x, start, progress=_paid(report, start.shape[1]), keeper=keeper).log_norm
    if np.isnan(log_norm).any() or np.isposinf(log_norm).any():
        raise InputError(f"{network.name} overflows within {steps} steps (seed {seed}, trial {trial}), so it has no gradient to measure")
    return {"log_norm": log_norm}


def _paid(report: Report, probes: int) -> Report:
    """Steps as time pays for them, so that the time that is left can be told: back costs 1 forward and a quarter for each probe."""

    def paid(done: int, total: int) -> None:
        forward, back = min(done, total // 2), max(0, done - total // 2)
        report(4 * forward + (probes + 4) * back, (probes + 8) * (total // 2))

    return paid


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
