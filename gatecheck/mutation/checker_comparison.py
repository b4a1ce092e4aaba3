"""Every backward fault judged by gradient checkers: what they catch, and what they let pass.

A gradient checker compares a function with its own gradient, so a wrong forward with the exact
gradient of itself is right to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck._util.versions import versions
from gatecheck.auditing.audit import applicable
from gatecheck.auditing.explore import explore
from gatecheck.auditing.parallel import on_each
from gatecheck.cases import draw
from gatecheck.cells import CELLS, Cell, Sizes, as_cell
from gatecheck.errors import first_line
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.edited_cell import Edited
from gatecheck.faults.edits import replaced
from gatecheck.faults.fault import Fault
from gatecheck.implementation import subject
from gatecheck.mutation.gradient_checkers import CHECKERS, Arrays, Layer, Verdict

SCHEMA = "gatecheck-checkers-1"

CORRECT = "correct"
AUDIT = "gatecheck audit"

FORWARD_SHARE = 16
"""Of the forward faults, every how manieth is tried."""

STEP = 1e-30
"""Of the complex step: its square is lost beside anything that is not tiny itself, so the imaginary
part is the derivative.
"""


class Question(NamedTuple):
    """What a user has checked: a layer of these sizes with generic weights, by these of its
    outputs.
    """

    sizes: Sizes
    outputs: tuple[str, ...]
    meaning: str


QUESTIONS = {
    "short": Question(
        Sizes(T=4, B=2, D=3, H=4),
        ("y", "hT", "cT"),
        "four steps, every output and the final states",
    ),
    "last": Question(
        Sizes(T=20, B=2, D=3, H=4), ("hT", "cT"), "twenty steps, the final states only"
    ),
}


# ---- what is planted


class Exact:
    """A forward with the exact gradient of itself, as automatic differentiation gives it; here by
    the complex step.

    Parameters
    ----------
    planted
        The implementation whose forward it is; it takes complex arrays and leading axes.
    """

    def __init__(self, planted: Edited) -> None:
        self.cell = planted.cell
        self.forward = planted.forward

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
        """A gradient for each parameter, x, and the states that are given."""
        inputs = {k: v for k, v in {**params, "x": x, "h0": h0, "c0": c0}.items() if v is not None}
        ends = np.cumsum([v.size for v in inputs.values()])
        stepped = {}
        for (name, v), end in zip(inputs.items(), ends, strict=True):
            # one replica an input entry
            replicas = np.tile(v.astype(np.complex128), (ends[-1], *[1] * v.ndim))
            replicas.reshape(ends[-1], -1)[np.arange(end - v.size, end), np.arange(v.size)] += (
                1j * STEP
            )
            stepped[name] = replicas
        got = self.forward(
            {k: stepped[k] for k in params}, stepped["x"], stepped.get("h0"), stepped.get("c0")
        )
        pairs = [(v, d) for v, d in zip(got, (dy, dhT, dcT), strict=False) if d is not None]
        slopes = sum((v.imag / STEP * d).reshape(ends[-1], -1).sum(axis=1) for v, d in pairs)
        parts = np.split(np.broadcast_to(slopes, ends[-1:]), ends[:-1])
        return {
            k: part.reshape(v.shape).astype(v.dtype)
            for (k, v), part in zip(inputs.items(), parts, strict=True)
        }


def _forward(target: Any, inputs: Mapping[str, Array]) -> Arrays:
    params = {k: v for k, v in inputs.items() if k not in ("x", "h0", "c0")}
    return dict(
        zip(
            ("y", "hT", "cT"),
            target.forward(params, inputs["x"], inputs.get("h0"), inputs.get("c0")),
            strict=False,
        )
    )


def _remembering(target: Any) -> Callable[[Arrays], Arrays]:
    values: dict[tuple[Any, ...], Arrays] = {}

    def forward(inputs: Arrays) -> Arrays:
        key = tuple((v.dtype.char, v.shape, v.tobytes()) for v in inputs.values())
        if key not in values:
            values[key] = _forward(target, inputs)
        return {k: v.copy() for k, v in values[key].items()}

    return forward


@cache
def _correct(cell: str) -> Callable[[Arrays], Arrays]:
    """The forward of every backward fault. Checkers ask for it at the same thousands of points each
    time, so values are kept.
    """
    return _remembering(Edited(as_cell(cell)))


def layer(target: Any, question: str, dtype: str, forward: Callable[[Arrays], Arrays]) -> Layer:
    """An implementation as a function with a gradient.

    Parameters
    ----------
    target
        The implementation whose backward is asked for gradients; its cell decides which arrays
        there are.
    question
        A name in :data:`QUESTIONS`.
    dtype
        ``"float32"`` or ``"float64"``.
    forward
        What its forward computes, from named inputs to all outputs.
    """
    cell: Cell = target.cell
    sizes, looked_at, _ = QUESTIONS[question]
    case = draw(cell, sizes, seed=0, dtype=dtype)
    states = [f"{k}0" for k in cell.state]
    inputs = {k: case[k].copy() for k in (*case.params, "x", *states)}

    def fn(inputs: Arrays) -> Arrays:
        return {k: v for k, v in forward(inputs).items() if k in looked_at}

    def vjp(cotangents: Arrays, inputs: Arrays) -> Arrays:
        params = {k: inputs[k] for k in case.params}
        given = (cotangents.get(k) for k in ("y", "hT", "cT"))
        gradients: Arrays = target.backward(
            params, inputs["x"], inputs.get("h0"), inputs.get("c0"), *given
        )
        return {k: gradients[k] for k in inputs}

    return Layer(inputs, fn, vjp)


# ---- every fault by every checker


def audit(target: Any, profile: str = "ci", seed: int = 0) -> Verdict:
    """The properties of an audit, up to the first that fails."""
    planted = subject(target)
    tallies = explore(planted, applicable(planted), profile, seed, first_only=True)
    failed = [(name, t.failure) for name, t in tallies.items() if t.failure is not None]
    return (
        Verdict("caught", f"{failed[0][0]}: {first_line(failed[0][1])}")
        if failed
        else Verdict("passed")
    )


def _differs(planted: Edited, question: str, dtype: str) -> bool:
    """Whether an implementation has other gradients than correct code for generic cotangents."""
    correct = Edited(planted.cell)
    wrong, right = (
        layer(target, question, dtype, _correct(planted.cell.name)) for target in (planted, correct)
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
class Judged:
    """What every checker said about one fault, or about correct code.

    Attributes
    ----------
    name, cell, says, source
        Of the fault.
    side
        ``backward``, ``forward``, or ``correct`` where nothing is planted.
    verdicts
        By checker, then by question; an audit draws its own cases, so its question is ``all``.
    shows
        By dtype, the questions in which its gradients, for generic cotangents, are not those of
        correct code to the last bit.
    """

    name: str
    cell: str
    side: str
    says: str
    source: str
    verdicts: dict[str, dict[str, Verdict]]
    shows: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        said = {
            checker: {q: v._asdict() for q, v in by.items()}
            for checker, by in self.verdicts.items()
        }
        return {**vars(self), "verdicts": said}


def judge(label: str, names: Sequence[str]) -> Judged:
    """Ask every checker about one fault.

    Parameters
    ----------
    label
        Of an edit of the equations, or ``"CELL: correct"`` for none.
    names
        Of checkers, in :data:`CHECKERS`.
    """
    kind, _, name = label.partition(": ")
    cell = as_cell(kind)
    fault = (
        Fault(name, kind, "Nothing is planted.", edit=replaced())
        if name == CORRECT
        else find(label)
    )
    side: Any = CORRECT if name == CORRECT else fault.side(cell)
    planted = fault.plant()
    # An audit judges a forward without any gradient; it needs none to see a wrong value.
    target, audited = (
        (Exact(planted), SimpleNamespace(cell=cell, forward=planted.forward))
        if side == "forward"
        else (planted, planted)
    )
    verdicts: dict[str, dict[str, Verdict]] = {checker: {} for checker in (*names, AUDIT)}
    forward = _remembering(planted) if side == "forward" else _correct(cell.name)
    for question in QUESTIONS:
        for checker in names:
            _, dtype, ask = CHECKERS[checker]
            verdicts[checker][question] = ask(layer(target, question, dtype, forward))
    verdicts[AUDIT]["all"] = audit(audited)
    shows = {
        dtype: [q for q in QUESTIONS if _differs(planted, q, dtype)]
        for dtype in ("float64", "float32")
    }
    return Judged(name, kind, side, fault.says, fault.source, verdicts, shows)


def _edits(cells: Sequence[str]) -> list[tuple[Fault, str]]:
    """The faults in the equations that can be told from correct code, each with its side."""
    return [
        (f, f.side(as_cell(k)))
        for k in cells or CELLS
        for f in faults(k)
        if f.edit and not f.equivalent
    ]


def labels(cells: Sequence[str] = ()) -> list[str]:
    """Correct code, every backward fault and a sample of the forward faults, of these cells or of
    all.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    edits = _edits(cells)
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
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Judged]:
    """:func:`judge` on every label, in parallel; the result does not depend on the number of
    workers.

    Parameters
    ----------
    chosen
        Labels; see :func:`labels`.
    names
        Of checkers.
    workers
        Processes; by default as many as there are cores.
    progress
        Called with how many faults are done, how many there are, and the label of the last one.
    """
    return on_each(judge, chosen, names, workers=workers, progress=progress)


def report(
    judged: Sequence[Judged], names: Sequence[str], cells: Sequence[str] = ()
) -> dict[str, Any]:
    """Every verdict as plain data, with how many forward faults there are, of which a sample was
    judged.
    """
    return {
        "schema": SCHEMA,
        "versions": versions("torch", "jax", "jaxlib"),
        "cells": [*(cells or CELLS)],
        "checkers": {name: CHECKERS[name].dtype for name in names} | {AUDIT: "float64"},
        "questions": {
            k: {"sizes": q.sizes._asdict(), "outputs": q.outputs, "meaning": q.meaning}
            for k, q in QUESTIONS.items()
        },
        "forward_faults": sum(side == "forward" for _, side in _edits(cells)),
        "faults": [j.to_json() for j in judged],
    }
