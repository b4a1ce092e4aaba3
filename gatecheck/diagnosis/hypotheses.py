"""Hypotheses on what a target computes.

A hypothesis is a convention, faults of the forward, and the way in which gradients follow. It
predicts every number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import CELLS, Cell
from gatecheck.checking.evidence import result_blocks
from gatecheck.diagnosis.conventions.models import Model
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults, mutants
from gatecheck.faults.edits import apply
from gatecheck.faults.fault import Fault
from gatecheck.faults.tables.order import CELL_TABLES, option_rows
from gatecheck.oracles.noise.precision import PRECISIONS
from gatecheck.oracles.rounding import BUDGET_MULTIPLE, Budget, measure_budget, rms
from gatecheck.reference import Equations, Results, Tape, network_backward, network_forward

GradientRule = Literal["textbook", "exact"]

IMAGINARY_STEP = 1e-20
"""Imaginary step of the complex-step derivative.

Its square is lost next to 1, and it is still a normal number where a fault rounds to single
precision.
"""

DIFFERENCE_RTOL = 1e-4
"""Relative tolerance to which a central difference must confirm the complex step.

The difference is taken along one direction.
"""

DIFFERENCE_STEPS = (1e-6, 1e-8, 1e-10)
"""Steps of that difference, of which one must agree.

Where a fault lets the state explode, only a small one avoids the curvature.
"""


@dataclass(frozen=True)
class Hypothesis:
    """One model of what a target computes.

    Attributes
    ----------
    model
        The mathematics and the convention.
    forward
        Faults of the forward, in the order in which they are applied.
    gradients
        ``textbook``: the cell's own backward equations on what the faulty forward computed, as in
        code whose forward alone is wrong. ``exact``: the derivative of the faulty forward, as
        automatic differentiation takes it.
    backward
        Faults of the backward, on top of the textbook's.
    """

    model: Model
    forward: tuple[Fault, ...] = ()
    gradients: GradientRule = "textbook"
    backward: tuple[Fault, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, those of the forward first."""
        return self.forward + self.backward

    @property
    def size(self) -> int:
        """Number of deviations: an undeclared convention, and each fault."""
        return len(self.faults) + bool(self.model.name)

    @property
    def equations(self) -> Equations:
        """Equations of the base with all edits applied."""
        return apply(self.model.equations, *(fault.edit for fault in self.faults if fault.edit))

    def predict(self, arrays: Mapping[str, Array], *, gradients: bool = True) -> Results:
        """Return outputs and gradients for float64 arrays, with or without leading axes."""
        inputs = self.model.to_equations(arrays)
        results, tape = network_forward(self.equations, inputs)
        if gradients:
            results = results | network_backward(self.equations, inputs, tape)
        return self.model.to_target(results)

    def budget(self, case: Case, *, gradients: bool = True) -> Budget:
        """Return the rounding budget of code for which this hypothesis is true.

        Raises
        ------
        LostNoiseError
            If a result of these equations does not depend on their inputs, so that no rounding
            reaches it.
        """
        arrays = case.as_float64()
        constants = {k: arrays.pop(k) for k in (*case.params, "lengths") if k in arrays}
        if not gradients:
            arrays = {k: v for k, v in arrays.items() if not k.startswith("d")}
        textbook = measure_budget(
            lambda inputs: self.predict(inputs, gradients=gradients),
            arrays,
            constants,
            case.dtype.name,
        )
        if self.gradients == "textbook" or not gradients:
            return textbook
        exact = exact_gradients(self, case)
        if exact is None:
            raise UsageError("there is no exact gradient")
        spread = {
            k: self._exact_spread(k, textbook, v) if (v := exact.get(k)) is not None else s
            for k, s in textbook.spread.items()
        }
        return replace(textbook, exact={**textbook.exact, **exact}, spread=spread)

    def _exact_spread(self, name: str, textbook: Budget, exact: Array) -> Array:
        """Return the spread of an exact gradient.

        Rounding was measured for the textbook's gradient only; block by block its spread is scaled
        to the size of the exact one.
        """
        spread: Array = np.abs(exact) * PRECISIONS[textbook.dtype].u / BUDGET_MULTIPLE
        for _, where in result_blocks(self.model.equations.cell, name, exact):
            textbook_size, size, noise = (
                float(rms(a[where].ravel(), 0))
                for a in (textbook.exact[name], exact, textbook.spread[name])
            )
            growth = (
                max(1.0, size / textbook_size) if textbook_size > 0 and np.isfinite(size) else 1.0
            )
            spread[where] = 2 * (
                spread[where] + growth * np.maximum(textbook.spread[name][where], noise)
            )
        return spread


def exact_gradients(hypothesis: Hypothesis, case: Case) -> Results | None:
    """Return the derivatives of outputs times cotangents by the complex step.

    They are taken with respect to every entry of every array at once. None where the step does not
    give the derivative, since a fault takes a modulus or casts.
    """
    arrays = case.as_float64()
    cotangents = {k: arrays.pop(k) for k in ("dy", "dhT", "dcT") if k in arrays}
    lengths = {k: arrays.pop(k) for k in ("lengths",) if k in arrays}
    n = sum(a.size for a in arrays.values())

    def scalar(inputs: Mapping[str, Array]) -> Array:
        out = hypothesis.predict({**inputs, **lengths}, gradients=False)
        parts = [out[k[1:]] * d for k, d in cotangents.items()]
        lead = n if next(iter(inputs.values())).ndim > next(iter(arrays.values())).ndim else 1
        value: Array = sum(p.reshape(lead, -1).sum(-1) for p in parts)
        return value

    stepped: dict[str, Array] = {}
    at = 0
    for name, a in arrays.items():
        lifted = np.repeat(a[None].astype(complex), n, axis=0)
        lifted.reshape(n, -1)[at + np.arange(a.size), np.arange(a.size)] += 1j * IMAGINARY_STEP
        stepped[name], at = lifted, at + a.size
    with np.errstate(all="ignore"):
        flat = scalar(stepped).imag / IMAGINARY_STEP
        direction = np.random.default_rng(0).uniform(-1, 1, n)
        parts = np.split(direction, np.cumsum([a.size for a in arrays.values()])[:-1])
        differences = []
        for h in DIFFERENCE_STEPS:
            shifted = [
                {
                    k: a + e * p.reshape(a.shape)
                    for (k, a), p in zip(arrays.items(), parts, strict=True)
                }
                for e in (h, -h)
            ]
            differences.append(float(np.squeeze(scalar(shifted[0]) - scalar(shifted[1]))) / (2 * h))
    size = float(np.abs(flat * direction).sum())
    if (
        not np.isfinite(size)
        or min(abs(d - flat @ direction) for d in differences) > DIFFERENCE_RTOL * size
    ):
        return None
    split = np.split(flat, np.cumsum([a.size for a in arrays.values()])[:-1])
    return {f"d{k}": v.reshape(a.shape) for (k, a), v in zip(arrays.items(), split, strict=True)}


@dataclass(frozen=True)
class CandidateFaults:
    """Candidate faults of a cell.

    Named ones come first, those with a source before the others, and then the mutants.
    """

    forward: tuple[Fault, ...]
    backward: tuple[Fault, ...]


@cache
def candidate_faults(cell: Cell) -> CandidateFaults:
    """Return every fault in the equations of a cell.

    A cell with options or layers has those of the plain one too where they apply.
    """
    sides: dict[str, list[Fault]] = {"forward": [], "backward": [], "around": []}
    for fault in _all_faults(cell):
        if fault.equivalent or fault.edit is None:
            continue
        try:
            sides[fault.side(cell)].append(fault)
        except (UsageError, KeyError):
            continue  # an edit of an equation that this cell does not have
    return CandidateFaults(tuple(sides["forward"]), tuple(sides["backward"]))


def _all_faults(cell: Cell) -> Iterator[Fault]:
    one = cell.layer_cell
    if one in CELLS.values():
        named = list(faults(one.name))
    else:
        tables: tuple[Any, ...] = (option_rows, *CELL_TABLES)
        rows = {row[0]: row for table in tables for row in _applicable_rows(table, one)}
        named = [
            Fault(name, cell.name, says, edit, source="".join(source))
            for name, says, edit, *source in rows.values()
        ]
    yield from sorted(named, key=lambda fault: not fault.source)
    yield from mutants(one)


def _applicable_rows(table: Any, cell: Cell) -> Iterator[Any]:
    """Yield the rows of a table up to the first that does not apply to this cell."""
    rows = table(cell)
    while True:
        try:
            yield next(rows)
        except (StopIteration, KeyError, UsageError):
            return


def is_mutant(fault: Fault) -> bool:
    """Return whether a fault is a systematic misreading, which has no given name."""
    return fault.name.startswith("in ")


class ForwardTrace:
    """The forward of a hypothesis on one case, shared by many backwards."""

    def __init__(self, hypothesis: Hypothesis, arrays: Mapping[str, Array]) -> None:
        self.hypothesis = hypothesis
        self.equations = hypothesis.equations
        self._inputs = hypothesis.model.to_equations(arrays)
        self._to_target = hypothesis.model.to_target
        self.results, self._tape = network_forward(self.equations, self._inputs)

    def backward(self, *found: Fault) -> Results:
        """Return the gradients with these faults in the backward."""
        edited = apply(self.equations, *(fault.edit for fault in found if fault.edit))
        tape: Tape = [p._replace(equations=edited) for p in self._tape]
        gradients = network_backward(edited, self._inputs, tape)
        results = self._to_target({**self.results, **gradients})
        return {k: v for k, v in results.items() if k not in self.results}
