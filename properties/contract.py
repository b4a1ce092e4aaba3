"""Properties of calls: inputs stay as they are, results repeat, absent is zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gatecheck.cases import Case, optional_arrays
from gatecheck.checking.budgets import case_budget, forward_budget
from gatecheck.checking.evidence import Evidence, check_consistency, check_identity, require
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject


def _calls(implementation: Subject) -> list[Callable[..., Results]]:
    return [implementation.forward] + (
        [implementation.backward] if "backward" in implementation.abilities else []
    )


def _methods(implementation: Subject) -> list[str]:
    return ["forward", *({"backward"} & implementation.abilities)]


@property_check(cases="any", anywhere=True)
def repeated_calls_are_identical(implementation: Subject, case: Case) -> Evidence:
    """The same call gives the same bits, also after a call with other inputs.

    No state is kept between calls. This is tried before all other properties, so that a first call
    that differs from later ones is noticed; and on positive numbers, so that no relu hides the
    difference.
    """
    case = case.replace(**{k: np.abs(v) for k, v in case.arrays.items()})
    other = case.replace(x=1 - case["x"])
    evidence = Evidence()
    for call in _calls(implementation):
        first = call(case)
        call(other)
        evidence += check_identity(case.cell, call(case), first)
    return evidence


@property_check(cases="any", anywhere=True)
def inputs_are_not_changed(implementation: Subject, case: Case) -> Evidence:
    """No call changes the arrays that it is given, nor the dict of parameters."""
    evidence = Evidence()
    for method in _methods(implementation):
        (answer,) = implementation.watch(method, [case])
        implementation.read(method, case, answer)
        require("params" not in answer.changed, f"{method} changed the names of the parameters")
        changed = " and ".join(answer.changed)
        evidence += require(not changed, f"{method} changed its argument {changed}")
    return evidence


@property_check(anywhere=True)
def absent_arrays_mean_zero(implementation: Subject, case: Case) -> Evidence:
    """An absent initial state or cotangent means zero.

    Leaving out one state, or everything at once, is the same as passing zeros.
    """
    evidence = Evidence()
    for state in (f"{k}0" for k in case.cell.state):
        absent, zero = (
            case.replace(**{state: None}),
            case.replace(**{state: np.zeros_like(case[state])}),
        )
        evidence += check_consistency(
            case.cell,
            implementation.forward(absent),
            implementation.forward(zero),
            forward_budget(zero),
        )
    names = optional_arrays(case.cell)
    absent, zero = (
        case.replace(**dict.fromkeys(names)),
        case.replace(**{k: np.zeros_like(case[k]) for k in names}),
    )
    return evidence + check_consistency(
        case.cell, implementation.run(absent), implementation.run(zero), case_budget(zero)
    )


@property_check(varies="T", anywhere=True)
def empty_sequence(implementation: Subject, case: Case) -> Evidence:
    """Over no steps the states stay as they are, and parameter gradients are zero.

    h_T = h_0, c_T = c_0, dh_0 = dh_T, dc_0 = dc_T.
    """
    empty = case.replace(x=case["x"][:0], dy=case["dy"][:0])
    expected: Results = {f"{k}T": case[f"{k}0"] for k in case.cell.state}
    if "backward" in implementation.abilities:
        expected |= {f"d{k}0": case[f"d{k}T"] for k in case.cell.state}
        expected |= {
            f"d{k}": np.zeros_like(v)
            for k, v in case.params.items()
            if k not in implementation.unsupported_params
        }
    return check_identity(case.cell, implementation.run(empty), expected)


@property_check(varies="B", anywhere=True)
def empty_batch(implementation: Subject, case: Case) -> Evidence:
    """A batch of no rows gives empty outputs, and parameter gradients of zero."""
    empty = case.replace(
        **{k: v[..., :0, :] for k, v in case.arrays.items() if k not in case.params}
    )
    expected: Results = {}
    if "backward" in implementation.abilities:
        expected = {
            f"d{k}": np.zeros_like(v)
            for k, v in case.params.items()
            if k not in implementation.unsupported_params
        }
    results = implementation.run(empty)
    return check_identity(case.cell, results, expected) + require(
        results["y"].size == 0, "y is not empty"
    )


@property_check(anywhere=True)
def outputs_are_fresh_arrays(implementation: Subject, case: Case) -> Evidence:
    """Results share no memory with the arguments, and no later call writes to them."""
    evidence = Evidence()
    for method in _methods(implementation):
        first, later = implementation.watch(method, [case, case.replace(x=1 - case["x"])])
        first.result()
        later.result()
        evidence += require(
            not (first.shares_memory or later.shares_memory),
            f"{method} returns an array that shares memory with one of its arguments",
        )
        evidence += require(
            not first.overwritten,
            f"a later call of {method} wrote into an array that an earlier one had returned",
        )
    return evidence


@property_check(anywhere=True)
def memory_layout_does_not_matter(implementation: Subject, case: Case) -> Evidence:
    """Arrays that are not contiguous give the results of those that are."""
    budget = case_budget(case)
    evidence = Evidence()
    for call in _calls(implementation):
        evidence += check_consistency(case.cell, call(case, strided=True), call(case), budget)
    return evidence


@property_check(cases="any", anywhere=True)
def results_have_expected_shapes(implementation: Subject, case: Case) -> Evidence:
    """Every result has the shape and the dtype of the array that it belongs to.

    y is (T, B, H), final states are shaped like initial ones and each gradient like its array, and
    all have the dtype of the inputs.

    Every parameter, x, h_0 and c_0 has its gradient, and nothing else has one; that of an absent
    state may be left out. Sizes of one are among the cases, since there a squeezed axis shows.
    Every call is checked for this; here it is a property by itself.
    """
    evidence = Evidence()
    partners = {"y": "dy"} | {f"{k}T": f"d{k}T" for k in case.cell.state}
    for name, array in implementation.run(case).items():
        partner = case.get(partners.get(name, name[1:]))
        shape = array.shape if partner is None else partner.shape
        message = (
            f"{name} is {array.dtype} of shape {array.shape}, "
            f"but should be {case.dtype} of shape {shape}"
        )
        evidence += require(array.shape == shape and array.dtype == case.dtype, message)
    return evidence
