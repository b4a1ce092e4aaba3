"""Bounds on terms of a cell's equations, proven for all inputs in a box.

A statement bounds terms of a step. It is proven by evaluating the unchanged equations over
intervals (:mod:`gatecheck.oracles.interval_arithmetic`): one step from any state of the box. Where
a state is a mix of the old state and a new value, intervals would lose that one gate makes both
shares, so the equations are also evaluated on symbols (:mod:`gatecheck.oracles.polynomials`): the
mix is then an identity, and only the shares are bounded by intervals. Both are the step of an
induction, so the result holds after any number of steps, or as many as the box allows.

A statement that is not proven may be false: points of the box are tried, and one at which it
certainly fails refutes it. The proofs concern real numbers and the equations with which
implementations are compared, not floating point or an implementation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import split
from gatecheck.oracles.ball_arithmetic import ctx
from gatecheck.oracles.interval_arithmetic import as_interval, interval_array, point_intervals
from gatecheck.oracles.polynomials import (
    NotPolynomialError,
    bound_polynomial,
    linear_coefficients,
    symbol_arrays,
)
from gatecheck.proofs.proof import Proof
from gatecheck.proofs.statements import MAX_VALUE, Box, Mix, Statement, statements
from gatecheck.reference import Equations, equations
from gatecheck.reference.equations import Equation
from gatecheck.reference.scope import Scope

UNSUPPORTED_ERRORS = (TypeError, AttributeError, ValueError, ZeroDivisionError)
"""Exceptions of equations that use operations which intervals or symbols lack."""

PRECISIONS_BITS = (128, 1024, 8192)
"""Precisions tried: a sigmoid of -4500 differs from 0 only with some 6500 bits."""

N_POINTS = 60
"""Number of points tried to refute a statement that is not proven."""


# ---- a step from any state


def _shapes(cell: Cell, D: int, H: int) -> dict[str, tuple[int, ...]]:
    params = {k: np.empty(shape) for k, shape in cell.param_shapes(D, H).items()}
    blocks = {k: v.shape if v.ndim == 2 else (1, *v.shape) for k, v in split(cell, params).items()}
    return blocks | {"x": (1, D)} | {f"{k}0": cell.state_shape(k, 1, H) for k in cell.state}


def _box_intervals(cell: Cell, box: Box) -> dict[str, Array]:
    """Return the inputs of a step as intervals that fill the box."""
    sizes = {"h0": box.h_bound, "c0": box.c_bound}
    shapes = _shapes(cell, box.units, box.units)
    return {
        k: interval_array(-sizes.get(k, box.value_bound), sizes.get(k, box.value_bound), shape)
        for k, shape in shapes.items()
    }


Evaluate = Callable[[str, Equation, Scope], Any]


def _evaluate_plain(name: str, equation: Equation, s: Scope) -> Any:
    return equation(s)


def _induction_steps(
    eqs: Equations, arrays: Mapping[str, Array], evaluate: Evaluate = _evaluate_plain
) -> Iterator[tuple[Scope, dict[str, Array]]]:
    """Yield the two cases of an induction: the first step, and one from any state.

    Each comes with the states before it.
    """
    states = {k: arrays[f"{k}0"] for k in eqs.cell.state}
    before = None
    for t in range(2):
        s = Scope(**arrays, t=t, T=2, before=before, after=None, all_x=np.stack([arrays["x"]] * 2))
        for name, equation in eqs.step.items():
            s.__dict__[name] = evaluate(name, equation, s)
        yield s, states
        before = s.reading(**states)


# ---- proofs


def prove(eqs: Equations) -> list[Proof]:
    """Prove the statements about a cell for its equations, edited or not.

    Parameters
    ----------
    eqs
        The equations of one layer in one direction.

    Raises
    ------
    MissingExtraError
        If python-flint is not installed.
    """
    pairs = list(statements(eqs.cell))
    results = [_prove_statement(eqs, statement, box) for statement, box in pairs]
    for k, (statement, _) in enumerate(pairs):
        # A strict bound after many steps requires that states stay in the box, which the statements
        # about all numbers ensure.
        if (
            statement.strict
            and results[k].outcome == "proved"
            and any(p.outcome != "proved" for p in results if p.box != results[k].box)
        ):
            results[k] = replace(
                results[k], outcome="not proved", detail="states may leave the box"
            )
    return results


def prove_cell(cell: Cell) -> list[Proof]:
    """Prove the statements about a cell, or about each layer of a network.

    Raises as :func:`prove`.
    """
    return prove(equations(cell.layer_cell))


def _prove_statement(eqs: Equations, statement: Statement, box: Box) -> Proof:
    pending = Proof(
        f"the equations of {eqs.cell}", statement.description, box.description, "not proved"
    )
    for bits in PRECISIONS_BITS:
        with ctx.workprec(bits):
            holds, detail = (
                _holds_by_symbols(eqs, statement.mix, box)
                if statement.mix
                else _holds_by_intervals(eqs, statement, box)
            )
        if holds:
            return replace(pending, outcome="proved", detail=detail)
    with ctx.workprec(PRECISIONS_BITS[0]):
        point = _find_counterexample(eqs, statement, box)
    return (
        replace(pending, outcome="refuted", detail=point)
        if point
        else replace(pending, detail=detail)
    )


def _holds_by_intervals(eqs: Equations, statement: Statement, box: Box) -> tuple[bool, str]:
    try:
        for s, before in _induction_steps(eqs, _box_intervals(eqs.cell, box)):
            for label, term, low, high in statement.bounds(s, before):
                for value in np.ravel(term):
                    if not as_interval(value).lies_within(low, high, strict=statement.strict):
                        return False, f"{label} may reach all of {value}"
    except UNSUPPORTED_ERRORS as error:
        return False, f"the equations cannot be evaluated over intervals: {error}"
    return True, "by intervals"


def _holds_by_symbols(eqs: Equations, mix: Mix, box: Box) -> tuple[bool, str]:
    """Prove that a state is that mix, its shares in [0, 1], the new value in [-1, 1]."""
    identity = ""
    try:
        scopes = [s for s, _ in _induction_steps(eqs, _box_intervals(eqs.cell, box))]
        for (s, before), values in zip(_symbolic_steps(eqs, box.units), scopes, strict=True):
            known = {
                f"{k}_0_{j}": as_interval(v)
                for k in eqs.step
                for j, v in enumerate(np.ravel(values[k]))
            }
            if outside := [
                v
                for v in np.ravel(values[mix.new_term])
                if not as_interval(v).lies_within(-1, 1, strict=False)
            ]:
                return False, f"{mix.new_term} may reach all of {outside[0]}"
            for j in range(s[mix.state].shape[-1]):
                shares = linear_coefficients(
                    s[mix.state][0, j], before[mix.state][0, j], s[mix.new_term][0, j]
                )
                if shares is None:
                    return False, f"{mix.state}' is not linear in {mix.state} and {mix.new_term}"
                identity = _format_mix(mix, shares)
                if shares != (expected := tuple(np.ravel(share)[j] for share in mix.shares(s))):
                    return False, f"{identity}, and not {_format_mix(mix, expected)}"
                for share in shares:
                    if not (reach := bound_polynomial(share, known)).lies_within(
                        0, 1, strict=False
                    ):
                        return False, f"{identity}, of which a share may reach all of {reach}"
    except UNSUPPORTED_ERRORS as error:
        return False, f"the equations cannot be evaluated on symbols: {error}"
    return True, f"{identity} as polynomials, the shares by intervals"


def _symbolic_steps(eqs: Equations, units: int) -> Iterator[tuple[Scope, dict[str, Array]]]:
    """Yield the steps on symbols; a term that is not a polynomial is a new symbol."""
    shapes = _shapes(eqs.cell, units, units)
    symbolic = symbol_arrays(
        shapes | {name: (1, eqs.cell.width(units) if name == "h" else units) for name in eqs.step}
    )

    def evaluate(name: str, equation: Equation, s: Scope) -> Any:
        try:
            return equation(s)
        except NotPolynomialError:
            return symbolic[name]

    return _induction_steps(eqs, {k: symbolic[k] for k in shapes}, evaluate)


def _format_mix(mix: Mix, shares: tuple[Any, ...]) -> str:
    old, new = (re.sub(r"_0_\d+", "", str(share)) for share in shares)
    return f"{mix.state}' = ({old}) {mix.state} + ({new}) {mix.new_term}"


# ---- refutations


def _find_counterexample(eqs: Equations, statement: Statement, box: Box) -> str:
    """Describe a point at which the statement certainly fails; empty if none is found."""
    for seed in range(N_POINTS):
        numbers = _draw_point(
            _shapes(eqs.cell, 1, 1), min(box.value_bound, MAX_VALUE), np.random.default_rng(seed)
        )
        try:
            for s, before in _induction_steps(
                eqs, {k: point_intervals(v) for k, v in numbers.items()}
            ):
                for label, term, low, high in statement.bounds(s, before):
                    value, a, b = (as_interval(np.ravel(v)[0]) for v in (term, low, high))
                    if value.lies_outside(a, b, strict=statement.strict):
                        at = ", ".join(f"{k} = {np.ravel(v)[0]:g}" for k, v in numbers.items())
                        return (
                            f"{label} is {float(value.low):.6g}, but should be between "
                            f"{float(a.low):g} and {float(b.high):g}, at {at}"
                        )
        except UNSUPPORTED_ERRORS:
            return ""
    return ""


def _draw_point(
    shapes: Mapping[str, tuple[int, ...]], max_value: float, rng: np.random.Generator
) -> dict[str, Array]:
    """Draw short numbers; about one array in four is at zero or a corner of the box."""

    def array(shape: tuple[int, ...]) -> Array:
        return (
            rng.choice([-1.0, 0.0, 1.0], shape)
            if rng.uniform() < 0.25
            else rng.uniform(-1, 1, shape)
        )

    return {k: np.round(max_value * array(shape), 3) for k, shape in shapes.items()}
