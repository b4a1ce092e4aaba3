"""The kill matrix: which property catches which fault. A verification suite is worth what it catches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gatecheck.auditing.parallel import on_each
from gatecheck.auditing.runner import applicable, claims, explore
from gatecheck.cells import CELLS, GRU, LSTM, VARIANTS
from gatecheck.claims import Claim
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.edited import Edited
from gatecheck.implementation import subject
from gatecheck.versions import versions

SCHEMA = "gatecheck-faults-1"


@dataclass(frozen=True)
class Killing:
    """What became of one fault.

    Attributes
    ----------
    name, cell, says, source, equivalent
        Of the fault.
    killed_by
        The properties that failed on it, each with the share of its examples on which it did, most often first.
    killed_without_reference_by
        Those of them that compare with no other implementation.
    examples
        How many checks were made.
    seconds
        How long they took.
    """

    name: str
    cell: str
    says: str
    source: str
    equivalent: str
    killed_by: dict[str, float]
    killed_without_reference_by: list[str]
    examples: int
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether any property failed on it."""
        return bool(self.killed_by)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return dict(vars(self))


def judge(label: str, profile: str, seed: int, first_only: bool, without_reference: bool) -> Killing:
    """Try every property that applies on one fault.

    Parameters
    ----------
    label
        Of a fault or a mutant; see :func:`gatecheck.faults.catalogue.find`.
    profile, seed
        As of an audit.
    first_only
        Stop at the first property that fails.
    without_reference
        Leave out the properties that compare with another implementation.
    """
    fault = find(label)
    planted = subject(fault.plant(), name=label)
    chosen = [c for c in applicable(planted) if not (without_reference and c.reference)]
    start = time.perf_counter()
    tallies = explore(planted, chosen, profile, seed, first_only=first_only)
    shares = {name: t.failures / t.examples for name, t in tallies.items() if t.failures}
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    without = [name for name in ordered if not tallies[name].claim.reference]
    examples = sum(t.examples for t in tallies.values())
    seconds = time.perf_counter() - start
    return Killing(fault.name, fault.cell, fault.says, fault.source, fault.equivalent, ordered, without, examples, seconds)


def matrix(
    labels: Sequence[str],
    *,
    profile: str = "quick",
    seed: int = 0,
    first_only: bool = False,
    without_reference: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Killing]:
    """Every property that applies on every fault, in parallel; the result does not depend on the number of workers.

    Parameters
    ----------
    labels
        Of faults and mutants.
    profile, seed, first_only, without_reference
        As of :func:`judge`.
    workers
        Processes; by default as many as there are cores.
    progress
        Called with how many faults are done, how many there are, and the label of the last one.
    """
    return on_each(judge, labels, profile, seed, first_only, without_reference, workers=workers, progress=progress)


class Catch(NamedTuple):
    """What one property said of one fault; the message is empty where it saw nothing."""

    label: str
    says: str
    message: str


def catch(label: str, name: str, seed: int) -> Catch:
    """Try one property on one fault, at profile quick, up to its first failure."""
    fault = find(label)
    tallies = explore(subject(fault.plant(), name=label), claims([name]), "quick", seed, first_only=True)
    failure = tallies[name].failure
    return Catch(label, fault.says, "" if failure is None else str(failure) or type(failure).__name__)


def catches(claim: Claim, *, seed: int = 0, progress: Callable[[int, int, str], None] | None = None) -> list[Catch]:
    """What a property says of every named fault of the first cell that it applies to; empty if it applies to no planted fault.

    Parameters
    ----------
    claim
        The property.
    seed
        Of the cases.
    progress
        As of :func:`matrix`.
    """
    cells = (cell for cell in (LSTM(), GRU(), *CELLS.values(), *VARIANTS.values()) if not claim.inapplicable(subject(Edited(cell))))
    cell = next(cells, None)
    labels = [f.label for f in faults(cell.name) if not f.equivalent] if cell else []
    return on_each(catch, labels, claim.name, seed, progress=progress) if labels else []


def report(killings: Sequence[Killing], profile: str, seed: int) -> dict[str, Any]:
    """Every figure as plain data."""
    counted = [k for k in killings if not k.equivalent]
    return {
        "schema": SCHEMA,
        "versions": versions(),
        "profile": profile,
        "seed": seed,
        "counted": len(counted),
        "killed": sum(k.killed for k in counted),
        "killed_without_reference": sum(bool(k.killed_without_reference_by) for k in counted),
        "faults": [k.to_json() for k in killings],
    }
