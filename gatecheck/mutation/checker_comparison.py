"""Comparison of gradient checkers on every backward fault.

A gradient checker compares a function with its gradient, so a wrong forward with its exact gradient
is right to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array, Progress
from gatecheck._util.versions import versions
from gatecheck.auditing.explore import explore
from gatecheck.auditing.parallel import map_labels
from gatecheck.auditing.selection import applicable_properties
from gatecheck.cases import draw
from gatecheck.cells import CELLS, Cell, Sizes, as_cell
from gatecheck.errors import first_line
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import replaced
from gatecheck.faults.fault import Fault
from gatecheck.implementation import subject
from gatecheck.mutation.gradient_checkers import CHECKERS, Arrays, CheckedFunction, Verdict

SCHEMA = "gatecheck-checkers-1"

CORRECT = "correct"
AUDIT_NAME = "gatecheck audit"

FORWARD_SHARE = 16
"""Interval at which forward faults are sampled."""

IMAGINARY_STEP = 1e-30
"""Imaginary step of the complex-step derivative.

Its square is lost next to anything that is not tiny itself, so the imaginary part is the
derivative.
"""


class Usage(NamedTuple):
    """Use of a checker: a layer of these sizes with generic weights, and its outputs."""

    sizes: Sizes
    outputs: tuple[str, ...]
    description: str


USAGES = {
    "short": Usage(
        Sizes(T=4, B=2, D=3, H=4),
        ("y", "hT", "cT"),
        "four steps, every output and the final states",
    ),
    "last": Usage(Sizes(T=20, B=2, D=3, H=4), ("hT", "cT"), "twenty steps, the final states only"),
}


# ---- layers with and without a fault


class ExactGradient:
    """Implementation with the exact gradient of a forward, by the complex step.

    Automatic differentiation gives the same gradient.

    Parameters
    ----------
    implementation
        The implementation that provides the forward; it takes complex arrays and leading axes.
    """

    def __init__(self, implementation: EditedCell) -> None:
        self.cell = implementation.cell
        self.forward = implementation.forward

    def backward(
        self,
        params: Arrays,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        dy: Array | None,
        dhT: Array | None,
        dcT: Array | None,
    ) -> Arrays:
        """Return a gradient for each parameter, x, and the states that are given."""
        inputs = {k: v for k, v in {**params, "x": x, "h0": h0, "c0": c0}.items() if v is not None}
        ends = np.cumsum([v.size for v in inputs.values()])
        stepped = {}
        for (name, v), end in zip(inputs.items(), ends, strict=True):
            # One replica for each entry of the inputs.
            replicas = np.tile(v.astype(np.complex128), (ends[-1], *[1] * v.ndim))
            replicas.reshape(ends[-1], -1)[np.arange(end - v.size, end), np.arange(v.size)] += (
                1j * IMAGINARY_STEP
            )
            stepped[name] = replicas
        outputs = self.forward(
            {k: stepped[k] for k in params}, stepped["x"], stepped.get("h0"), stepped.get("c0")
        )
        pairs = [(v, d) for v, d in zip(outputs, (dy, dhT, dcT), strict=False) if d is not None]
        slopes = sum(
            (v.imag / IMAGINARY_STEP * d).reshape(ends[-1], -1).sum(axis=1) for v, d in pairs
        )
        parts = np.split(np.broadcast_to(slopes, ends[-1:]), ends[:-1])
        return {
            k: part.reshape(v.shape).astype(v.dtype)
            for (k, v), part in zip(inputs.items(), parts, strict=True)
        }


def _run_forward(target: Any, inputs: Mapping[str, Array]) -> Arrays:
    params = {k: v for k, v in inputs.items() if k not in ("x", "h0", "c0")}
    return dict(
        zip(
            ("y", "hT", "cT"),
            target.forward(params, inputs["x"], inputs.get("h0"), inputs.get("c0")),
            strict=False,
        )
    )


def _cached_forward(target: Any) -> Callable[[Arrays], Arrays]:
    values: dict[tuple[Any, ...], Arrays] = {}

    def forward(inputs: Arrays) -> Arrays:
        key = tuple((v.dtype.char, v.shape, v.tobytes()) for v in inputs.values())
        if key not in values:
            values[key] = _run_forward(target, inputs)
        return {k: v.copy() for k, v in values[key].items()}

    return forward


@cache
def _correct_forward(cell: str) -> Callable[[Arrays], Arrays]:
    """Return the forward of every backward fault, with a cache.

    Checkers evaluate it at the same thousands of points each time.
    """
    return _cached_forward(EditedCell(as_cell(cell)))


def checked_function(
    target: Any, usage: str, dtype: str, forward: Callable[[Arrays], Arrays]
) -> CheckedFunction:
    """Return an implementation as a function with a gradient.

    Parameters
    ----------
    target
        The implementation whose backward gives the gradients; its cell determines the arrays.
    usage
        Name in :data:`USAGES`.
    dtype
        ``"float32"`` or ``"float64"``.
    forward
        Its forward, from named inputs to all outputs.
    """
    cell: Cell = target.cell
    sizes, compared, _ = USAGES[usage]
    case = draw(cell, sizes, seed=0, dtype=dtype)
    states = [f"{k}0" for k in cell.state]
    inputs = {k: case[k].copy() for k in (*case.params, "x", *states)}

    def fn(inputs: Arrays) -> Arrays:
        return {k: v for k, v in forward(inputs).items() if k in compared}

    def vjp(cotangents: Arrays, inputs: Arrays) -> Arrays:
        params = {k: inputs[k] for k in case.params}
        in_order = (cotangents.get(k) for k in ("y", "hT", "cT"))
        gradients: Arrays = target.backward(
            params, inputs["x"], inputs.get("h0"), inputs.get("c0"), *in_order
        )
        return {k: gradients[k] for k in inputs}

    return CheckedFunction(inputs, fn, vjp)


# ---- every fault by every checker


def audit_verdict(target: Any, profile: str = "ci", seed: int = 0) -> Verdict:
    """Try the properties of an audit, up to the first that fails."""
    audited = subject(target)
    tallies = explore(
        audited, applicable_properties(audited), profile, seed, stop_at_first_failing_property=True
    )
    failed = [(name, t.failure) for name, t in tallies.items() if t.failure is not None]
    return (
        Verdict("caught", f"{failed[0][0]}: {first_line(failed[0][1])}")
        if failed
        else Verdict("passed")
    )


def _differs(faulty: EditedCell, usage: str, dtype: str) -> bool:
    """Return whether gradients for generic cotangents differ from correct ones."""
    correct = EditedCell(faulty.cell)
    wrong, right = (
        checked_function(target, usage, dtype, _correct_forward(faulty.cell.name))
        for target in (faulty, correct)
    )
    rng = np.random.default_rng(0)
    cotangents = {
        k: rng.standard_normal(v.shape).astype(dtype) for k, v in right.fn(right.inputs).items()
    }
    expected = right.vjp(cotangents, right.inputs)
    return any(
        not np.array_equal(v, expected[k]) for k, v in wrong.vjp(cotangents, wrong.inputs).items()
    )


@dataclass(frozen=True)
class FaultVerdicts:
    """Verdicts of every checker on one fault, or on correct code.

    Attributes
    ----------
    name, cell, description, source
        Attributes of the fault.
    side
        ``backward``, ``forward``, or ``correct`` where there is no fault.
    verdicts
        Verdicts by checker, then by question; an audit draws its own cases, so its question is
        ``all``.
    differs_in
        Questions by dtype in which its gradients, for generic cotangents, are not those of correct
        code to the last bit.
    """

    name: str
    cell: str
    side: str
    description: str
    source: str
    verdicts: dict[str, dict[str, Verdict]]
    differs_in: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Return the verdicts as plain data."""
        verdicts = {
            checker: {q: v._asdict() for q, v in by.items()}
            for checker, by in self.verdicts.items()
        }
        return {**vars(self), "verdicts": verdicts}


def check_fault(label: str, names: Sequence[str]) -> FaultVerdicts:
    """Run every checker on one fault.

    Parameters
    ----------
    label
        Label of an edit of the equations, or ``"CELL: correct"`` for none.
    names
        Names of checkers, in :data:`CHECKERS`.
    """
    kind, _, name = label.partition(": ")
    cell = as_cell(kind)
    fault = (
        Fault(name, kind, "There is no fault.", edit=replaced()) if name == CORRECT else find(label)
    )
    side: Any = CORRECT if name == CORRECT else fault.side(cell)
    faulty = fault.inject()
    # An audit judges such a forward without a backward: it needs no gradient to see a wrong value.
    target, audited = (
        (ExactGradient(faulty), SimpleNamespace(cell=cell, forward=faulty.forward))
        if side == "forward"
        else (faulty, faulty)
    )
    verdicts: dict[str, dict[str, Verdict]] = {checker: {} for checker in (*names, AUDIT_NAME)}
    forward = _cached_forward(faulty) if side == "forward" else _correct_forward(cell.name)
    for question in USAGES:
        for checker in names:
            _, dtype, run_checker = CHECKERS[checker]
            verdicts[checker][question] = run_checker(
                checked_function(target, question, dtype, forward)
            )
    verdicts[AUDIT_NAME]["all"] = audit_verdict(audited)
    shows = {
        dtype: [q for q in USAGES if _differs(faulty, q, dtype)] for dtype in ("float64", "float32")
    }
    return FaultVerdicts(name, kind, side, fault.description, fault.source, verdicts, shows)


def _equation_faults(cells: Sequence[str]) -> list[tuple[Fault, str]]:
    """Return the faults in the equations that are not equivalent, and their sides."""
    return [
        (f, f.side(as_cell(k)))
        for k in cells or CELLS
        for f in faults(k)
        if f.edit and not f.equivalent
    ]


def sample_labels(cells: Sequence[str] = ()) -> list[str]:
    """Return the labels to judge, of these cells or of all.

    These are correct code, every backward fault and a sample of the forward faults.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    edits = _equation_faults(cells)
    forward = [f.label for f, side in edits if side == "forward"]
    return (
        [f"{k}: {CORRECT}" for k in cells or CELLS]
        + [f.label for f, side in edits if side == "backward"]
        + forward[::FORWARD_SHARE]
    )


def compare(
    chosen: Sequence[str],
    names: Sequence[str],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[FaultVerdicts]:
    """Run :func:`check_fault` on every label, in parallel.

    The result does not depend on the number of workers.

    Parameters
    ----------
    chosen
        Labels; see :func:`sample_labels`.
    names
        Names of checkers.
    workers
        Number of processes; by default the number of cores.
    progress
        Called with how many faults are done, how many there are, and the label of the last one.
    """
    return map_labels(check_fault, chosen, names, workers=workers, progress=progress)


def comparison_report(
    results: Sequence[FaultVerdicts], names: Sequence[str], cells: Sequence[str] = ()
) -> dict[str, Any]:
    """Return every verdict as plain data.

    It includes the number of forward faults, of which a sample was judged.
    """
    return {
        "schema": SCHEMA,
        "versions": versions("torch", "jax", "jaxlib"),
        "cells": [*(cells or CELLS)],
        "checkers": {name: CHECKERS[name].dtype for name in names} | {AUDIT_NAME: "float64"},
        "usages": {
            k: {"sizes": q.sizes._asdict(), "outputs": q.outputs, "description": q.description}
            for k, q in USAGES.items()
        },
        "forward_faults": sum(side == "forward" for _, side in _equation_faults(cells)),
        "faults": [j.to_json() for j in results],
    }
