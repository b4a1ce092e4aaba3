"""Subjects: targets made callable in canonical arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import STATES, Case
from gatecheck.cells import Cell
from gatecheck.conventions import Convention
from gatecheck.errors import ContractError
from gatecheck.implementation.base import BaseSubject, Results
from gatecheck.implementation.plain import describe_value, validated_array
from gatecheck.implementation.session import Answer, Call

_TIME_MAJOR = "TBD"


@dataclass
class SharedResults:
    """Results of the target for one case, by the name of the method."""

    case: Case | None = None
    results: dict[str, Results] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject(BaseSubject):
    """Implementation as the properties see it: canonical arrays in and out.

    Attributes
    ----------
    cell, convention, sizes, options
        Declarations of the target; see :class:`gatecheck.implementation.protocol.Implementation`.
        The options are only those that are set.
    convention_assumed
        Whether it declares no convention, so that canonical arrays are a guess.
    has_shapes
        Whether its arrays have shapes of their own, so that they are not canonical.
    few_shapes
        Whether it requests cases of few different sizes.
    own_weights
        Canonical parameters that it comes with, if any.
    shared
        Results for the current case.
    """

    cell: Cell
    convention: Convention
    sizes: Mapping[str, int] = field(default_factory=dict)
    options: frozenset[str] = frozenset()
    convention_assumed: bool = False
    has_shapes: bool = False
    few_shapes: bool = False
    own_weights: Mapping[str, Array] = field(default_factory=dict)
    shared: SharedResults = field(default_factory=SharedResults, init=False, repr=False)

    def share(self, case: Case) -> None:
        """Call the target once for this case, on which many properties are tried.

        A property that needs a separate call passes the arguments.
        """
        if self.shared.case != case:
            self.shared.results.clear()
        self.shared.case = case

    @property
    def traits(self) -> frozenset[str]:
        """Traits of its cell, and its own abilities."""
        return self.cell.traits | self.abilities

    @cached_property
    def effective_convention(self) -> Convention:
        """Convention of its parameters, in which it can have any bias if D is free.

        If its convention has no place for a bias, the bias is the weight of an input that is always
        one. Otherwise gates could not be saturated, and many properties could not be tried.
        """
        return (
            self.convention if "D" in self.sizes else self.convention.with_constant_input(self.cell)
        )

    @property
    def constant_inputs(self) -> int:
        """Number of inputs, always one, that precede those of a case."""
        return int(self.effective_convention is not self.convention)

    @property
    def unsupported_params(self) -> list[str]:
        """Canonical parameters for which its convention has no place.

        They are zero in every case.
        """
        return self.effective_convention.unsupported_params(self.cell)

    def zero_unsupported(self, case: Case) -> Case:
        """Return a case with zero for what its convention has no place for."""
        return case.replace(**{name: np.zeros_like(case[name]) for name in self.unsupported_params})

    @property
    def limitations(self) -> list[str]:
        """Sentences that say what the declaration leaves out of the audit."""
        out = [*self.notes, *(f"{k} is always {v}" for k, v in self.sizes.items())]
        out += [
            "its cases have few different sizes, as it requests: each is compiled"
        ] * self.few_shapes
        out += [
            "it has no bias: b is here the weight of one more input, the first, that is always 1"
        ] * self.constant_inputs
        out += [
            f"{k} is always zero: the convention {self.convention.name} has no place for it"
            for k in self.unsupported_params
        ]
        out += [
            f"{d} is not audited: it is not declared"
            for d in ("float32", "float64")
            if d not in self.dtypes
        ]
        return out + (
            []
            if "backward" in self.abilities
            else ["gradients are not audited: there is no backward"]
        )

    def arguments(self, case: Case, constant: float = 1.0) -> dict[str, Any]:
        """Return fresh, writeable arguments of the target, in its own convention.

        Its constant inputs may be another number than one.
        """
        states = {k: case.get(k) for k in (*STATES, "dhT", "dcT")}
        optional = {
            k: None if a is None else self.convention.state_from_canonical(self.cell, a)
            for k, a in states.items()
        } | {"dy": case.get("dy")}
        lengths, x = case.get("lengths"), case["x"]
        x = np.concatenate(
            [np.full((*x.shape[:2], self.constant_inputs), constant, x.dtype), x], axis=-1
        )
        sequences = {
            k: self.to_layout(v, lengths)
            for k, v in (("x", x), ("dy", optional["dy"]))
            if v is not None
        }
        more = {} if lengths is None else {"lengths": lengths.copy()}
        return (
            {"params": self.effective_convention.from_canonical(self.cell, case.params)}
            | optional
            | sequences
            | more
        )

    def to_layout(self, sequence: Array, lengths: Array | None = None) -> Array:
        """Return a copy of a sequence ``(T, B, ...)`` in the layout of the target."""
        sequence = _reverse_rows(sequence, lengths) if "reverse" in self.options else sequence
        return np.array(
            sequence.transpose([_TIME_MAJOR.index(axis) for axis in self.axes]), order="C"
        )

    def from_layout(self, sequence: Array, lengths: Array | None = None) -> Array:
        """Return a copy ``(T, B, ...)``: the inverse of :meth:`to_layout`."""
        sequence = sequence.transpose([self.axes.index(axis) for axis in _TIME_MAJOR])
        return np.array(
            _reverse_rows(sequence, lengths) if "reverse" in self.options else sequence, order="C"
        )

    @property
    def axes(self) -> str:
        """Axes of x and y in the layout of the target, such as ``"BTD"``."""
        return self.convention.sequence_axes("batch_first" in self.options)

    @property
    def _states(self) -> list[str]:
        """States in the order of the target."""
        return [k for k in self.convention.states if k in self.cell.state]

    def _sequence_shape(self, T: int, B: int, n: int) -> tuple[int, ...]:
        sizes = {"T": T, "B": B, "D": n}
        return tuple(sizes[axis] for axis in self.axes)

    def in_order(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a method in the order of the target."""
        # A backward and a tangent take a cell state for any cell: after h if the cell has none.
        order = self._states if method == "forward" or "c" in self._states else ["h", "c"]
        cotangents = ["dy", *(f"d{k}T" for k in order)] if method == "backward" else []
        names = ["params", "x", *(f"{k}0" for k in order), *cotangents]
        return {name: arguments[name] for name in names}

    def call_for(
        self, method: str, case: Case, direction: Case | None = None, *, strided: bool = False
    ) -> Call:
        """Return the call of a method on a case, in the target's own convention."""
        arguments = self.arguments(case)
        lengths = {k: arguments.pop(k) for k in ("lengths",) if k in arguments}
        ordered = self.in_order(method, arguments)
        if direction is not None:
            along = self.in_order(method, self.arguments(direction, 0.0))
            ordered |= {f"the tangent of {k}": v for k, v in along.items()}
        return Call(method, ordered, lengths, strided)

    def read(self, method: str, case: Case, answer: Answer) -> Results:
        """Return the results of a call on a case from its answer.

        A forward and a tangent have y ``(T, B, H)``, hT and (cT) ``(B, H)``. A backward has ``dW``,
        ``dU``, ``db``, (``dc_n``), ``dx``, and ``dh0``, (``dc0``), unless that state is absent and
        left out. Parameters that its convention has no place for have none.
        """
        returned = answer.result()
        if method == "backward":
            return self._validated_gradients(case, returned)
        return self._validated_outputs(case, method, returned)

    def _run(self, case: Case, methods: Sequence[str]) -> Results:
        if case is not self.shared.case:
            return super()._run(case, methods)
        known = self.shared.results
        missing = [method for method in methods if method not in known]
        calls = [self.call_for(method, case) for method in missing]
        for method, answer in zip(missing, self.session.run(calls) if calls else [], strict=True):
            known[method] = self.read(method, case, answer)
            for array in known[method].values():
                array.flags.writeable = False  # all properties share it
        return {k: v for method in methods for k, v in known[method].items()}

    def _validated_outputs(self, case: Case, method: str, returned: Any) -> Results:
        names = ["y", *(f"{k}T" for k in self._states)]
        if not isinstance(returned, tuple | list) or len(returned) != len(names):
            raise ContractError(
                f"{method} returned {describe_value(returned)}, but should return "
                f"({', '.join(names)})"
            )
        T, B, _, H = case.sizes
        shapes = {"y": self._sequence_shape(T, B, self.cell.directions * self.cell.width(H))}
        shapes |= {
            f"{k}T": self.convention.state_shape(self.cell, k, B, H) for k in self.cell.state
        }
        out = {
            k: validated_array(k, v, shapes[k], case.dtype)
            for k, v in zip(names, returned, strict=True)
        }
        states = {
            f"{k}T": self.convention.state_to_canonical(self.cell, out[f"{k}T"])
            for k in self.cell.state
        }
        return {"y": self.from_layout(out["y"], case.get("lengths"))} | states

    def _validated_gradients(self, case: Case, returned: Any) -> Results:
        if not isinstance(returned, Mapping):
            raise ContractError(
                f"backward returned {describe_value(returned)}, but should return a dict "
                f"of gradients"
            )
        T, B, D, H = case.sizes
        shapes = self.effective_convention.shapes(self.cell, D, H)
        states = {f"{k}0": self.convention.state_shape(self.cell, k, B, H) for k in self.cell.state}
        absent = {k for k in states if case.get(k) is None and returned.get(k) is None}
        expected = {**shapes, "x": self._sequence_shape(T, B, D + self.constant_inputs), **states}
        names = {
            k
            for k in returned
            if k not in absent and not (returned[k] is None and k not in expected)
        }
        if names != set(expected) - absent:
            raise ContractError(
                f"backward returned gradients for {sorted(names)}, "
                f"but should for {sorted(set(expected) - absent)}"
            )
        arrays = {
            k: validated_array(f"the gradient of {k}", returned[k], expected[k], case.dtype)
            for k in sorted(names)
        }
        arrays["x"] = np.array(
            self.from_layout(arrays["x"], case.get("lengths"))[..., self.constant_inputs :],
            order="C",
        )
        params = self.effective_convention.pull_back(
            self.cell, {k: arrays[k] for k in shapes}, (D, H)
        )
        inputs = {"x": arrays["x"]} | {
            k: self.convention.state_to_canonical(self.cell, arrays[k])
            for k in states
            if k in arrays
        }
        return {f"d{k}": v for k, v in (params | inputs).items()}


def _reverse_rows(sequence: Array, lengths: Array | None) -> Array:
    """Reverse each row in time; the padding behind it stays in place."""
    if lengths is None:
        return sequence[::-1]
    t = np.arange(len(sequence))[:, None]
    return np.take_along_axis(sequence, np.where(t < lengths, lengths - 1 - t, t)[..., None], 0)
