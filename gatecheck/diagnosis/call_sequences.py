"""Outcomes of a series of calls, in which faults around a cell show.

An outcome is the results or the refusal, and the arguments that the call changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case, draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.diagnosis.prefilter import SCREENING_RTOL
from gatecheck.errors import ContractError, GatecheckError, TargetError
from gatecheck.faults.catalogue import faults
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.fault import Fault
from gatecheck.faults.tables.calls.state import retained_state
from gatecheck.implementation import Subject, subject
from gatecheck.kernels.builtin import KERNEL_CELLS, Builtin
from gatecheck.reference import Results

BIG_SIZES = {"H": 59, "B": 66, "T": 258}
"""Sizes beyond those at which a fault in the catalogue begins.

59 units leave different tails beyond vectors of 8, 16 and 32.
"""


@dataclass(frozen=True)
class CallOutcome:
    """Outcome of one call: its results or its failure, and the changed arguments."""

    results: Results | None
    failure: str = ""
    changed_arguments: tuple[str, ...] = ()

    def matches(self, other: CallOutcome, rtol: float) -> bool:
        """Return whether two calls did the same."""
        if self.failure != other.failure or self.changed_arguments != other.changed_arguments:
            return False
        if self.results is None or other.results is None:
            return self.results is other.results
        # A target returns no gradient of what its convention has no place for.
        return self.results.keys() <= other.results.keys() and all(
            _is_close(v, other.results[k], rtol) for k, v in self.results.items()
        )


def _is_close(a: Array, b: Array, rtol: float) -> bool:
    if not a.size:
        return True
    with np.errstate(all="ignore"):
        a, b = (np.nan_to_num(v.astype(float), nan=1e30, posinf=1e31, neginf=-1e31) for v in (a, b))
        return bool(np.abs(a - b).max() <= rtol * max(np.abs(a).max(), np.abs(b).max(), 1e-2))


def probe_calls(implementation: Subject, seed: int) -> list[tuple[str, Case]]:
    """Return calls that show retained state, wrong assumptions and wrong layouts."""
    cell, fixed = implementation.cell, implementation.sizes
    sizes = Sizes(*(fixed.get(k, v) for k, v in zip("TBDH", (5, 3, 2, 4), strict=True)))
    states = tuple(f"{k}0" for k in cell.state)
    both = "backward" in implementation.abilities
    calls: list[tuple[str, Case]] = []

    def add(case: Case, gradients: bool = True) -> None:
        case = implementation.zero_unsupported(case)
        calls.append(("forward", case))
        if gradients and both:
            calls.append(("backward", case))

    for dtype in implementation.dtypes:
        whole = draw(cell, sizes, seed=seed, dtype=dtype)
        other = draw(cell, sizes, seed=seed + 1, dtype=dtype)
        add(whole)
        add(whole.replace(**dict.fromkeys(states)))
        add(other.replace(**{k: whole[k] for k in ("x",)}))
        add(other.replace(dy=None))
        add(other.replace(**{f"d{k}T": None for k in cell.state}))
        if "T" not in fixed:
            add(draw(cell, sizes._replace(T=0), seed=seed, dtype=dtype))
            add(draw(cell, sizes._replace(T=1), seed=seed, dtype=dtype))
        if "B" not in fixed:
            add(draw(cell, sizes._replace(B=1), seed=seed, dtype=dtype))
            add(draw(cell, sizes._replace(B=0), seed=seed, dtype=dtype), False)
        if "lengths" in implementation.abilities:
            add(draw(cell, sizes, seed=seed, dtype=dtype, ragged=True))
    # Of each size enough to tell apart where a fault begins; last, since they take longest.
    for name, size in BIG_SIZES.items():
        if name not in fixed:
            dtype = implementation.dtypes[-1]
            add(draw(cell, sizes._replace(**{name: size}), seed=seed, dtype=dtype))
    return calls


def run_calls(implementation: Subject, calls: Sequence[tuple[str, Case]]) -> Iterator[CallOutcome]:
    """Yield the outcome of each call, one after the other."""
    for method, case in calls:
        (answer,) = implementation.watch(method, [case])
        try:
            yield CallOutcome(implementation.read(method, case, answer), "", answer.changed)
        except ContractError as error:
            yield CallOutcome(None, str(error), answer.changed)
        except TargetError:
            yield CallOutcome(None, "crashed", answer.changed)


def matching_wrapper_faults(
    implementation: Subject, seed: int, tick: Callable[[], None]
) -> list[Fault]:
    """Return the faults around a cell that reproduce a target's series of calls.

    Empty if the target does what is right.

    Parameters
    ----------
    implementation
        The target, in canonical terms.
    seed
        Seed of the cases.
    tick
        Called before each fault is tried; it may raise to end the search.
    """
    cell = implementation.cell
    calls = probe_calls(implementation, seed)
    # The target may have been called before; in the second round its earlier calls are known.
    observed = list(run_calls(implementation, calls + calls))[len(calls) :]

    def matches(other: Subject, with_past: bool = False) -> bool:
        for _ in run_calls(other, calls if with_past else ()):
            pass
        outcomes_of_other = run_calls(other, calls)  # lazy: the first difference ends it
        return all(
            a.matches(b, SCREENING_RTOL[case.dtype.name])
            for a, b, (_, case) in zip(observed, outcomes_of_other, calls, strict=True)
        )

    if matches(subject(Builtin(cell) if cell.layer_cell in KERNEL_CELLS else EditedCell(cell))):
        return []
    stateful = {row[0] for row in retained_state(cell)}
    matching = []
    for fault in _wrapper_faults(implementation):
        tick()
        try:
            faulty = subject(fault.inject(), cell=as_cell(fault.cell))
            if matches(faulty, fault.name in stateful):
                matching.append(fault)
        except GatecheckError:
            continue  # a fault of options that this target lacks
    return matching


def _wrapper_faults(implementation: Subject) -> list[Fault]:
    name = implementation.cell.name
    try:
        return [fault for fault in faults(name) if fault.wrap is not None]
    except GatecheckError:
        return []
