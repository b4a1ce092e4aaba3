"""Claims about calls: what goes in stays as it was, what comes out is the same each time, and
nothing is something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case, optional
from gatecheck.checking.budgets import case_budget, forward_budget
from gatecheck.checking.evidence import Evidence, consistent, identical, require
from gatecheck.checking.registry import claim
from gatecheck.implementation import Results, Subject


def _calls(implementation: Subject) -> list[Callable[..., Results]]:
    return [implementation.forward] + (
        [implementation.backward] if "backward" in implementation.abilities else []
    )


def _arrays(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    for name, value in arguments.items():
        if isinstance(value, dict):
            yield from value.items()
        elif value is not None:
            yield name, value


@claim(cases="any", anywhere=True)
def repeated_calls_are_identical(implementation: Subject, case: Case) -> Evidence:
    """The same call gives the same bits, also after a call with other inputs: no state is kept
    between calls.

    It is tried before all others, so that a first call that differs from later ones is seen; and on
    positive numbers, so that no relu hides the difference.
    """
    case = case.having(**{k: np.abs(v) for k, v in case.arrays.items()})
    other = case.having(x=1 - case["x"])
    seen = Evidence()
    for call in _calls(implementation):
        first = call(case)
        call(other)
        seen += identical(case.cell, call(case), first)
    return seen


@claim(cases="any", anywhere=True)
def inputs_are_not_changed(implementation: Subject, case: Case) -> Evidence:
    """No call changes the arrays that it is given, nor the dict of parameters."""
    seen = Evidence()
    for call in _calls(implementation):
        arguments = implementation.arguments(case)
        before = dict(_arrays(deepcopy(arguments)))
        call(case, arguments)
        after = dict(_arrays(arguments))
        require(
            list(after) == list(before),
            f"{call.__name__} changed the parameters' names to {list(after)}",
        )
        for name, array in before.items():
            same = after[name].shape == array.shape and np.array_equal(
                after[name], array, equal_nan=True
            )
            seen += require(same, f"{call.__name__} changed its argument {name}")
    return seen


@claim(anywhere=True)
def absent_arrays_are_zero(implementation: Subject, case: Case) -> Evidence:
    """An absent initial state or cotangent means zero: leaving out one state, or everything at
    once, is passing zeros.
    """
    seen = Evidence()
    for state in (f"{k}0" for k in case.cell.state):
        absent, zero = (
            case.having(**{state: None}),
            case.having(**{state: np.zeros_like(case[state])}),
        )
        seen += consistent(
            case.cell,
            implementation.forward(absent),
            implementation.forward(zero),
            forward_budget(zero),
        )
    everything = optional(case.cell)
    absent, zero = (
        case.having(**dict.fromkeys(everything)),
        case.having(**{k: np.zeros_like(case[k]) for k in everything}),
    )
    return seen + consistent(
        case.cell, implementation.run(absent), implementation.run(zero), case_budget(zero)
    )


@claim(varies="T", anywhere=True)
def empty_sequence(implementation: Subject, case: Case) -> Evidence:
    """Over no steps the state stays as it is: h_T = h_0, c_T = c_0, dh_0 = dh_T, dc_0 = dc_T, and
    parameter gradients are zero.
    """
    empty = case.having(x=case["x"][:0], dy=case["dy"][:0])
    expected: Results = {f"{k}T": case[f"{k}0"] for k in case.cell.state}
    if "backward" in implementation.abilities:
        expected |= {f"d{k}0": case[f"d{k}T"] for k in case.cell.state}
        expected |= {
            f"d{k}": np.zeros_like(v)
            for k, v in case.params.items()
            if k not in implementation.absent
        }
    return identical(case.cell, implementation.run(empty), expected)


@claim(varies="B", anywhere=True)
def empty_batch(implementation: Subject, case: Case) -> Evidence:
    """A batch of no rows gives outputs of no rows, and parameter gradients that are zero."""
    empty = case.having(
        **{k: v[..., :0, :] for k, v in case.arrays.items() if k not in case.params}
    )
    expected: Results = {}
    if "backward" in implementation.abilities:
        expected = {
            f"d{k}": np.zeros_like(v)
            for k, v in case.params.items()
            if k not in implementation.absent
        }
    got = implementation.run(empty)
    return identical(case.cell, got, expected) + require(got["y"].size == 0, "y is not empty")


@claim(anywhere=True)
def outputs_are_fresh_arrays(implementation: Subject, case: Case) -> Evidence:
    """What a call returns shares no memory with its arguments, and no later call writes to it."""
    seen = Evidence()
    for call in ("forward", *({"backward"} & implementation.abilities)):

        def returned(of: Case, call: str = call) -> tuple[list[Array], list[Array]]:
            a = implementation.arguments(of)
            got = implementation.call(call, *implementation.positional(call, a))
            values = (
                list(got.values())
                if isinstance(got, Mapping)
                else list(got)
                if isinstance(got, tuple | list)
                else [got]
            )
            return [v for v in values if isinstance(v, np.ndarray)], [
                array for _, array in _arrays(a)
            ]

        results, arguments = returned(case)
        kept = [r.copy() for r in results]
        returned(case.having(x=1 - case["x"]))
        shared = any(np.shares_memory(r, a) for r in results for a in arguments)
        seen += require(
            not shared, f"{call} returns an array that shares memory with one of its arguments"
        )
        same = all(np.array_equal(r, k, equal_nan=True) for r, k in zip(results, kept, strict=True))
        seen += require(
            same, f"a later call of {call} wrote into an array that an earlier one had returned"
        )
    return seen


def _strided(a: Array) -> Array:
    """The same values in every second entry, along each axis, of a larger array in Fortran order."""
    wide = np.full(tuple(2 * n for n in reversed(a.shape)), np.nan, a.dtype).T
    view = wide[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


@claim(anywhere=True)
def memory_layout_does_not_matter(implementation: Subject, case: Case) -> Evidence:
    """Arrays that are not contiguous give the results of those that are."""
    arguments = implementation.arguments(case)
    strided = {k: _strided(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    strided["params"] = {k: _strided(v) for k, v in arguments["params"].items()}
    budget = case_budget(case)
    seen = Evidence()
    for call in _calls(implementation):
        seen += consistent(case.cell, call(case, strided), call(case), budget)
    return seen


@claim(cases="any", anywhere=True)
def results_have_the_shapes_of_their_arrays(implementation: Subject, case: Case) -> Evidence:
    """y is (T, B, H), final states are shaped like initial ones and each gradient like its array,
    and all have the dtype of the inputs.

    Every parameter, x, h_0 and c_0 has its gradient, and nothing else has one; that of an absent
    state may be left out. Sizes of one are among the cases, since there a squeezed axis shows.
    Every call is held to this; here it is a claim of its own.
    """
    seen = Evidence()
    partners = {"y": "dy"} | {f"{k}T": f"d{k}T" for k in case.cell.state}
    for name, array in implementation.run(case).items():
        partner = case.get(partners.get(name, name[1:]))
        shape = array.shape if partner is None else partner.shape
        found = f"{name} is {array.dtype} of shape {array.shape}, but should be {case.dtype} of shape {shape}"
        seen += require(array.shape == shape and array.dtype == case.dtype, found)
    return seen
