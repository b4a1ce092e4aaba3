"""Rounding budgets of cases: exact results, and how much rounding may change them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, TypeVar

import numpy as np
import scipy

from gatecheck._util.array_cache import Kept
from gatecheck._util.cache_dir import cache_root, package_sources, source_digest
from gatecheck.cases import COTANGENTS, Case
from gatecheck.oracles.rounding import PRECISIONS, Budget, Function, budget
from gatecheck.reference import Results, ahead, equations, run

R = TypeVar("R")

KEPT = 16384
"""Number of results that a process remembers, the newest ones.

A cell has some thousand budgets at profile ci, of about 10 kB, and all have to fit: a matrix of
faults needs them again for every fault.
"""


def remembered(function: Callable[[Case], R]) -> Callable[[Case], R]:
    """Cache a function of a case, by the digest of the case.

    The cache holds no cases, since one may be far larger than its budget: half a megabyte where 121
    units show an activation.
    """
    results: dict[str, R] = {}

    @wraps(function)
    def cached(case: Case) -> R:
        if case.key not in results:
            if len(results) >= KEPT:
                results.pop(next(iter(results)))
            results[case.key] = function(case)
        return results[case.key]

    return cached


SOURCES = ("errors.py", "_util", "cells", "cases", "checking", "oracles", "reference")
"""Modules and packages on which a budget depends: their content names the file of the budgets."""

_keeping = False


@contextmanager
def kept() -> Iterator[None]:
    """Read budgets from disk in this context, and store those that are not there.

    They are equal to the last bit: a record belongs to a case, and its file to one version of all
    that a budget is computed from. The folder is that of compiled kernels.
    """
    global _keeping
    before, _keeping = _keeping, True
    try:
        yield
    finally:
        _keeping = before


@cache
def _file(cell: str) -> Kept:
    digest = source_digest(*package_sources(*SOURCES))
    folder = (
        cache_root() / f"gatecheck-budgets-{digest}-numpy{np.__version__}-scipy{scipy.__version__}"
    )
    return Kept(folder / re.sub(r"[^\w-]", "_", cell))


def _on_disk(function: Callable[[Case], Budget]) -> Callable[[Case], Budget]:
    """Wrap a function to measure only what is not on disk; see :func:`kept`."""

    @wraps(function)
    def cached(case: Case) -> Budget:
        if not _keeping:
            return function(case)
        file, key = _file(case.cell.name), f"{function.__name__} {case.key}"
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


def _measured(function: Function, case: Case, *without: str) -> Budget:
    arrays = {k: v for k, v in case.doubles().items() if k not in without}
    held = {k: arrays.pop(k) for k in (*case.params, "lengths") if k in arrays}
    return budget(function, arrays, held, case.dtype.name)


@remembered
@_on_disk
def case_budget(case: Case) -> Budget:
    """Return the budget of a case in its own dtype, outputs and gradients."""
    mathematics = equations(case.cell)
    return _measured(lambda arrays: run(mathematics, arrays), case)


@remembered
@_on_disk
def forward_budget(case: Case) -> Budget:
    """Return the budget of y, hT and (cT) alone, in a third of the time.

    It equals that of :func:`case_budget` to the last bit, since noise is drawn in the order of
    evaluation, and backward comes after forward.
    """
    mathematics = equations(case.cell)
    return _measured(lambda arrays: ahead(mathematics, arrays)[0], case, *COTANGENTS)


REPLICATES = 8
"""Number of perturbed runs of a function that has no equations."""

OPERATIONS = 8
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
    return case_budget(case) if isinstance(case, Case) else _own(implementation, case)


def _own(implementation: Any, case: Any) -> Budget:
    rng, u = np.random.default_rng(0), PRECISIONS[case.dtype.name].u
    exact = {k: v.astype(float) for k, v in implementation.run(case).items()}
    squares = {k: np.zeros(v.shape) for k, v in exact.items()}
    for _ in range(REPLICATES):
        perturbed = case.having(
            **{
                k: a * (1 + OPERATIONS * u * rng.uniform(-1, 1, a.shape))
                for k, a in case.arrays.items()
            }
        )
        for k, v in implementation.run(perturbed).items():
            squares[k] += (v.astype(float) - exact[k]) ** 2
    return Budget(exact, {k: np.sqrt(v / REPLICATES) for k, v in squares.items()}, case.dtype.name)


def exact(case: Case) -> Results:
    """Return the reference's float64 results for a case."""
    return run(equations(case.cell), case.doubles())
