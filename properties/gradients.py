"""Claims about gradients: what backward returns is the derivative of what forward computes."""

from __future__ import annotations

import math
from functools import lru_cache

from gatecheck.budgets import case_budget
from gatecheck.cases import Case
from gatecheck.cells import Array
from gatecheck.claims import claim
from gatecheck.evidence import Evidence, Violation, agree, require
from gatecheck.implementation import Results, Subject
from gatecheck.oracles.gradcheck import gradcheck
from gatecheck.oracles.outcome import GradcheckResult


@claim(needs={"backward"}, cases="any", reference=True)
def gradients_within_budget(implementation: Subject, case: Case) -> Evidence:
    """Every gradient is that of the cell's equations, within the rounding that correct code may show.

    For cotangents of y, h_T and c_T, any of which may be absent; with respect to every parameter, x, h_0 and c_0. Each block is
    judged by its own size: gate by gate, and for x step by step.
    """
    budget = case_budget(case)
    return agree(case.cell, implementation.backward(case), budget.exact, budget.tolerance)


@lru_cache(maxsize=32)
def _checked(implementation: Subject, case: Case) -> GradcheckResult:
    """Every oracle on the full Jacobian; the properties below each read one of them."""
    directions = {*case.params, "x", "h0", "c0"} & set(case.arrays)

    def at(arrays: dict[str, Array], **more: Array) -> Case:
        return Case(case.cell, {**arrays, **more}, case.origin)

    def forward(**arrays: Array) -> Results:
        return implementation.forward(at(arrays))

    def vjp(cotangents: dict[str, Array], **arrays: Array) -> Results:
        gradients = implementation.backward(at(arrays, **{f"d{k}": v for k, v in cotangents.items()}))
        return {k: gradients[f"d{k}"] for k in arrays}

    def jvp(tangents: dict[str, Array], **arrays: Array) -> Results:
        a = implementation.arguments(at(arrays))
        dparams = implementation.convention.spell(case.cell, {k: tangents[k] for k in case.params})
        dx = implementation.laid_out(tangents["x"])
        got = implementation.target.tangent(a["params"], a["x"], a["h0"], a["c0"], dparams, dx, *(tangents.get(k) for k in ("h0", "c0")))
        out = dict(zip(["y", *(f"{k}T" for k in case.cell.state)], got, strict=True))
        return out | {"y": implementation.time_major(out["y"])}

    inputs = {k: case[k].copy() for k in case.arrays if k in directions}
    return gradcheck(forward, inputs, vjp, jvp if "tangent" in implementation.abilities else None)


def _verdict(implementation: Subject, case: Case, oracle: str) -> Evidence:
    result = _checked(implementation, case)
    # A backward of the wrong shape, or a forward that is not a function, leaves the oracles nothing to judge.
    require(oracle in result.oracles, "; ".join(result.notes))
    outcome = result.oracles[oracle]
    if outcome.verdict == "fail":
        # Where two oracles saw one place the result quotes the sharper one, so either may stand for this one.
        found = [f for f in result.failures if f.oracle == oracle] or [f for f in result.failures if "Taylor" not in f.oracle]
        places = (f.where.rpartition("/ d ")[2].partition("[")[0] for f in found)
        inputs = dict.fromkeys(f"d{place}" for place in places if place in case.arrays)
        ratio = math.inf if math.isnan(outcome.worst) else outcome.worst
        raise Violation("\n".join([outcome.reason, *map(str, found[:3])]), ratio=ratio, wrong=tuple(inputs))
    undecided = round(outcome.inconclusive * outcome.compared)
    if outcome.verdict != "pass":
        return Evidence(inconclusive=max(undecided, 1))
    return Evidence(0.0 if math.isnan(outcome.worst) else outcome.worst, max(outcome.compared - undecided, 1), undecided)


@claim(needs={"backward"}, cases="tiny", dtypes=("float64",))
def gradients_match_finite_differences(implementation: Subject, case: Case) -> Evidence:
    """The full Jacobian that backward implies is that of forward by central differences, within their own error bound.

    No equations are consulted: the implementation is held against itself.
    """
    return _verdict(implementation, case, "finite differences")


@claim(needs={"backward", "complex", "analytic"}, cases="tiny", dtypes=("float64",))
def gradients_match_complex_step(implementation: Subject, case: Case) -> Evidence:
    """The full Jacobian that backward implies is Im f(x + i h)/h at h = 1e-200, to rounding (Squire & Trapp 1998)."""
    return _verdict(implementation, case, "complex step")


@claim(needs={"backward"}, cases="tiny", dtypes=("float64",))
def taylor_remainder_vanishes_in_order(implementation: Subject, case: Case) -> Evidence:
    """What is left of forward after the derivative along a direction is taken away vanishes with the next order of the step."""
    return _verdict(implementation, case, "Taylor")


@claim(needs={"backward", "tangent"}, cases="tiny", dtypes=("float64",))
def tangent_is_adjoint_of_backward(implementation: Subject, case: Case) -> Evidence:
    """⟨u, J v⟩ = ⟨Jᵀu, v⟩ for the tangent J v and the backward Jᵀu, to rounding."""
    return _verdict(implementation, case, "adjoint")
