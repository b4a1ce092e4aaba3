"""Rounding budgets of cases: exact results, and how much rounding may change them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, TypeVar

import numpy as np

from gatecheck._util.arithmetic import arithmetic
from gatecheck._util.array_cache import ArrayCache
from gatecheck._util.cache_dir import cache_root, package_sources, source_digest
from gatecheck.cases import COTANGENTS, Case
from gatecheck.oracles.noise.precision import PRECISIONS
from gatecheck.oracles.rounding import Budget, Function, measure_budget
from gatecheck.reference import Results, equations, network_forward, run
from gatecheck.reference.equations import Equation

R = TypeVar("R")

CACHE_SIZE = 16384
"""Number of results that a process remembers, the newest ones.

A cell has some thousand budgets at profile ci, of about 10 kB, and all have to fit: a matrix of
faults needs them again for every fault.
"""


def cached_by_case(function: Callable[[Case], R]) -> Callable[[Case], R]:
    """Cache a function of a case, by the digest of the case.

    The cache holds no cases, since one may be far larger than its budget: half a megabyte where 121
    units show an activation.
    """
    results: dict[str, R] = {}

    @wraps(function)
    def cached(case: Case) -> R:
        if case.key not in results:
            if len(results) >= CACHE_SIZE:
                results.pop(next(iter(results)))
            results[case.key] = function(case)
        return results[case.key]

    return cached


SOURCES = ("errors.py", "_util", "cells", "cases", "checking", "oracles", "reference")
"""Modules and packages on which a budget depends."""

_use_disk = False


@contextmanager
def use_disk_cache() -> Iterator[None]:
    """Read budgets from disk in this context, and store those that are not there.

    They are equal to the last bit: a record belongs to a case, and its file to one version of all
    that a budget is computed from. The folder is that of compiled kernels.
    """
    global _use_disk
    before, _use_disk = _use_disk, True
    try:
        yield
    finally:
        _use_disk = before


@cache
def _cache_file(cell: str) -> ArrayCache:
    key = [source_digest(*package_sources(*SOURCES)), arithmetic()]
    folder = f"gatecheck-budgets-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}"
    return ArrayCache(cache_root() / folder / re.sub(r"[^\w-]", "_", cell))


def _cached_on_disk(function: Callable[[Case], Budget]) -> Callable[[Case], Budget]:
    """Wrap a function to measure only what is not on disk; see :func:`use_disk_cache`."""

    @wraps(function)
    def cached(case: Case) -> Budget:
        if not _use_disk:
            return function(case)
        file, key = _cache_file(case.cell.name), f"{function.__name__} {case.key}"
        if (stored := file.get(key)) is not None:
            exact, spread = ({k[1:]: v for k, v in stored.items() if k[0] == kind} for kind in "=~")
            return Budget(exact, spread, case.dtype.name)
        measured = function(case)
        file.put(
            key,
            {f"={k}": v for k, v in measured.exact.items()}
            | {f"~{k}": v for k, v in measured.spread.items()},
        )
        return measured

    return cached


def _measure_budget(function: Function, case: Case, *without: str) -> Budget:
    arrays = {k: v for k, v in case.as_float64().items() if k not in without}
    held = {k: arrays.pop(k) for k in (*case.params, "lengths") if k in arrays}
    return measure_budget(function, arrays, held, case.dtype.name)


@cached_by_case
@_cached_on_disk
def case_budget(case: Case) -> Budget:
    """Return the budget of a case in its own dtype, outputs and gradients."""
    mathematics = equations(case.cell)
    return _measure_budget(lambda arrays: run(mathematics, arrays), case)


@cached_by_case
@_cached_on_disk
def forward_budget(case: Case) -> Budget:
    """Return the budget of y, hT and (cT) alone, in a third of the time.

    It equals that of :func:`case_budget` to the last bit, since noise is drawn in the order of
    evaluation, and backward comes after forward.
    """
    mathematics = equations(case.cell)
    return _measure_budget(
        lambda arrays: network_forward(mathematics, arrays)[0], case, *COTANGENTS
    )


def edge_units(width: int) -> list[int]:
    """Return the units whose rows of dU are judged where there are many units."""
    return sorted({0, width // 2, width - 1})


@cached_by_case
@_cached_on_disk
def big_budget(case: Case) -> Budget:
    """Return the budget of a case of many units, in which dU has a few rows.

    They are those of the :func:`edge_units`. The gradient of U is by far the largest array, and a
    budget takes memory and time in proportion.
    """
    whole = equations(case.cell)
    factors = [k for k in ("h_prev", "q") if k in whole.step]

    def rows_of(equation: Equation) -> Equation:
        return lambda q: equation(
            q.reading(**{k: q[k][..., edge_units(q[k].shape[-1])] for k in factors})
        )

    mathematics = whole.edited(
        {k: rows_of(e) for k, e in whole.total.items() if k.startswith("dU_")}
    )
    return _measure_budget(lambda arrays: run(mathematics, arrays), case)


SELF_REPLICATES = 8
"""Number of perturbed runs of a function that has no equations."""

PERTURBATION_ROUNDINGS = 8
"""Number of roundings by which each of its inputs is perturbed.

About as many as a step has one after the other.
"""


def budget_for(implementation: Any, case: Any) -> Budget:
    """Return the budget of a case, from the equations of its cell if it has any.

    Without equations each input is perturbed at random by a few of its own roundings, and the
    spread of the implementation's results is the budget: a backward stable program returns the
    exact results of inputs that are off by that much (Wilkinson 1963). It says how well the
    implementation can agree with itself, not what is right.
    """
    return case_budget(case) if isinstance(case, Case) else _self_budget(implementation, case)


def _self_budget(implementation: Any, case: Any) -> Budget:
    rng, u = np.random.default_rng(0), PRECISIONS[case.dtype.name].u
    exact = {k: v.astype(float) for k, v in implementation.run(case).items()}
    squares = {k: np.zeros(v.shape) for k, v in exact.items()}
    for _ in range(SELF_REPLICATES):
        perturbed = case.replace(
            **{
                k: a * (1 + PERTURBATION_ROUNDINGS * u * rng.uniform(-1, 1, a.shape))
                for k, a in case.arrays.items()
            }
        )
        for k, v in implementation.run(perturbed).items():
            squares[k] += (v.astype(float) - exact[k]) ** 2
    return Budget(
        exact, {k: np.sqrt(v / SELF_REPLICATES) for k, v in squares.items()}, case.dtype.name
    )


def reference_results(case: Case) -> Results:
    """Return the reference's float64 results for a case."""
    return run(equations(case.cell), case.as_float64())
