"""Measurement of one point.

Every contestant is prepared, shown to compute the same thing, raced, and checked once more after
the race.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gatecheck.bench import roofline
from gatecheck.bench.job import Job, Results
from gatecheck.bench.points import Point, flops
from gatecheck.bench.timing import race, ratios
from gatecheck.cases import Case, draw
from gatecheck.checking.budgets import reference_results
from gatecheck.errors import MissingExtraError, TargetError, UsageError
from gatecheck.implementation import InProcess, Subject, subject
from gatecheck.kernels import Builtin
from gatecheck.kernels.builtin import KERNEL_CELLS

PEER_MODULES = {
    "torch": "gatecheck.bench.peers.torch",
    "jax": "gatecheck.bench.peers.jax",
    "onnxruntime": "gatecheck.bench.peers.onnxruntime",
    "numpy": "gatecheck.bench.peers.numpy",
}
OURS = "gatecheck"
"""Name of our kernels as a peer, for a target that is not ours."""

SUBJECT, PRODUCTS = "subject", "products"

SETTLE_SECONDS = 0.05
"""Seconds after which the idle threads of another contestant sleep.

OpenBLAS's spin for 2^26 cycles.
"""

Prepare = Callable[[Case, str, int], Job]


@dataclass(frozen=True)
class Peers:
    """Peers that can be raced against.

    Attributes
    ----------
    prepare
        Functions that prepare a point, by name.
    missing
        How to install the missing ones, by name.
    packages
        Packages whose versions a result names.
    """

    prepare: Mapping[str, Prepare]
    missing: Mapping[str, str]
    packages: tuple[str, ...]


def find_peers(names: tuple[str, ...]) -> Peers:
    """Return the peers of these names that are installed, and those missing."""
    prepare: dict[str, Prepare] = {}
    missing: dict[str, str] = {}
    packages: list[str] = []
    for name in names:
        if name == OURS:
            prepare[name] = _prepare_ours
            continue
        try:
            module = importlib.import_module(PEER_MODULES[name])
        except MissingExtraError as error:
            missing[name] = str(error)
            continue
        prepare[name] = module.prepare
        packages += module.PACKAGES
    return Peers(prepare, missing, tuple(packages))


@dataclass(frozen=True)
class RaceSettings:
    """Conditions of a race.

    Attributes
    ----------
    threads
        Number of threads that each contestant may use.
    rounds, least
        See :func:`gatecheck.bench.timing.race`.
    """

    threads: int
    rounds: int
    least: float


def measure_point(
    point: Point,
    under_test: Subject,
    peers: Mapping[str, Prepare],
    terms: RaceSettings,
    deadline: float,
) -> dict[str, Any]:
    """Measure one point, and return it as in the JSON file.

    Peers that cannot compute it are under ``absent``, those that compute something else under
    ``refused``, each with a reason.

    Raises
    ------
    TargetError
        If the subject computes something else.
    """
    case = under_test.zero_unsupported(
        draw(under_test.cell, point.sizes, seed=0, dtype=point.dtype)
    )
    truth = _reference_results(case, point.work)
    jobs = {SUBJECT: subject_job(under_test, case, point.work)}
    absent: dict[str, str] = {}
    for name, prepare in peers.items():
        try:
            jobs[name] = prepare(case, point.work, terms.threads)
        except UsageError as error:
            absent[name] = str(error)
    optional = frozenset(f"d{name}" for name in under_test.unsupported_params)
    refused = _refusals(jobs, truth, point, under_test, optional)
    for name in refused:
        del jobs[name]
    calls = {name: job.call for name, job in jobs.items()} | {
        PRODUCTS: roofline.products(case.cell, point.sizes, point.dtype, point.work)
    }
    seconds = race(
        calls,
        rounds=terms.rounds,
        least=terms.least,
        deadline=deadline,
        settle=SETTLE_SECONDS if terms.threads > 1 else 0.0,
    )
    # A contestant that overwrote its arguments did not measure this point.
    refused |= _refusals(jobs, truth, point, under_test, optional)
    against = ratios(seconds, SUBJECT)
    work = flops(case.cell, point.sizes, point.work)
    peer_ratios = {
        name: values for name, values in against.items() if name != PRODUCTS and name not in refused
    }
    return {
        "cell": point.cell,
        "dtype": point.dtype,
        "work": point.work,
        **point.sizes._asdict(),
        "threads": terms.threads,
        "rounds": len(seconds[SUBJECT]),
        "seconds": {
            name: float(np.median(taken)) for name, taken in seconds.items() if name not in refused
        },
        "ratio": {name: values.median for name, values in peer_ratios.items()},
        "interval": {name: [values.low, values.high] for name, values in peer_ratios.items()},
        "gemm_fraction": against[PRODUCTS].median,
        "gigaflops": work / float(np.median(seconds[SUBJECT])) / 1e9,
        "absent": absent,
        "refused": refused,
    }


def subject_job(under_test: Subject, case: Case, work: str) -> Job:
    """Return the forward or backward pass of an implementation at a case as a job.

    The backward runs forward itself.
    """
    what = "forward" if work == "forward" else "backward"
    call = under_test.call_for(what, case)
    target = cast(InProcess, under_test.session).target
    function = getattr(target, what)
    positional = list(call.arguments.values())
    ask = under_test.forward if work == "forward" else under_test.backward
    return Job(lambda: function(*positional), lambda: ask(case))


def _prepare_ours(case: Case, work: str, threads: int) -> Job:
    if case.cell not in KERNEL_CELLS:
        raise UsageError(f"gatecheck has no kernels for a {case.cell}")
    return subject_job(subject(Builtin(case.cell)), case, work)


def _reference_results(case: Case, work: str) -> Results:
    if case.cell in KERNEL_CELLS:
        ours = subject(Builtin(case.cell))
        return ours.forward(case) if work == "forward" else ours.backward(case)
    return {
        name: value
        for name, value in reference_results(case).items()
        if name.startswith("d") == (work == "gradients")
    }


def _refusals(
    jobs: Mapping[str, Job],
    truth: Results,
    point: Point,
    under_test: Subject,
    optional: frozenset[str],
) -> dict[str, str]:
    wrong = {
        name: reason
        for name, job in jobs.items()
        if (reason := first_mismatch(job.results(), truth, point.dtype, optional))
    }
    if SUBJECT in wrong:
        raise TargetError(
            f"{under_test.name} does not compute what a {point.cell} does, at {point}: "
            f"{wrong[SUBJECT]}; audit it first"
        )
    return wrong


def first_mismatch(
    results: Results, truth: Results, dtype: str, optional: frozenset[str] = frozenset()
) -> str | None:
    """Return what is wrong with results, or None if half of their digits agree.

    That is an error of at most √ε of each array's norm. It is loose on purpose: rounding of correct
    code stays below it at every size that is measured here, and code that computes something else
    does not. ``gatecheck audit`` measures a library's actual rounding.
    """
    for name, expected in truth.items():
        if name not in results:
            if name in optional:
                continue
            return f"there is no {name}"
        if results[name].shape != expected.shape:
            return f"{name} has the shape {results[name].shape}, but should have {expected.shape}"
        size = float(np.linalg.norm(expected.astype(float)))
        error = float(np.linalg.norm(results[name].astype(float) - expected)) / (size or 1.0)
        if not error <= math.sqrt(np.finfo(dtype).eps):  # negated so that NaN is refused
            return f"{name} is off by {error:.1e} of its norm"
    return None
