"""Custom cells, whose gradients are checked against their own forward.

No convention and no reference equations are used: gradients should match the forward, and calls
should have no side effects. The target gives its own example arrays, of any names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import ContractError, GatecheckError, TargetError
from gatecheck.implementation.calls import call_safely
from gatecheck.implementation.custom_case import COTANGENTS, CUSTOM, OUTPUTS, CustomCase
from gatecheck.implementation.subject import Results


class CustomConvention(NamedTuple):
    """Placeholder for a convention."""

    name: str


CUSTOM_CONVENTION = CustomConvention("its own")


def is_custom(target: Any, cell: Any) -> bool:
    """Return whether a target is a custom cell."""
    declared = getattr(target, "cell", None) if cell is None else cell
    return isinstance(declared, str) and declared == CUSTOM.name


@dataclass(frozen=True, eq=False)
class CustomSubject:
    """A custom cell as a subject.

    Attributes
    ----------
    target, name, dtypes, abilities, expected_failures
        See :class:`gatecheck.implementation.Subject`.
    time_axis
        The time axis of its x and y; None if it takes no states, or if the axis is not clear. In
        cases it is the first.
    """

    target: Any
    name: str
    dtypes: tuple[str, ...]
    abilities: frozenset[str]
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    cell = CUSTOM
    convention = CUSTOM_CONVENTION
    unsupported_params: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    time_axis: int | None = None

    @property
    def traits(self) -> frozenset[str]:
        """Traits on which properties may depend."""
        return (
            self.cell.traits
            | self.abilities
            | ({"unidirectional"} if self.time_axis is not None else set())
        )

    @property
    def limitations(self) -> list[str]:
        """Sentences on what an audit leaves out."""
        sentences = [
            "it is a custom cell: its gradient is checked against its own forward, "
            "which has no reference"
        ]
        sentences += (
            [f"its time axis is axis {self.time_axis} of x"] if self.time_axis is not None else []
        )
        return (
            sentences
            if "backward" in self.abilities
            else [*sentences, "gradients are not audited: there is no backward"]
        )

    def example(self, seed: int, dtype: str) -> CustomCase:
        """Return the target's example arrays, with random cotangents for its results.

        Raises
        ------
        TargetError
            If it gives no example, or one that cannot be used.
        """
        try:
            given = self.target.example(np.random.default_rng(seed))
            params, rest = (
                dict(given["params"]),
                {k: v for k, v in given.items() if k != "params" and v is not None},
            )
            arrays = {
                k: self._to_time_major(k, np.asarray(v, dtype)) for k, v in (params | rest).items()
            }
        except (Exception, SystemExit) as error:
            form = '{"params": {name: array, …}, "x": array} and perhaps states, such as "h0"'
            raise TargetError(
                f"{self.name}.example(rng) raised {type(error).__name__}: {error}; it should "
                f"return {form}"
            ) from error
        if "x" not in rest or set(params) & set(rest):
            raise TargetError(
                f'{self.name}.example(rng) should return "params", "x" and perhaps states, of '
                "different names"
            )
        case = CustomCase(tuple(params), tuple(k for k in rest if k != "x"), arrays, {"seed": seed})
        rng = np.random.default_rng([seed, 1])
        return case.replace(
            **{f"d{k}": rng.standard_normal(v.shape) for k, v in self.forward(case).items()}
        )

    def examples(self, number: int, seed: int) -> dict[str, list[CustomCase]]:
        """Return a number of examples in each dtype, from one seed."""
        return {
            dtype: [self.example(1000 * seed + k, dtype) for k in range(number)]
            for dtype in self.dtypes
        }

    def arguments(self, case: CustomCase) -> dict[str, Any]:
        """Return fresh, writeable copies of the target's arguments."""
        own = {
            k: np.moveaxis(v, 0, self.time_axis).copy()
            if self.time_axis and k in ("x", "dy")
            else v.copy()
            for k, v in case.arrays.items()
        }
        return {"params": {k: own.pop(k) for k in case.params}} | own

    def _to_time_major(self, name: str, array: Array) -> Array:
        return (
            np.moveaxis(array, self.time_axis, 0)
            if self.time_axis and name in ("x", "y")
            else array
        )

    def positional_args(self, method: str, arguments: Mapping[str, Any]) -> list[Any]:
        """Return arguments of ``"forward"`` or ``"backward"`` in the target's order."""
        return [v for k, v in arguments.items() if method == "backward" or k not in COTANGENTS]

    def forward(self, case: CustomCase, arguments: Mapping[str, Any] | None = None) -> Results:
        """Return the target's results for a case.

        A number is ``loss``, an array ``y``, and several arrays are ``y``, ``hT`` and ``cT``.

        Raises
        ------
        TargetCrashError
            If the target raised an exception.
        ContractError
            If it did not return a number, an array, or up to three arrays.
        """
        return self._to_results(
            self.call(
                "forward", *self.positional_args("forward", arguments or self.arguments(case))
            )
        )

    def tangent(self, case: CustomCase, direction: CustomCase) -> Results:
        """Return the derivative of :meth:`forward` at a case in a direction."""
        at, along = (self.positional_args("forward", self.arguments(a)) for a in (case, direction))
        return self._to_results(self.call("tangent", *at, *along))

    def backward(self, case: CustomCase, arguments: Mapping[str, Any] | None = None) -> Results:
        """Return a gradient for each parameter, x and state; its name begins with ``d``.

        Raises
        ------
        TargetCrashError, ContractError
            As for :meth:`forward`.
        """
        gradients = self.call(
            "backward", *self.positional_args("backward", arguments or self.arguments(case))
        )
        if not isinstance(gradients, Mapping) or set(gradients) != set(case.inputs):
            names = (
                sorted(gradients) if isinstance(gradients, Mapping) else type(gradients).__name__
            )
            raise ContractError(
                f"backward returned {names}, but should return a dict of gradients for "
                f"{sorted(case.inputs)}"
            )
        own = self.arguments(case)
        shapes = {k: v.shape for k, v in (own | own["params"]).items() if k != "params"}
        for name, gradient in gradients.items():
            if np.shape(gradient) != shapes[name]:
                raise ContractError(
                    f"the gradient of {name} has shape {np.shape(gradient)}, but should have "
                    f"shape {shapes[name]}"
                )
        return {
            f"d{k}": np.array(self._to_time_major(k, np.asarray(v))) for k, v in gradients.items()
        }

    def run(self, case: CustomCase) -> Results:
        """Return the results of forward, and of backward if there is one."""
        return self.forward(case) | (self.backward(case) if "backward" in self.abilities else {})

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of the target, unchanged.

        Raises
        ------
        TargetCrashError
            If it raised an exception.
        """
        return call_safely(self.target, method, *arguments)

    def _to_results(self, result: Any) -> Results:
        values = list(result) if isinstance(result, tuple | list) else [result]
        if not 1 <= len(values) <= len(OUTPUTS) or not all(
            isinstance(v, np.ndarray | np.number | float) for v in values
        ):
            raise ContractError(
                f"forward returned {type(result).__name__}, but should return a number, an array, "
                "or up to three arrays"
            )
        if len(values) == 1 and np.ndim(values[0]) == 0:
            return {"loss": np.asarray(values[0])}
        return {
            name: np.array(self._to_time_major(name, np.asarray(v)))
            for name, v in zip(OUTPUTS, values, strict=False)
        }


def custom_subject(target: Any, name: str | None = None) -> CustomSubject:
    """Return a target with ``cell = "custom"``, or a class of one, as a subject.

    Raises
    ------
    TargetError
        If it has no `forward` or no `example`.
    """
    if isinstance(target, type):
        try:
            target = target()
        except (Exception, SystemExit) as error:
            raise TargetError(
                f"{target.__name__}() raised {type(error).__name__}: {error}"
            ) from error
    name = name or type(target).__name__
    for needed in ("forward", "example"):
        if not callable(getattr(target, needed, None)):
            raise TargetError(f'{name} has no {needed}, which a cell = "custom" needs')
    dtypes = tuple(getattr(target, "dtypes", ("float32", "float64")))
    has_method = {k: callable(getattr(target, k, None)) for k in ("backward", "tangent")} | {
        "complex": "complex128" in dtypes
    }
    real = tuple(d for d in dtypes if d != "complex128")
    subject = CustomSubject(
        target,
        name,
        real,
        frozenset(k for k, v in has_method.items() if v),
        dict(getattr(target, "expected_failures", {})),
    )
    return replace(subject, time_axis=_time_axis(subject))


def _time_axis(subject: CustomSubject) -> int | None:
    """Return the time axis of a target, as declared or as its shapes determine.

    With a state (H,) it is the first axis of x (T, D); with states (B, ...) it is that axis of
    x (T, B, D) or (B, T, D) which is not B.
    """
    declared = getattr(subject.target, "time_axis", None)
    if declared is not None and (not isinstance(declared, int) or declared < 0):
        raise TargetError(
            f"{subject.name}.time_axis is {declared!r}, but should be the number of an axis of x, "
            "from 0"
        )
    try:
        case = subject.example(0, subject.dtypes[0])
        out = subject.forward(case)
    except GatecheckError:  # the audit will report it
        return None
    x, states = case["x"], [case[start] for start, _ in case.state_pairs]
    if (
        not states
        or len(case.state_pairs) < len(case.states)
        or any(e not in out or out[e].shape != case[s].shape for s, e in case.state_pairs)
    ):
        return None
    axis = declared
    if axis is None and x.ndim == 2 and all(s.ndim == 1 for s in states):
        axis = 0
    if (
        axis is None
        and x.ndim == 3
        and all(s.ndim > 1 for s in states)
        and len({s.shape[0] for s in states}) == 1
    ):
        others = [k for k in (0, 1) if x.shape[k] != states[0].shape[0]]
        axis = others[0] if len(others) == 1 else None
    fits = (
        axis is not None
        and axis < x.ndim
        and axis < out["y"].ndim
        and out["y"].shape[axis] == x.shape[axis]
    )
    if declared is not None and not fits:
        raise TargetError(
            f"{subject.name}.time_axis is {declared}, but x {x.shape} and y {out['y'].shape} "
            "differ in length there"
        )
    return axis if fits else None
