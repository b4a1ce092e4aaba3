"""Comparisons of an analytic Jacobian with what each oracle expects.

Errors are relative to the largest derivative of their block: one output array by one input array,
and one step of each where arrays have three or more axes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from gatecheck.oracles import adjoint, taylor
from gatecheck.oracles.finite_difference import RTOL_GOAL
from gatecheck.oracles.flat_function import RESOLUTION, FlatFunction
from gatecheck.oracles.flattening import Function, Matrix, Vector
from gatecheck.oracles.result import OracleResult, Verdict, WrongDerivative

MAX_FAILURES = 100


class Comparison(NamedTuple):
    """One oracle's comparison with the analytic Jacobian, entry by entry."""

    decided: Matrix
    failures: list[WrongDerivative]
    outcome: OracleResult


def nan_reaches(subject: FlatFunction, candidates: Matrix) -> Matrix:
    """Find unchanged outputs that do depend on an input: a NaN in it reaches them.

    Differences cannot distinguish a derivative below the rounding from one that is zero because the
    output does not depend on the input. If the function refuses NaN, the zero counts as confirmed.
    """
    reached = np.zeros_like(candidates)
    places = np.flatnonzero(candidates.any(axis=0))
    try:
        reached[:, places] = np.isnan(subject.call_replaced(places, np.full(len(places), np.nan))).T
    except Exception:
        for i in places:
            with suppress(Exception):
                reached[:, i] = np.isnan(
                    subject.call_replaced(np.array([i]), np.array([np.nan]))[0]
                )
    return reached


def block_maxima(subject: FlatFunction, matrix: Matrix, *, whole: bool = False) -> Matrix:
    """Return for every entry the largest of its block, or of the `whole` array pair."""
    rows, columns = subject.outputs.starts, subject.inputs.starts
    if whole:
        rows, columns = (
            np.array([s.start for s in side.slices if s.stop > s.start])
            for side in (subject.outputs, subject.inputs)
        )
    peaks = np.maximum.reduceat(np.maximum.reduceat(np.abs(matrix), rows, axis=0), columns, axis=1)
    peaks = np.repeat(peaks, np.diff(rows, append=matrix.shape[0]), axis=0)
    return np.repeat(peaks, np.diff(columns, append=matrix.shape[1]), axis=1)


def mostly_decided(subject: FlatFunction, decided: Matrix) -> bool:
    """True if most derivatives are decided, and some of each output and input array."""
    pairs = [decided[p, i] for p in subject.outputs.slices for i in subject.inputs.slices]
    return bool(decided.mean() > 0.5 and all(pair.any() for pair in pairs if pair.size))


def compare(
    subject: FlatFunction,
    analytic: Matrix,
    expected: Matrix,
    bound: Matrix,
    known_zero: Matrix,
    oracle: str,
    goal: float = RTOL_GOAL,
) -> Comparison:
    usable = np.isfinite(bound)
    largest = block_maxima(subject, expected if usable.all() else np.where(usable, expected, 0))
    allowed = bound + goal * largest
    difference = np.abs(analytic - expected)
    difference[~np.isfinite(analytic)] = np.inf
    allowed[~usable] = np.inf
    failed = (difference > allowed) | (difference == np.inf)
    decided = failed | known_zero | (allowed <= RESOLUTION / RTOL_GOAL * goal * largest)
    ratio = np.divide(
        difference, allowed, out=np.where(difference > 0, np.inf, 0.0), where=usable & (allowed > 0)
    )
    worst = float(np.max(ratio, where=usable, initial=0.0))
    share = 1 - float(decided.mean())
    most = min(MAX_FAILURES, int(failed.sum()))
    order = (
        np.argsort(-np.where(failed, np.where(usable, ratio, np.inf), -1), axis=None)[:most]
        if most
        else np.array([], int)
    )
    failures = []
    for p, i in zip(*np.unravel_index(order, failed.shape), strict=True):
        where = f"d {subject.outputs.entry_name(int(p))} / d {subject.inputs.entry_name(int(i))}"
        failures.append(
            WrongDerivative(
                where, float(analytic[p, i]), float(expected[p, i]), float(allowed[p, i]), oracle
            )
        )
    verdict: Verdict = (
        "fail" if failed.any() else "pass" if mostly_decided(subject, decided) else "inconclusive"
    )
    reason = (
        f"{failed.sum()} wrong of " if failed.any() else ""
    ) + f"{failed.size} derivatives, worst error/bound {worst:.2g}"
    reason += f", {share:.1%} inconclusive" if share else ""
    return Comparison(
        decided,
        failures,
        OracleResult(verdict, reason, worst, share, failed.size, int(failed.sum())),
    )


def check_taylor(
    subject: FlatFunction,
    directions: list[Vector],
    analytic: Matrix,
    derivative: Callable[[Vector], Vector],
    noise: Vector,
    oracle: str,
) -> tuple[OracleResult, list[WrongDerivative]]:
    """Judge the order of the remainder along random directions.

    An output must fail along most of them, since one remainder may cross zero by chance.
    """
    claims = [derivative(v) for v in directions]
    tables = [
        taylor.compute_remainders(subject, v, claimed, np.abs(analytic * v).max(axis=1), noise)
        for v, claimed in zip(directions, claims, strict=True)
    ]
    failed = np.mean([table.failed for table in tables], axis=0) > 0.5
    decided = failed | np.any([table.decided & ~table.failed for table in tables], axis=0)
    failures = [
        WrongDerivative(
            f"d {subject.outputs.entry_name(int(p))} / d a random direction",
            claims[0][p],
            tables[0].expected[p],
            tables[0].error[p],
            oracle,
        )
        for p in np.flatnonzero(failed)
    ]
    share = 1 - float(decided.mean())
    verdict: Verdict = "fail" if failed.any() else "pass" if share < 0.5 else "inconclusive"
    if failed.any():
        reason = (
            f"{failed.sum()} of {failed.size} outputs leave a remainder of order 1 "
            "down to the rounding floor, but should be 5"
        )
    else:
        reason = f"no remainder of {failed.size} outputs is of order 1" + (
            f", {share:.1%} inconclusive" if share else ""
        )
    return OracleResult(
        verdict,
        reason,
        inconclusive_share=share,
        n_compared=failed.size,
        n_failed=int(failed.sum()),
    ), failures


def check_adjoint(
    subject: FlatFunction,
    jvp: Function,
    vjp: Function,
    v: Vector,
    analytic: Matrix,
    rng: np.random.Generator,
) -> OracleResult:
    size = np.abs(analytic * v).max(axis=1)
    # Every output weighs the same, however large its derivatives.
    weight = np.divide(1, size, out=np.ones_like(size), where=np.isfinite(size) & (size > 0))
    u = weight * rng.choice([-1.0, 1.0], size.size) * rng.uniform(0.5, 1, size.size)
    sides = adjoint.measure_mismatch(
        jvp, vjp, subject.inputs, subject.outputs, subject.x, v, u, rng
    )
    worst = (
        sides.difference / sides.tolerance if sides.tolerance else 0.0 if sides.ok else float("inf")
    )
    reason = (
        f"<u, Jv> = {sides.forward_product:.10g} and <Jᵀu, v> = {sides.backward_product:.10g}, "
        f"{sides.difference:.2g} apart; rounding explains {sides.tolerance:.2g}"
    )
    return OracleResult(
        "pass" if sides.ok else "fail", reason, worst, n_compared=1, n_failed=int(not sides.ok)
    )
