"""What a correct implementation may return for a case: the reference's results and their rounding
budget.
"""

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
"""How many results a process remembers, the newest. A cell has some thousand budgets at profile ci,
of about 10 kB, and all have to fit: a matrix of faults asks for them again with every fault."""


def remembered(function: Callable[[Case], R]) -> Callable[[Case], R]:
    """A function that is asked once about equal cases, whoever is under audit.

    It knows them by their digests, since a case may be far larger than its budget: half a megabyte
    where 121 units show an activation.
    """
    found: dict[str, R] = {}

    @wraps(function)
    def asked_once(case: Case) -> R:
        if case.key not in found:
            if len(found) >= KEPT:
                found.pop(next(iter(found)))
            found[case.key] = function(case)
        return found[case.key]

    return asked_once


SOURCES = ("errors.py", "_util", "cells", "cases", "checking", "oracles", "reference")
"""Modules and packages on which a budget depends: their content names the file of the budgets."""

_keeping = False


@contextmanager
def kept() -> Iterator[None]:
    """Meanwhile budgets are kept on disk, and those that an earlier process kept are not measured
    again.

    They are the same to the last bit: of a case, by this version of all that a budget is made from.
    The folder is that of compiled kernels.
    """
    global _keeping
    before, _keeping = _keeping, True
    try:
        yield
    finally:
        _keeping = before


@cache
def _file(cell: str) -> Kept:
    made_from = source_digest(*package_sources(*SOURCES))
    folder = (
        cache_root()
        / f"gatecheck-budgets-{made_from}-numpy{np.__version__}-scipy{scipy.__version__}"
    )
    return Kept(folder / re.sub(r"[^\w-]", "_", cell))


def _on_disk(function: Callable[[Case], Budget]) -> Callable[[Case], Budget]:
    """A function that measures what was not :func:`kept`."""

    @wraps(function)
    def asked(case: Case) -> Budget:
        if not _keeping:
            return function(case)
        file, key = _file(case.cell.name), f"{function.__name__} {case.key}"
        if (found := file.get(key)) is not None:
            exact, spread = ({k[1:]: v for k, v in found.items() if k[0] == kind} for kind in "=~")
            return Budget(exact, spread, case.dtype.name)
        measured = function(case)
        file.put(
            key,
            {f"={k}": v for k, v in measured.exact.items()}
            | {f"~{k}": v for k, v in measured.spread.items()},
        )
        return measured

    return asked


def _measured(function: Function, case: Case, *without: str) -> Budget:
    arrays = {k: v for k, v in case.doubles().items() if k not in without}
    held = {k: arrays.pop(k) for k in (*case.params, "lengths") if k in arrays}
    return budget(function, arrays, held, case.dtype.name)


@remembered
@_on_disk
def case_budget(case: Case) -> Budget:
    """The budget of a case in its own dtype, outputs and gradients."""
    mathematics = equations(case.cell)
    return _measured(lambda arrays: run(mathematics, arrays), case)


@remembered
@_on_disk
def forward_budget(case: Case) -> Budget:
    """The budget of y, hT and (cT) alone, for a third of the time.

    It is to the last bit that of :func:`case_budget`, since noise is drawn in the order of
    evaluation, and backward comes after forward.
    """
    mathematics = equations(case.cell)
    return _measured(lambda arrays: ahead(mathematics, arrays)[0], case, *COTANGENTS)


REPLICATES = 8
"""How often a function of which no equations are known is run to see how it takes rounding."""

OPERATIONS = 8
"""By how many roundings each of its inputs is moved then: about as many as a step has one after the
other.
"""


def budget_for(implementation: Any, case: Any) -> Budget:
    """The budget of a case: from the equations of its cell, or where it has none from the
    implementation's own results.

    Without equations each input is moved at random by a few of its own roundings, and the spread of
    the results is taken for what rounding may do: a backward stable program returns the exact
    results of inputs that are off by so much (Wilkinson 1963). It says how well the implementation
    can agree with itself, not what is right.
    """
    return case_budget(case) if isinstance(case, Case) else _own(implementation, case)


def _own(implementation: Any, case: Any) -> Budget:
    rng, u = np.random.default_rng(0), PRECISIONS[case.dtype.name].u
    exact = {k: v.astype(float) for k, v in implementation.run(case).items()}
    square = {k: np.zeros(v.shape) for k, v in exact.items()}
    for _ in range(REPLICATES):
        moved = case.having(
            **{
                k: a * (1 + OPERATIONS * u * rng.uniform(-1, 1, a.shape))
                for k, a in case.arrays.items()
            }
        )
        for k, v in implementation.run(moved).items():
            square[k] += (v.astype(float) - exact[k]) ** 2
    return Budget(exact, {k: np.sqrt(v / REPLICATES) for k, v in square.items()}, case.dtype.name)


def exact(case: Case) -> Results:
    """The reference's float64 results for a case."""
    return run(equations(case.cell), case.doubles())
