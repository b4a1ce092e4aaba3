"""Theorems about a cell's equations that are proven for all inputs in a box, where cases would only
fail to refute them.

A statement says between which bounds terms of a step lie. It is proven by evaluating the equations,
as they are, over intervals (:mod:`gatecheck.oracles.interval_arithmetic`): one step from any state of the
box. Where a state is a mix of the old one and what is new, intervals would forget that one gate
makes both shares, so the equations are evaluated once more on symbols
(:mod:`gatecheck.oracles.polynomials`): the mix is then an identity, and only the shares are bounded
by intervals. Both are the step of an induction, so what is proven holds after any number of steps,
or as many as the box says.

What is not proven may be false: points of the box are tried, and one at which a statement certainly
fails refutes it. Nothing here is about floating point, nor about an implementation; it is about the
equations with which implementations are compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import split
from gatecheck.oracles.ball_arithmetic import ctx
from gatecheck.oracles.interval_arithmetic import as_interval, points, ranges
from gatecheck.oracles.polynomials import NotPolynomialError, linear_in, over, symbols
from gatecheck.proofs.proof import Proof
from gatecheck.reference import Equations, equations
from gatecheck.reference.equations import Equation
from gatecheck.reference.scope import Scope

UNKNOWN = (TypeError, AttributeError, ValueError, ZeroDivisionError)
"""What equations raise that ask of intervals or symbols what these do not have."""

LARGEST = 4.0
"""Of every input, parameter and initial state in the bounded box; weights of trained networks
seldom reach it.
"""

SIZE = 16
"""Of D and H in the bounded box: smaller ones are in it, with weights of zero."""

STEPS = 1000
"""In the bounded box, where the memory of an LSTM may grow by one a step."""

BITS = (128, 1024, 8192)
"""Precisions that are tried: a sigmoid of -4500 is as far from 0 as 6500 bits reach."""

TRIED = 60
"""Points at which a statement that is not proven may be refuted."""


class Box(NamedTuple):
    """Bounds on the absolute values of everything that a step reads; infinite ones are those of all
    real numbers.
    """

    says: str
    size: float
    units: int
    h: float
    c: float


class Bound(NamedTuple):
    """A term of a step, and the bounds between which it is claimed to lie."""

    label: str
    term: Array
    low: Any
    high: Any


Bounds = Callable[[Scope, Mapping[str, Array]], Iterator[Bound]]
"""From a step and the states before it."""


class Mix(NamedTuple):
    """A state that is a sum of shares of itself and of what is new, and the two shares, from the
    gates of a step.
    """

    state: str
    new: str
    shares: Callable[[Scope], tuple[Array, Array]]


class Statement(NamedTuple):
    """What is claimed of a step: strictly between its bounds or not, or that a state is a mix."""

    says: str
    bounds: Bounds
    strict: bool = False
    mix: Mix | None = None


EVERYTHING = Box(
    "all real inputs, states and parameters, of any sizes, after any number of steps",
    np.inf,
    2,
    np.inf,
    np.inf,
)
"""Sums of two real numbers already reach every real number, so two inputs and two units stand for
any.
"""


def bounded(cell: Cell) -> Box:
    """A box in which nothing is so large that a gate would be 0 or 1, were it not for its bounds."""
    grown = STEPS if cell.kind == "lstm" else 0
    # What a projection makes of outputs below one is bounded by its weights alone.
    h = max(LARGEST, SIZE * LARGEST) if cell.projection else LARGEST
    steps = f"after up to {STEPS:,} steps" if grown else "after any number of steps"
    says = f"all inputs, initial states and parameters in [-{LARGEST:g}, {LARGEST:g}], up to {SIZE} inputs and {SIZE} units, {steps}"
    return Box(says, LARGEST, SIZE, h, LARGEST + grown)


def statements(cell: Cell) -> Iterator[tuple[Statement, Box]]:
    """What is claimed of a cell's equations, and for which box, from the traits of the cell."""
    every, inside = EVERYTHING, bounded(cell)
    gated, candidates = cell.sigmoid_gates, [k for k in "ng" if k in cell.gates]
    if gated:
        yield Statement(f"{', '.join(gated)} in [0, 1]", partial(_terms, gated, 0, 1)), every
        if cell.hard is None:
            yield (
                Statement(f"{', '.join(gated)} in (0, 1)", partial(_terms, gated, 0, 1), True),
                inside,
            )
        yield Statement(f"|{candidates[0]}| ≤ 1", partial(_terms, candidates, -1, 1)), every
    if cell.kind == "gru":
        says = "h' is (1 - z) h + z n, so it lies between h and n, and |h_t| ≤ max(|h_0|, 1)"
        yield _mixed(says, Mix("h", "n", lambda s: (1 - s.z, s.z))), every
    elif cell.kind == "lstm":
        yield from ((s, every) for s in _memory(cell))
        out = "v" if cell.projection else "h"
        what = "|o tanh(c')|" if cell.projection else "|h'|"
        yield Statement(f"{what} ≤ 1", partial(_terms, [out], -1, 1)), every
        yield Statement(f"{what} < 1", partial(_terms, [out], -1, 1), True), inside
    elif cell.activation != "relu":
        low = -1 if cell.activation == "tanh" else 0
        yield Statement(f"{low} ≤ h' ≤ 1", partial(_terms, ["h"], low, 1)), every
        yield Statement(f"{low} < h' < 1", partial(_terms, ["h"], low, 1), True), inside
    else:
        yield Statement("h' ≥ 0", partial(_terms, ["h"], 0, np.inf)), every


def _memory(cell: Cell) -> Iterator[Statement]:
    if cell.clip is not None:
        yield Statement(f"|c'| ≤ {cell.clip:g}", partial(_terms, ["c"], -cell.clip, cell.clip))
    elif cell.coupled:
        says = "c' is f c + (1 - f) g, so it lies between c and g, and |c_t| ≤ max(|c_0|, 1)"
        yield _mixed(says, Mix("c", "g", lambda s: (s.f, 1 - s.f)))
    else:
        says = "c' is f c + i g with f and i in [0, 1], so |c'| ≤ |c| + 1, and |c_t| ≤ |c_0| + t"
        yield _mixed(says, Mix("c", "g", lambda s: (s.f, s.i)))


def _mixed(says: str, mix: Mix) -> Statement:
    return Statement(says, partial(_exactly, mix), mix=mix)


# ---- bounds


def _terms(
    names: Any, low: float, high: float, s: Scope, before: Mapping[str, Array]
) -> Iterator[Bound]:
    yield from (Bound(name, s[name], low, high) for name in names)


def _exactly(mix: Mix, s: Scope, before: Mapping[str, Array]) -> Iterator[Bound]:
    old, new = mix.shares(s)
    value = old * before[mix.state] + new * s[mix.new]
    yield Bound(mix.state, s[mix.state], value, value)


# ---- a step from any state


def _shapes(cell: Cell, D: int, H: int) -> dict[str, tuple[int, ...]]:
    params = {k: np.empty(shape) for k, shape in cell.param_shapes(D, H).items()}
    blocks = {k: v.shape if v.ndim == 2 else (1, *v.shape) for k, v in split(cell, params).items()}
    return blocks | {"x": (1, D)} | {f"{k}0": cell.state_shape(k, 1, H) for k in cell.state}


def _filled(cell: Cell, box: Box) -> dict[str, Array]:
    """Everything that a step reads, as intervals."""
    sizes = {"h0": box.h, "c0": box.c}
    shapes = _shapes(cell, box.units, box.units)
    return {
        k: ranges(-sizes.get(k, box.size), sizes.get(k, box.size), shape)
        for k, shape in shapes.items()
    }


Evaluate = Callable[[str, Equation, Scope], Any]


def _plainly(name: str, equation: Equation, s: Scope) -> Any:
    return equation(s)


def _steps(
    of: Equations, given: Mapping[str, Array], evaluate: Evaluate = _plainly
) -> Iterator[tuple[Scope, dict[str, Array]]]:
    """The first step, and a later one from any state, each with the states before it: the two cases
    of an induction.
    """
    states = {k: given[f"{k}0"] for k in of.cell.state}
    before = None
    for t in range(2):
        s = Scope(**given, t=t, T=2, before=before, after=None, all_x=np.stack([given["x"]] * 2))
        for name, equation in of.step.items():
            s.__dict__[name] = evaluate(name, equation, s)
        yield s, states
        before = s.reading(**states)


# ---- proofs


def prove(of: Equations) -> list[Proof]:
    """Prove of a cell's equations, edited or not, what is claimed of the cell.

    Parameters
    ----------
    of
        Those of one layer in one direction.

    Raises
    ------
    MissingExtraError
        If python-flint is not installed.
    """
    claimed = list(statements(of.cell))
    found = [_settled(of, statement, box) for statement, box in claimed]
    for k, (statement, _) in enumerate(claimed):
        # A strict bound after many steps needs that states stay in the box, which is what the
        # statements about all numbers say.
        if (
            statement.strict
            and found[k].outcome == "proved"
            and any(f.outcome != "proved" for f in found if f.box != found[k].box)
        ):
            found[k] = replace(found[k], outcome="not proved", detail="states may leave the box")
    return found


def proofs(cell: Cell) -> list[Proof]:
    """What is proven of the equations of a cell; of a network, those of each of its layers. Raises
    as :func:`prove`.
    """
    return prove(equations(cell.one))


def _settled(of: Equations, statement: Statement, box: Box) -> Proof:
    about = Proof(f"the equations of {of.cell}", statement.says, box.says, "not proved")
    for bits in BITS:
        with ctx.workprec(bits):
            holds, detail = (
                _by_symbols(of, statement.mix, box)
                if statement.mix
                else _by_intervals(of, statement, box)
            )
        if holds:
            return replace(about, outcome="proved", detail=detail)
    with ctx.workprec(BITS[0]):
        point = _refuting(of, statement, box)
    return (
        replace(about, outcome="refuted", detail=point) if point else replace(about, detail=detail)
    )


def _by_intervals(of: Equations, statement: Statement, box: Box) -> tuple[bool, str]:
    try:
        for s, before in _steps(of, _filled(of.cell, box)):
            for label, term, low, high in statement.bounds(s, before):
                for value in np.ravel(term):
                    if not as_interval(value).within(low, high, strict=statement.strict):
                        return False, f"{label} may reach all of {value}"
    except UNKNOWN as error:
        return False, f"the equations cannot be evaluated over intervals: {error}"
    return True, "by intervals"


def _by_symbols(of: Equations, mix: Mix, box: Box) -> tuple[bool, str]:
    """Whether a state is that mix, identically; whether what is new lies in [-1, 1], and the shares
    in [0, 1].
    """
    found = ""
    try:
        reached = [s for s, _ in _steps(of, _filled(of.cell, box))]
        for (s, before), values in zip(_symbolic(of, box.units), reached, strict=True):
            known = {
                f"{k}_0_{j}": as_interval(v)
                for k in of.step
                for j, v in enumerate(np.ravel(values[k]))
            }
            if beyond := [
                v
                for v in np.ravel(values[mix.new])
                if not as_interval(v).within(-1, 1, strict=False)
            ]:
                return False, f"{mix.new} may reach all of {beyond[0]}"
            for j in range(s[mix.state].shape[-1]):
                shares = linear_in(s[mix.state][0, j], before[mix.state][0, j], s[mix.new][0, j])
                if shares is None:
                    return False, f"{mix.state}' is no linear form in {mix.state} and {mix.new}"
                found = _spelled(mix, shares)
                if shares != (should := tuple(np.ravel(share)[j] for share in mix.shares(s))):
                    return False, f"{found}, and not {_spelled(mix, should)}"
                for share in shares:
                    if not (reach := over(share, known)).within(0, 1, strict=False):
                        return False, f"{found}, of which a share may reach all of {reach}"
    except UNKNOWN as error:
        return False, f"the equations cannot be evaluated on symbols: {error}"
    return True, f"{found} as polynomials, the shares by intervals"


def _symbolic(of: Equations, units: int) -> Iterator[tuple[Scope, dict[str, Array]]]:
    """The steps on symbols: a term that is no polynomial in those before it is a symbol of its own."""
    shapes = _shapes(of.cell, units, units)
    given = symbols(
        shapes | {name: (1, of.cell.width(units) if name == "h" else units) for name in of.step}
    )

    def evaluate(name: str, equation: Equation, s: Scope) -> Any:
        try:
            return equation(s)
        except NotPolynomialError:
            return given[name]

    return _steps(of, {k: given[k] for k in shapes}, evaluate)


def _spelled(mix: Mix, shares: tuple[Any, ...]) -> str:
    old, new = (re.sub(r"_0_\d+", "", str(share)) for share in shares)
    return f"{mix.state}' = ({old}) {mix.state} + ({new}) {mix.new}"


# ---- refutations


def _refuting(of: Equations, statement: Statement, box: Box) -> str:
    """A point of the box at which the statement certainly fails, in words, or nothing."""
    for seed in range(TRIED):
        numbers = _point(
            _shapes(of.cell, 1, 1), min(box.size, LARGEST), np.random.default_rng(seed)
        )
        try:
            for s, before in _steps(of, {k: points(v) for k, v in numbers.items()}):
                for label, term, low, high in statement.bounds(s, before):
                    value, a, b = (as_interval(np.ravel(v)[0]) for v in (term, low, high))
                    if value.beyond(a, b, strict=statement.strict):
                        at = ", ".join(f"{k} = {np.ravel(v)[0]:g}" for k, v in numbers.items())
                        return f"{label} is {float(value.low):.6g}, but should be between {float(a.low):g} and {float(b.high):g}, at {at}"
        except UNKNOWN:
            return ""
    return ""


def _point(
    shapes: Mapping[str, tuple[int, ...]], largest: float, rng: np.random.Generator
) -> dict[str, Array]:
    """Short numbers, of which every fourth array or so lies in a corner of the box or at zero."""

    def array(shape: tuple[int, ...]) -> Array:
        return (
            rng.choice([-1.0, 0.0, 1.0], shape)
            if rng.uniform() < 0.25
            else rng.uniform(-1, 1, shape)
        )

    return {k: np.round(largest * array(shape), 3) for k, shape in shapes.items()}
