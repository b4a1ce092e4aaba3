"""Properties of gradients: backward returns the derivative of forward."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import COTANGENTS, Case
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import (
    Evidence,
    Violation,
    check_agreement,
    check_consistency,
    check_identity,
    require,
)
from gatecheck.checking.registry import property_check
from gatecheck.errors import InputError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import Results, Subject
from gatecheck.kernels import Builtin
from gatecheck.oracles.finite_difference import directional
from gatecheck.oracles.gradcheck import gradcheck
from gatecheck.oracles.result import GradcheckResult


@property_check(needs={"backward"}, cases="any", reference=True, anywhere=True)
def gradients_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Every gradient is that of the cell's equations, within its rounding budget.

    The budget is the rounding that correct code may show. The cotangents are those of y, h_T and
    c_T, any of which may be absent; the gradients are with respect to every parameter, x, h_0 and
    c_0. Each block is judged by its own size: gate by gate, and for x step by step.
    """
    budget = case_budget(case)
    return check_agreement(case.cell, implementation.backward(case), budget.exact, budget.tolerance)


@lru_cache(maxsize=32)
def _run_gradcheck(implementation: Subject, case: Case) -> GradcheckResult:
    """Run every oracle on the full Jacobian; the properties below each read one."""
    constants = {k: case[k] for k in implementation.unsupported_params}

    def forward(**arrays: Array) -> Results:
        return implementation.forward(case.with_arrays(constants | arrays))

    def vjp(cotangents: dict[str, Array], **arrays: Array) -> Results:
        gradients = implementation.backward(
            case.with_arrays(constants | arrays | {f"d{k}": v for k, v in cotangents.items()})
        )
        return {k: gradients[f"d{k}"] for k in arrays}

    def jvp(tangents: dict[str, Array], **arrays: Array) -> Results:
        return implementation.tangent(
            case.with_arrays(constants | arrays), case.with_arrays(constants | tangents)
        )

    inputs = {k: case[k].copy() for k in case.inputs if k not in constants}
    ours = _takes_batches(implementation) and case.get("lengths") is None
    each = _batched_calls if ours else _planned_calls
    fn_each, vjp_each = each(implementation, case)
    try:
        return gradcheck(
            forward,
            inputs,
            vjp,
            jvp if "tangent" in implementation.abilities else None,
            fn_each=fn_each,
            vjp_each=vjp_each,
            check_each=ours,
        )
    except InputError as error:  # an oracle takes no NaN, say
        raise Violation(str(error)) from error


BatchedCalls = tuple[Callable[..., Results], Callable[..., Results]]
"""Functions for many perturbations of an input, and for many cotangents at once."""


def _planned_calls(implementation: Subject, case: Case) -> BatchedCalls:
    """Return functions that call an implementation once for each, in one plan."""
    constants = {k: case[k] for k in implementation.unsupported_params}

    def stacked(each: list[Results], names: Iterable[str]) -> Results:
        return {k: np.stack([results[k] for results in each]) for k in names}

    def forward_each(name: str, entries: Array, values: Array, **arrays: Array) -> Results:
        cases = []
        for entry, value in zip(entries, values, strict=True):
            changed = arrays[name].astype(values.dtype)
            changed.flat[entry] = value
            cases.append(case.with_arrays(constants | arrays | {name: changed}))
        results = implementation.run_each("forward", cases)
        return stacked(results, results[0])

    def backward_each(cotangents: dict[str, Array], **arrays: Array) -> Results:
        at = constants | arrays
        cases = [
            case.with_arrays(at | {f"d{k}": v[p] for k, v in cotangents.items()})
            for p in range(len(next(iter(cotangents.values()))))
        ]
        gradients = stacked(
            implementation.run_each("backward", cases), [f"d{name}" for name in arrays]
        )
        return {name: gradients[f"d{name}"] for name in arrays}

    return forward_each, backward_each


def _takes_batches(implementation: Subject) -> bool:
    """Return True for our kernels and equations, which take many perturbations a call.

    A subclass of theirs may do otherwise.
    """
    target = getattr(implementation.session, "target", None)
    return type(target) in (Builtin, EditedCell) and not implementation.options


def _batched_calls(implementation: Subject, case: Case) -> BatchedCalls:
    """Return functions of one call, of our own cells."""
    target: Any = implementation.session.target  # type: ignore[attr-defined]
    states = [f"{s}0" for s in case.cell.state]

    def split(arrays: dict[str, Array]) -> list[Any]:
        return [{k: arrays[k] for k in case.params}, arrays["x"], *(arrays[k] for k in states)]

    def forward_each(name: str, entries: Array, values: Array, **arrays: Array) -> Results:
        outputs = target.forward_each(name, entries, values, *split(arrays))
        return dict(zip(("y", "hT", "cT"), outputs, strict=False))

    def backward_each(cotangents: dict[str, Array], **arrays: Array) -> Results:
        gradients: Results = target.backward_each(
            *split(arrays), **{f"d{k}": v for k, v in cotangents.items()}
        )
        return gradients

    return forward_each, backward_each


def _verdict(implementation: Subject, case: Case, oracle: str) -> Evidence:
    result = _run_gradcheck(implementation, case)
    # With a backward of a wrong shape, or a forward that is not a function, no oracle can judge.
    require(oracle in result.oracles, "; ".join(result.notes))
    outcome = result.oracles[oracle]
    if outcome.verdict == "fail":
        # If two oracles found one place, the result quotes the sharper one: either may stand here.
        failures = [f for f in result.failures if f.oracle == oracle] or [
            f for f in result.failures if "Taylor" not in f.oracle
        ]
        places = (f.where.rpartition("/ d ")[2].partition("[")[0] for f in failures)
        inputs = dict.fromkeys(f"d{place}" for place in places if place in case.arrays)
        ratio = math.inf if math.isnan(outcome.worst_ratio) else outcome.worst_ratio
        raise Violation(
            "\n".join([outcome.reason, *map(str, failures[:3])]), ratio=ratio, wrong=tuple(inputs)
        )
    undecided = round(outcome.inconclusive_share * outcome.n_compared)
    if outcome.verdict != "pass":
        return Evidence(inconclusive=max(undecided, 1))
    return Evidence(
        0.0 if math.isnan(outcome.worst_ratio) else outcome.worst_ratio,
        max(outcome.n_compared - undecided, 1),
        undecided,
    )


@property_check(needs={"backward"}, cases="tiny", dtypes=("float64",), anywhere=True)
def gradients_match_finite_differences(implementation: Subject, case: Case) -> Evidence:
    """The Jacobian that backward implies is that of forward by central differences.

    It is the full Jacobian, within the error bound of the differences. No equations are consulted:
    the implementation is compared with itself.
    """
    return _verdict(implementation, case, "finite differences")


@property_check(
    needs={"backward", "complex", "analytic"}, cases="tiny", dtypes=("float64",), anywhere=True
)
def gradients_match_complex_step(implementation: Subject, case: Case) -> Evidence:
    """The Jacobian that backward implies is Im f(x + i h)/h at h = 1e-200.

    It is the full Jacobian, to rounding (Squire & Trapp 1998).
    """
    return _verdict(implementation, case, "complex step")


@property_check(needs={"backward"}, cases="tiny", dtypes=("float64",), anywhere=True)
def taylor_remainder_has_next_order(implementation: Subject, case: Case) -> Evidence:
    """The Taylor remainder of forward vanishes with the next order of the step.

    It is what is left after the derivative along a direction is taken away.
    """
    return _verdict(implementation, case, "Taylor")


@property_check(needs={"backward", "tangent"}, cases="tiny", dtypes=("float64",), anywhere=True)
def tangent_is_adjoint_of_backward(implementation: Subject, case: Case) -> Evidence:
    """⟨u, J v⟩ = ⟨Jᵀu, v⟩ for the tangent J v and the backward Jᵀu, to rounding."""
    return _verdict(implementation, case, "adjoint")


SCALES = {"dy": 64.0, "dhT": 1 / 64, "dcT": 4.0}
"""Factors of the cotangents, powers of two, which round nothing.

Scaled up, gradients meet whatever clips them; scaled down, they are lost in whatever is added.
"""


@property_check(needs={"backward"}, anywhere=True)
def gradients_are_linear_in_cotangents(implementation: Subject, case: Case) -> Evidence:
    """Gradients are linear in the cotangents of y, h_T and c_T.

    Each alone and scaled by a power of two, the cotangents give gradients that add up to those of
    all together. So y, h_T or c_T alone may make up a loss, the others being absent, and no
    gradient is clipped or normalized.
    """
    together = case_budget(case)
    spread = dict(together.spread)
    total: Results = {}
    for name in case.cotangents:
        alone = case.replace(**dict.fromkeys(COTANGENTS) | {name: case[name] * SCALES[name]})
        budget = case_budget(alone)
        for k, gradient in implementation.backward(alone).items():
            total[k] = total.get(k, 0.0) + gradient.astype(float) / SCALES[name]
            spread[k] = spread[k] + budget.spread[k] / SCALES[name]
    # Both sides together have these spreads, of which `consistent` allows each side one.
    shared = replace(together, spread={k: v / 2 for k, v in spread.items()})
    return check_consistency(case.cell, implementation.backward(case), total, shared)


@property_check(needs={"backward"}, anywhere=True)
def zero_cotangents_give_zero_gradients(implementation: Subject, case: Case) -> Evidence:
    """If every cotangent is zero, every gradient is exactly zero.

    Nothing is added to it, and nothing is left from another call.
    """
    implementation.backward(case.replace())
    zero = {k: np.zeros_like(case[k]) for k in case.cotangents}
    gradients = implementation.backward(case.replace(**zero))
    return check_identity(case.cell, gradients, {k: np.zeros_like(v) for k, v in gradients.items()})


@property_check(needs={"backward", "analytic"}, cases="tiny", dtypes=("float64",), anywhere=True)
def second_derivatives_are_symmetric(implementation: Subject, case: Case) -> Evidence:
    """Gradients are those of one function: their own Jacobian H is symmetric.

    ⟨u, H v⟩ = ⟨v, H u⟩ for random u and v. H v is the derivative of backward along v, with respect
    to everything at once, by central differences with a bound on their own error. Neither forward
    nor any equations are consulted.
    """
    names = [k for k in case.inputs if k not in implementation.unsupported_params]
    rng = np.random.default_rng(case.origin.get("seed", 0))
    point, u, v = (
        {k: np.array(case[k]) for k in names},
        *({k: rng.standard_normal(case[k].shape) for k in names} for _ in range(2)),
    )

    def gradient(**arrays: Array) -> Results:
        gradients = implementation.backward(case.replace(**arrays))
        return {k: gradients[f"d{k}"] for k in names}

    for k, value in gradient(**point).items():
        require(np.isfinite(value).all(), f"d{k} is not finite")

    def curvature(left: Results, right: Results) -> tuple[float, float]:
        try:
            product, error = directional(gradient, point, right)
        except InputError as raised:
            raise Violation(str(raised)) from raised
        return sum(float(np.sum(left[k] * product[k])) for k in names), sum(
            float(np.sum(np.abs(left[k]) * error[k])) for k in names
        )

    (one, error_one), (other, error_other) = curvature(u, v), curvature(v, u)
    name = "⟨u, H v⟩"
    return check_agreement(
        case.cell,
        {name: np.array([one])},
        {name: np.array([other])},
        {name: np.array([error_one + error_other])},
    )
