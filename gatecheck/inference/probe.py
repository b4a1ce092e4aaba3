"""Calls of one implementation with chosen arrays, of one step each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell, Sizes
from gatecheck.conventions import Convention
from gatecheck.conventions.shape_analysis import (
    Shapes,
)
from gatecheck.errors import ContractError, TargetError, TargetLostError, UsageError
from gatecheck.implementation import Subject
from gatecheck.implementation.declarations import MAX_SIZE
from gatecheck.implementation.plain import describe_value
from gatecheck.implementation.session import Answer, Call
from gatecheck.reference import Results, equations, network_forward

SCREENING_TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
"""Largest relative error of the outputs of one step, by dtype.

Far above rounding, and far below the error of another convention.
"""


class _ProbeCall(NamedTuple):
    """One call of the implementation, of one step."""

    arrays: dict[str, Array]
    x: Array
    states: dict[str, Array]
    results: Results


class Probe:
    """Calls of one implementation with chosen arrays, and comparison of their results."""

    def __init__(self, subject: Subject, shapes: Shapes, dtype: str, seed: int) -> None:
        self.subject, self.shapes, self.cell, self.dtype = subject, shapes, subject.cell, dtype
        self.fixed_sizes = subject.sizes
        # Distinct, so that no axis can be mistaken for another.
        self.sizes = Sizes(1, 2, 3, 5)._replace(**self.fixed_sizes)
        self.rng = np.random.default_rng(seed)
        self.n_calls = 0

    def draw_normal(self, *shape: int) -> Array:
        return np.round(self.rng.standard_normal(shape), 3).astype(self.dtype)

    def draw_params(self) -> dict[str, Array]:
        """Draw parameters of the implementation's own shapes."""
        _, _, D, H = self.sizes
        return {
            name: self.draw_normal(*shape) / np.asarray(2, self.dtype)
            for name, shape in self.shapes(D, H).items()
        }

    def subject_in(self, convention: Convention, cell: Cell) -> Subject:
        """Return the implementation in another convention, without its declarations."""
        return Subject(
            session=self.subject.session,
            name=self.subject.name,
            cell=cell,
            convention=convention,
            dtypes=(self.dtype,),
            abilities=frozenset(),
            sizes=self.fixed_sizes,
        )

    def _answer(self, caller: Subject, arguments: Mapping[str, Any]) -> Answer:
        (answer,) = caller.session.run([Call("forward", caller.in_order("forward", arguments))])
        return answer

    def call(
        self, frame: Convention, arrays: Mapping[str, Array], *, zero_states: bool = False
    ) -> _ProbeCall | None:
        """Call the implementation for one step; return None if that fails."""
        T, B, D, H = self.sizes
        x, states = (
            self.draw_normal(T, B, D),
            {f"{k}0": self.draw_normal(B, H) / np.asarray(2, self.dtype) for k in self.cell.state},
        )
        states = {k: np.zeros_like(v) for k, v in states.items()} if zero_states else states
        caller = self.subject_in(frame, self.cell)
        case = Case(
            self.cell,
            {k: np.zeros(v, self.dtype) for k, v in self.cell.param_shapes(D, H).items()}
            | {"x": x}
            | states,
        )
        given = {"params": {k: v.copy() for k, v in arrays.items()}, "x": caller.to_layout(x)}
        given |= {k: frame.state_from_canonical(self.cell, v) for k, v in states.items()}
        self.n_calls += 1
        try:
            results = caller.read("forward", case, self._answer(caller, given))
        except TargetLostError:
            raise
        except TargetError:
            return None
        return (
            _ProbeCall(dict(arrays), x, states, results)
            if all(np.isfinite(v).all() for v in results.values())
            else None
        )

    def matching_indices(
        self, probe_call: _ProbeCall, cell: Cell, params: Sequence[Mapping[str, Array]]
    ) -> list[int]:
        """Return the indices of the parameters with which the cell reproduces a call."""
        stacked = {name: np.stack([p[name] for p in params]).astype(float) for name in params[0]}
        with np.errstate(all="ignore"):
            outputs, _ = network_forward(
                equations(cell),
                stacked
                | {"x": probe_call.x.astype(float)}
                | {k: v.astype(float) for k, v in probe_call.states.items()},
            )
        fits = np.ones(len(params), bool)
        for name, value in probe_call.results.items():
            error = (
                np.abs(outputs[name] - value)
                .reshape(len(params) if outputs[name].ndim > value.ndim else 1, -1)
                .max(-1)
            )
            fits &= error <= SCREENING_TOLERANCE[self.dtype] * max(1.0, float(np.abs(value).max()))
        return [int(k) for k in np.flatnonzero(fits)]


def make_probe(subject: Subject, dtype: str | None = None, seed: int = 0) -> Probe:
    """Return the calls of a subject, in arrays of its own shapes.

    Raises
    ------
    UsageError
        If its cell is a network or has a projection.
    TargetError
        If its shapes cannot be read.
    """
    if len(subject.cell.param_suffixes) > 1 or subject.cell.projection:
        raise UsageError(
            f"the convention of a {subject.cell} is not inferred: only that of one layer in one "
            "direction, without a projection"
        )
    own: Shapes = partial(subject.convention.shapes, subject.cell)
    if subject.has_shapes:
        own = partial(_own_shapes, subject)
    usual = "float64" if "float64" in subject.dtypes else "float32"
    return Probe(subject, own, dtype or usual, seed)


def _own_shapes(subject: Subject, D: int, H: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a target gives to its parameters."""
    (answer,) = subject.session.run([Call("shapes", {"D": D, "H": H})])
    shapes = answer.result()
    if not isinstance(shapes, dict) or not all(
        isinstance(v, tuple | list) and all(type(n) is int and 0 <= n <= MAX_SIZE for n in v)
        for v in shapes.values()
    ):
        raise ContractError(
            f"{subject.name}.shapes({D}, {H}) returned {describe_value(shapes)}, but should return "
            "a dict of the names and shapes of its parameters"
        )
    return {name: tuple(shape) for name, shape in shapes.items()}
