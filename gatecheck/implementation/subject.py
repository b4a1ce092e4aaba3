"""Subjects: targets made callable in canonical arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import STATES, Case
from gatecheck.cells import Cell
from gatecheck.conventions import Convention
from gatecheck.errors import ContractError
from gatecheck.implementation.calls import call_safely, describe_type, validated_output

Results = dict[str, Array]

_TIME_MAJOR = "TBD"


@dataclass
class SharedResults:
    """Results of the target for one case, by the name of the method."""

    case: Case | None = None
    results: dict[str, Results] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """Implementation as the properties see it: canonical arrays in and out.

    Attributes
    ----------
    target
        The implementation.
    name
        Name for reports.
    cell, convention, dtypes, sizes, options, expected_failures
        Declarations of the target; see :class:`gatecheck.implementation.protocol.Implementation`.
        The options are only those that are set.
    abilities
        Those of :data:`gatecheck.implementation.protocol.ABILITIES` that it has.
    convention_assumed
        Whether it declares no convention, so that canonical arrays are a guess.
    few_shapes
        Whether it requests cases of few different sizes.
    notes
        Sentences that it declares about itself, and that were found out about it.
    own_weights
        Canonical parameters that it comes with, if any.
    shared
        Results for the current case.
    """

    target: Any
    name: str
    cell: Cell
    convention: Convention
    dtypes: tuple[str, ...]
    abilities: frozenset[str]
    sizes: Mapping[str, int] = field(default_factory=dict)
    options: frozenset[str] = frozenset()
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    convention_assumed: bool = False
    few_shapes: bool = False
    notes: tuple[str, ...] = ()
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

    def positional_args(self, method: str, arguments: Mapping[str, Any]) -> list[Any]:
        """Return the arguments of a method in the order of the target.

        The method is ``"forward"``, ``"backward"`` or ``"tangent"``.
        """
        # A backward and a tangent take a cell state for any cell: after h if the cell has none.
        order = self._states if method == "forward" or "c" in self._states else ["h", "c"]
        states = [arguments[f"{k}0"] for k in order]
        cotangents = (
            [arguments["dy"], *(arguments[f"d{k}T"] for k in order)] if method == "backward" else []
        )
        return [arguments["params"], arguments["x"], *states, *cotangents]

    def forward(self, case: Case, arguments: Mapping[str, Any] | None = None) -> Results:
        """Return y ``(T, B, H)``, hT and (cT) ``(B, H)``.

        Raises
        ------
        TargetCrashError
            If the target raised an exception.
        ContractError
            If it returned something that the protocol does not allow.
        """
        return self._call_once("forward", self._forward, case, arguments)

    def _forward(self, case: Case, a: Mapping[str, Any]) -> Results:
        return self._validated_outputs(
            case,
            "forward",
            self.call("forward", *self.positional_args("forward", a), **_lengths_argument(a)),
        )

    def _call_once(
        self,
        method: str,
        call: Callable[..., Results],
        case: Case,
        arguments: Mapping[str, Any] | None,
    ) -> Results:
        if arguments is not None or case is not self.shared.case:
            return call(case, arguments or self.arguments(case))
        if method not in self.shared.results:
            self.shared.results[method] = call(case, self.arguments(case))
            for array in self.shared.results[method].values():
                array.flags.writeable = False  # all properties share it
        return dict(self.shared.results[method])

    def tangent(self, case: Case, direction: Case) -> Results:
        """Return the derivative of :meth:`forward` at a case in a direction.

        The arrays of the direction are those of the other case.

        Raises
        ------
        TargetCrashError, ContractError
            As for :meth:`forward`.
        """
        at, along = (
            self.positional_args("tangent", self.arguments(point, constant))
            for point, constant in ((case, 1.0), (direction, 0.0))
        )
        return self._validated_outputs(case, "tangent", self.call("tangent", *at, *along))

    def _validated_outputs(self, case: Case, method: str, returned: Any) -> Results:
        names = ["y", *(f"{k}T" for k in self._states)]
        if not isinstance(returned, tuple | list) or len(returned) != len(names):
            raise ContractError(
                f"{method} returned {describe_type(returned)}, but should return "
                f"({', '.join(names)})"
            )
        T, B, _, H = case.sizes
        shapes = {"y": self._sequence_shape(T, B, self.cell.directions * self.cell.width(H))}
        shapes |= {
            f"{k}T": self.convention.state_shape(self.cell, k, B, H) for k in self.cell.state
        }
        out = {
            k: validated_output(k, v, shapes[k], case.dtype)
            for k, v in zip(names, returned, strict=True)
        }
        states = {
            f"{k}T": self.convention.state_to_canonical(self.cell, out[f"{k}T"])
            for k in self.cell.state
        }
        return {"y": self.from_layout(out["y"], case.get("lengths"))} | states

    def backward(self, case: Case, arguments: Mapping[str, Any] | None = None) -> Results:
        """Return the gradients with respect to the parameters, x and initial states.

        They are ``dW``, ``dU``, ``db``, (``dc_n``), ``dx``, and ``dh0``, (``dc0``), unless that
        state is absent and left out. Parameters that its convention has no place for have none.

        Raises
        ------
        TargetCrashError, ContractError
            As for :meth:`forward`.
        """
        return self._call_once("backward", self._backward, case, arguments)

    def _backward(self, case: Case, a: Mapping[str, Any]) -> Results:
        returned = self.call(
            "backward", *self.positional_args("backward", a), **_lengths_argument(a)
        )
        if not isinstance(returned, Mapping):
            raise ContractError(
                f"backward returned {describe_type(returned)}, but should return a dict "
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
            k: validated_output(f"the gradient of {k}", returned[k], expected[k], case.dtype)
            for k in sorted(names)
        }
        arrays["x"] = np.array(
            self.from_layout(arrays["x"], case.get("lengths"))[..., self.constant_inputs :],
            order="C",
        )
        params = self.effective_convention.pull_back(self.cell, {k: arrays[k] for k in shapes})
        inputs = {"x": arrays["x"]} | {
            k: self.convention.state_to_canonical(self.cell, arrays[k])
            for k in states
            if k in arrays
        }
        return {f"d{k}": v for k, v in (params | inputs).items()}

    def run(self, case: Case) -> Results:
        """Return the results of forward, and of backward if there is one."""
        return self.forward(case) | (self.backward(case) if "backward" in self.abilities else {})

    def call(self, method: str, *arguments: Any, **more: Any) -> Any:
        """Call a method of the target in its own convention; return its result as it is.

        Raises
        ------
        TargetCrashError
            If it raised an exception.
        """
        return call_safely(self.target, method, *arguments, **more)


def _reverse_rows(sequence: Array, lengths: Array | None) -> Array:
    """Reverse each row in time; the padding behind it stays in place."""
    if lengths is None:
        return sequence[::-1]
    t = np.arange(len(sequence))[:, None]
    return np.take_along_axis(sequence, np.where(t < lengths, lengths - 1 - t, t)[..., None], 0)


def _lengths_argument(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {k: arguments[k] for k in ("lengths",) if k in arguments}
