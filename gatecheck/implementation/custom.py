"""Custom cells, whose gradients are checked against their own forward.

No convention and no reference equations are used: gradients should match the forward, and calls
should have no side effects. The target gives its own example arrays, of any names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import ContractError, GatecheckError, TargetError
from gatecheck.implementation.base import BaseSubject, Results
from gatecheck.implementation.custom_case import COTANGENTS, CUSTOM, OUTPUTS, CustomCase
from gatecheck.implementation.plain import UnreadArray, describe_value
from gatecheck.implementation.session import Answer, Call, Seed, Session


class CustomConvention(NamedTuple):
    """Placeholder for a convention."""

    name: str


CUSTOM_CONVENTION = CustomConvention("its own")


@dataclass(frozen=True, eq=False, kw_only=True)
class CustomSubject(BaseSubject):
    """A custom cell as a subject.

    Attributes
    ----------
    time_axis
        The time axis of its x and y; None if it takes no states, or if the axis is not clear. In
        cases it is the first.
    """

    cell = CUSTOM
    convention = CUSTOM_CONVENTION
    convention_assumed = False
    unsupported_params = ()
    sizes = MappingProxyType[str, int]({})
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
            *self.notes,
            "it is a custom cell: its gradient is checked against its own forward, "
            "which has no reference",
        ]
        sentences += (
            [f"its time axis is axis {self.time_axis} of x"] if self.time_axis is not None else []
        )
        return (
            sentences
            if "backward" in self.abilities
            else [*sentences, "gradients are not audited: there is no backward"]
        )

    def share(self, case: CustomCase) -> None:
        """Do nothing: each property calls the target itself."""

    def example(self, seed: int, dtype: str) -> CustomCase:
        """Return the target's example arrays, with random cotangents for its results.

        Raises
        ------
        TargetError
            If it gives no example, or one that cannot be used.
        """
        (answer,) = self.session.run([Call("example", {"rng": Seed(seed)}, array_likes=True)])
        form = 'it should return {"params": {name: array, …}, "x": array} and perhaps states'
        try:
            given = answer.result()
        except TargetError as error:
            raise TargetError(f"{self.name}: {error}; {form}") from error
        try:
            params = dict(given["params"])
            rest = {k: v for k, v in given.items() if k != "params" and v is not None}
            arrays = {
                k: self._to_time_major(k, np.asarray(v, dtype)) for k, v in (params | rest).items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TargetError(
                f"{self.name}.example(rng) returned what cannot be used "
                f"({type(error).__name__}: {error}); {form}"
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

    def call_for(
        self,
        method: str,
        case: CustomCase,
        direction: CustomCase | None = None,
        *,
        strided: bool = False,
    ) -> Call:
        """Return the call of a method on a case; a tangent has a direction."""

        def ordered(case: CustomCase, prefix: str = "") -> dict[str, Any]:
            arguments = self.arguments(case)
            return {
                f"{prefix}{k}": v
                for k, v in arguments.items()
                if method == "backward" or k not in COTANGENTS
            }

        along = {} if direction is None else ordered(direction, "the tangent of ")
        return Call(
            method, ordered(case) | along, strided=strided, array_likes=method == "backward"
        )

    def read(self, method: str, case: CustomCase, answer: Answer) -> Results:
        """Return the results of a call on a case from its answer.

        Of a forward a number is ``loss``, an array ``y``, and several arrays are ``y``, ``hT`` and
        ``cT``. A backward has a gradient for each parameter, x and state; its name begins with
        ``d``.
        """
        returned = answer.result()
        if method != "backward":
            return self._to_results(method, returned)
        if not isinstance(returned, Mapping) or set(returned) != set(case.inputs):
            names = sorted(returned) if isinstance(returned, Mapping) else describe_value(returned)
            raise ContractError(
                f"backward returned {names}, but should return a dict of gradients for "
                f"{sorted(case.inputs)}"
            )
        own = self.arguments(case)
        shapes = {k: v.shape for k, v in (own | own["params"]).items() if k != "params"}
        for name, gradient in returned.items():
            if not isinstance(gradient, np.ndarray | float | int):
                raise ContractError(
                    f"the gradient of {name} is {describe_value(gradient)}, but should be an array"
                )
            if np.shape(gradient) != shapes[name]:
                raise ContractError(
                    f"the gradient of {name} has shape {np.shape(gradient)}, but should have "
                    f"shape {shapes[name]}"
                )
        return {
            f"d{k}": np.array(self._to_time_major(k, np.asarray(v))) for k, v in returned.items()
        }

    def _to_results(self, method: str, result: Any) -> Results:
        values = list(result) if isinstance(result, tuple | list) else [result]
        if not 1 <= len(values) <= len(OUTPUTS) or not all(
            isinstance(v, np.ndarray | float) for v in values
        ):
            wrong = next((v for v in values if isinstance(v, UnreadArray)), result)
            described = describe_value(wrong)
            raise ContractError(
                f"{method} returned {described}, but should return a number, an array, "
                "or up to three arrays"
            )
        if len(values) == 1 and np.ndim(values[0]) == 0:
            return {"loss": np.asarray(values[0])}
        return {
            name: np.array(self._to_time_major(name, np.asarray(v)))
            for name, v in zip(OUTPUTS, values, strict=False)
        }


def custom_subject(session: Session, declared: Mapping[str, Any], **common: Any) -> CustomSubject:
    """Return the subject of a target with ``cell = "custom"``.

    Parameters
    ----------
    session
        Calls the target.
    declared
        See :func:`gatecheck.implementation.declarations.read_declarations`.
    common
        Fields of every subject.

    Raises
    ------
    TargetError
        If it has no `forward` or no `example`, or declares a time axis that cannot be used.
    """
    name = common["name"]
    for needed in ("forward", "example"):
        if needed not in declared["methods"]:
            raise TargetError(f'{name} has no {needed}, which a cell = "custom" needs')
    subject = CustomSubject(session=session, **common)
    return replace(subject, time_axis=_time_axis(subject, declared.get("time_axis")))


def _time_axis(subject: CustomSubject, declared: Any) -> int | None:
    """Return the time axis of a target, as declared or as its shapes determine.

    With a state (H,) it is the first axis of x (T, D); with states (B, ...) it is that axis of
    x (T, B, D) or (B, T, D) which is not B.
    """
    if declared is not None and (type(declared) is not int or declared < 0):
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
