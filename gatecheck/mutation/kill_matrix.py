"""Kill matrix: which property catches which fault.

A verification suite is worth what it catches.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gatecheck._util.typing import Progress
from gatecheck._util.versions import versions
from gatecheck.auditing.explore import explore
from gatecheck.auditing.parallel import map_labels
from gatecheck.auditing.selection import applicable_properties, select_properties
from gatecheck.cells import CELLS, GRU, LSTM, NETWORKS, VARIANTS, as_cell
from gatecheck.checking.registry import Property
from gatecheck.errors import ContractError
from gatecheck.faults.catalogue import faults, find, mutants
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject
from gatecheck.mutation.planted import order_properties, reuse_forward_evidence, subject_for

SCHEMA = "gatecheck-faults-1"


@dataclass(frozen=True)
class FaultResult:
    """Result of trying the properties on one fault.

    Attributes
    ----------
    name, cell, description, source, equivalent, reference_needed
        Attributes of the fault.
    killed_by
        The properties that failed on it, each with the number of examples up to its first failure;
        those that need fewest come first.
    killed_without_reference_by
        The properties among them that compare with no other implementation.
    only_by_contract
        True if each of them failed because a result had a wrong shape, dtype or name, so that no
        value was ever judged.
    properties_tried
        The properties that were tried on it.
    examples
        Number of checks.
    seconds
        Time that they took.
    """

    name: str
    cell: str
    description: str
    source: str
    equivalent: str
    reference_needed: str
    killed_by: dict[str, int]
    killed_without_reference_by: list[str]
    only_by_contract: bool
    properties_tried: tuple[str, ...]
    examples: int
    seconds: float

    @property
    def label(self) -> str:
        """Label of the fault."""
        return f"{self.cell}: {self.name}"

    @property
    def killed(self) -> bool:
        """True if any property failed on it."""
        return bool(self.killed_by)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data.

        The properties that were tried follow from the cell, so they are counted once for all
        faults.
        """
        data = {k: v for k, v in vars(self).items() if k != "properties_tried"}
        return data | {"killed_by": list(self.killed_by), "examples_to_kill": self.killed_by}


# ---- the matrix


def try_properties(
    label: str, profile: str, seed: int, first_only: bool, without_reference: bool
) -> FaultResult:
    """Try every property that applies on one fault, each up to its first failure.

    Parameters
    ----------
    label
        Label of a fault or a mutant; see :func:`gatecheck.faults.catalogue.find`.
    profile, seed
        Profile and seed, as in an audit.
    first_only
        Stop at the first property that fails.
    without_reference
        Leave out the properties that compare with another implementation.
    """
    start = time.perf_counter()
    fault = find(label)
    faulty, only_gradients = subject_for(fault)
    properties = [
        c
        for c in order_properties(applicable_properties(faulty))
        if not (without_reference and c.reference)
    ]
    if only_gradients:
        properties = [reuse_forward_evidence(c) for c in properties]
    tallies = explore(
        faulty,
        properties,
        profile,
        seed,
        stop_at_first_failing_property=first_only,
        stop_at_first_failure=True,
    )
    failed = sorted(
        (t for t in tallies.values() if t.failure is not None), key=lambda t: t.examples
    )
    return FaultResult(
        fault.name,
        fault.cell,
        fault.description,
        fault.source,
        fault.equivalent,
        fault.reference_needed,
        {t.prop.name: t.examples for t in failed},
        [t.prop.name for t in failed if not t.prop.reference],
        bool(failed) and all(isinstance(t.failure, ContractError) for t in failed),
        tuple(tallies),
        sum(t.examples for t in tallies.values()),
        time.perf_counter() - start,
    )


def _try_properties_for_seeds(
    label: str, profile: str, seeds: Sequence[int], first_only: bool, without_reference: bool
) -> list[FaultResult]:
    return [try_properties(label, profile, seed, first_only, without_reference) for seed in seeds]


def run_matrices(
    labels: Sequence[str],
    *,
    seeds: Sequence[int],
    profile: str = "quick",
    first_only: bool = False,
    without_reference: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[list[FaultResult]]:
    """Try every property that applies on every fault, for each seed, in parallel.

    The result does not depend on the number of workers.

    Parameters
    ----------
    labels
        Labels of faults and mutants.
    seeds, profile, first_only, without_reference
        Passed to :func:`try_properties`, seed by seed.
    workers
        Number of processes; by default the number of cores.
    progress
        Called with how many faults are done, how many there are, and the label of the last one.
    """
    by_label = map_labels(
        _try_properties_for_seeds,
        labels,
        profile,
        seeds,
        first_only,
        without_reference,
        workers=workers,
        progress=progress,
    )
    return [[by_seed[i] for by_seed in by_label] for i in range(len(seeds))]


def run_matrix(labels: Sequence[str], *, seed: int = 0, **how: Any) -> list[FaultResult]:
    """Return :func:`run_matrices` for one seed."""
    (killings,) = run_matrices(labels, seeds=[seed], **how)
    return killings


def select_labels(
    cell: str | None = None, name: str | None = None, *, with_mutants: bool = False
) -> list[str]:
    """Return the labels of the faults to try.

    These are the one by that name, or those of a cell or of all cells, with or without the
    systematic misreadings.

    Raises
    ------
    UsageError
        If there is no such cell or fault.
    """
    if cell is not None:
        as_cell(cell)
    if name is not None:
        return [find(name).label]
    misreadings = (
        [mutant for k in ([cell] if cell else CELLS) for mutant in mutants(k)]
        if with_mutants
        else []
    )
    return [f.label for f in (*faults(cell), *misreadings)]


# ---- one property


class Detection(NamedTuple):
    """Outcome of one property on one fault; the message is empty if it passed."""

    label: str
    description: str
    message: str


def try_property(label: str, name: str, seed: int) -> Detection:
    """Try one property on one fault, at profile quick, up to its first failure."""
    fault = find(label)
    tallies = explore(
        subject(fault.inject(), name=label),
        select_properties([name]),
        "quick",
        seed,
        stop_at_first_failing_property=True,
    )
    failure = tallies[name].failure
    return Detection(
        label, fault.description, "" if failure is None else str(failure) or type(failure).__name__
    )


def try_on_all_faults(
    prop: Property, *, seed: int = 0, progress: Progress | None = None
) -> list[Detection]:
    """Try a property on every named fault of the first cell that it applies to.

    Empty if it applies to no cell with faults.

    Parameters
    ----------
    prop
        The property.
    seed
        Seed of the cases.
    progress
        Callback, see :func:`run_matrices`.
    """
    cells = (
        cell
        for cell in (LSTM(), GRU(), *CELLS.values(), *VARIANTS.values(), *NETWORKS.values())
        if not prop.why_not_applicable(subject(EditedCell(cell)))
    )
    cell = next(cells, None)
    labels = [f.label for f in faults(cell.name) if not f.equivalent] if cell else []
    return map_labels(try_property, labels, prop.name, seed, progress=progress) if labels else []


# ---- summaries


class DetectionPower(NamedTuple):
    """Detection power of one property.

    Attributes
    ----------
    name, kills, unique_kills
        Name, number of faults that it kills, and number of those that nothing else kills.
    rarest, rarest_killers
        Label of the fault with the fewest killers among those, and their number; of several the
        first. Empty if it kills none.
    applies_to
        Number of faults on which it was tried.
    """

    name: str
    kills: int
    unique_kills: int
    rarest: str
    rarest_killers: int
    applies_to: int


def non_equivalent(killings: Iterable[FaultResult]) -> list[FaultResult]:
    """Return the results of faults that are not equivalent to correct code."""
    return [k for k in killings if not k.equivalent]


def survivors(killings: Iterable[FaultResult]) -> list[str]:
    """Return the labels of the faults that should have been killed, and were not."""
    return [k.label for k in non_equivalent(killings) if not k.killed]


def detection_powers(killings: Iterable[FaultResult]) -> list[DetectionPower]:
    """Return the detection power of every property tried, the strongest first."""
    results = non_equivalent(killings)
    powers = []
    for name in dict.fromkeys(name for k in results for name in k.properties_tried):
        kills = [k for k in results if name in k.killed_by]
        rarest = min(kills, key=lambda k: len(k.killed_by), default=None)
        alone = sum(len(k.killed_by) == 1 for k in kills)
        applies_to = sum(name in k.properties_tried for k in results)
        powers.append(
            DetectionPower(
                name,
                len(kills),
                alone,
                rarest.label if rarest else "",
                len(rarest.killed_by) if rarest else 0,
                applies_to,
            )
        )
    return sorted(powers, key=lambda w: -w.kills)


def _summary(killings: Sequence[FaultResult]) -> dict[str, Any]:
    return {
        "counted": len(non_equivalent(killings)),
        "killed": sum(k.killed for k in non_equivalent(killings)),
        "survivors": survivors(killings),
    }


def kill_report(killings: Sequence[FaultResult], profile: str, seed: int) -> dict[str, Any]:
    """Return every figure as plain data."""
    return {
        "schema": SCHEMA,
        "versions": versions(),
        "profile": profile,
        "seed": seed,
        **_summary(killings),
        "killed_without_reference": sum(
            bool(k.killed_without_reference_by) for k in non_equivalent(killings)
        ),
        "properties": [w._asdict() for w in detection_powers(killings)],
        "faults": [k.to_json() for k in killings],
    }


def report_seeds(
    results_by_seed: Sequence[Sequence[FaultResult]], profile: str, seeds: Sequence[int]
) -> dict[str, Any]:
    """Return what survives under each of several seeds, as plain data."""
    runs = [
        {"seed": seed, **_summary(killings)}
        for seed, killings in zip(seeds, results_by_seed, strict=True)
    ]
    return {"schema": SCHEMA, "versions": versions(), "profile": profile, "runs": runs}
