"""Applicability of properties to a target."""

from __future__ import annotations

from typing import Any

from gatecheck.checking.registry import Property
from gatecheck.implementation.custom import CustomSubject

DIFFERENTIABLE_PROPERTIES = (
    "repeated_calls_are_identical",
    "inputs_are_not_changed",
    "outputs_are_fresh_arrays",
    "gradients_match_finite_differences",
    "gradients_match_complex_step",
    "taylor_remainder_has_next_order",
    "tangent_is_adjoint_of_backward",
    "zero_cotangents_give_zero_gradients",
)
"""Properties of any differentiable function, by name."""

TEMPORAL_PROPERTIES = (
    "outputs_are_causal",
    "gradients_are_causal",
    "split_sequence_equals_whole_sequence",
)
"""Properties of any function that runs over time.

Such a function takes and returns states, and returns y for each step of x.
"""


def why_not_applicable(prop: Property, implementation: Any) -> str | None:
    """Return why a property does not apply to an implementation, or None if it does."""
    if isinstance(implementation, CustomSubject) and prop.name not in (
        *DIFFERENTIABLE_PROPERTIES,
        *TEMPORAL_PROPERTIES,
    ):
        return "applies to known cells only, and this is a custom one"
    if (
        isinstance(implementation, CustomSubject)
        and prop.name in TEMPORAL_PROPERTIES
        and implementation.time_axis is None
    ):
        return (
            "holds only if it takes and returns states, and y for each step of x; time_axis says "
            "which axis is time, where shapes do not"
        )
    return prop.why_not_applicable(implementation)
