"""The Taylor test: what is left of f after its derivative is taken away must vanish with the next
order of the step.

The plain remainder |f(x + εv) - f(x) - ε f'(x)v| must be of order 2. It sees an error of relative
size δ only where ε < δ, and there rounding soon hides it. The remainder of a central difference, of
order 5, has the even orders and the cubic one cancelled, so the first-order trace of a wrong
derivative stands alone over decades of ε. The order is the only threshold: with a wrong derivative
it is 1 down to the rounding floor.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck.oracles.finite_difference import SIGMAS, UNIT, noise_level
from gatecheck.oracles.flattening import RESOLUTION, Function, Matrix, Subject, Vector, unbounded

# points -> where the function is sampled, in steps, with its weights; the remainder is of order 2,
# 3 and 5
STENCILS: dict[int, dict[int, float]] = {
    1: {1: 1.0, 0: -1.0},
    2: {1: 1 / 2, -1: -1 / 2},
    4: {2: -1 / 12, 1: 2 / 3, -1: -2 / 3, -2: 1 / 12},
}
# from an eighth of every input down to the square root of the unit roundoff
WIDEST, HALVINGS = 2.0**-3, 26
RUN = 3  # consecutive orders that must agree before a first-order trace is believed


class Remainders(NamedTuple):
    """The table of a Taylor test; rows are steps, columns outputs.

    Attributes
    ----------
    verdict
        ``"fail"`` if an output failed, ``"pass"`` if most are decided, else ``"inconclusive"``.
    steps : ndarray
        ε, ``(steps,)``, halved from row to row.
    remainder, floor : ndarray
        The size of what is left, and of the rounding in it, ``(steps, outputs)``.
    order : ndarray
        log2 of the ratio of neighbouring remainders, ``(steps - 1, outputs)``; NaN where one is at
        the floor.
    failed, decided : ndarray of bool
        ``(outputs,)``: of order 1 down to the floor; seen with enough resolution to tell.
    expected, error : ndarray
        ``(outputs,)``: the derivative that the remainder at its smallest step above the floor asks
        for, and the rounding in that.
    """

    verdict: Literal["pass", "fail", "inconclusive"]
    steps: Vector
    remainder: Matrix
    floor: Matrix
    order: Matrix
    failed: Vector
    decided: Vector
    expected: Vector
    error: Vector


@unbounded
def remainder_orders(
    fn: Function, inputs: Any, direction: Any, derivative: Any, *, points: int = 4, seed: int = 0
) -> Remainders:
    """The Taylor test of a claimed directional derivative.

    Parameters
    ----------
    fn, inputs
        As for :func:`gatecheck.oracles.finite_difference.jacobian`.
    direction
        Laid out like the inputs.
    derivative
        What is claimed of f'(x)v, laid out like fn's result: ``jvp(direction, *inputs)``. To test a
        vjp, let fn be a number, <u, f(x)>, and this the sum of ``vjp(u, *inputs) * direction``.
    points
        1, the plain remainder of order 2; 2, of order 3; 4, of order 5, which sees an error of
        1e-9.
    seed
        For the directions along which the function's noise is measured.

    Raises
    ------
    InputError
        If the inputs, the direction, the derivative or fn's result are not what they should be.

    Notes
    -----
    Costs 54 calls of `fn` where points is at most 2, 56 where it is 4, and 48 to 96 to measure the noise.
    """
    subject = Subject(fn, inputs)
    v = subject.inputs.pack(direction, "direction")
    claimed = subject.outputs.pack(derivative, "derivative")
    noise = noise_level(subject, np.random.default_rng(seed))
    return remainders(subject, v, claimed, np.abs(claimed), noise, points)


def remainders(
    subject: Subject, v: Vector, claimed: Vector, size: Vector, noise: Vector, points: int = 4
) -> Remainders:
    """:func:`remainder_orders` on flat vectors; `size` is that of the largest term of each
    derivative, to which its error is relative.
    """
    weights = STENCILS[points]
    pace = np.max(np.abs(v) / subject.scales(), initial=0.0) or 1.0
    steps = WIDEST / pace * 2.0 ** -np.arange(HALVINGS + 1)
    signed, floor, bend, bend_floor = (np.zeros((steps.size, subject.y.size)) for _ in range(4))
    tried: dict[float, Vector] = {0.0: subject.y}
    for k, step in enumerate(steps):
        # Two steps are one of the row before, to the bit.
        places = {j: j * step for j in {*weights, 1, -1}}
        at = {
            j: tried[far] if far in tried else subject(subject.x + far * v)
            for j, far in places.items()
        }
        tried |= {far: at[j] for j, far in places.items()}
        signed[k] = sum(w * at[j] for j, w in weights.items()) - step * claimed
        level = np.maximum(noise, UNIT * np.max([np.abs(y) for y in at.values()], axis=0))
        floor[k] = SIGMAS * (
            level * np.linalg.norm([*weights.values()]) + UNIT * step * np.abs(claimed)
        )
        bend[k] = np.abs(at[1] + at[-1] - 2 * subject.y)
        bend_floor[k] = SIGMAS * np.sqrt(6) * level  # of 1, 1 and -2
    left = np.abs(signed)
    trace, last = _first_order(left, floor)
    # On a kink no derivative is right, and the even part f(x + εv) + f(x - εv) - 2 f(x) is of order
    # 1 as well.
    kink, _ = _first_order(bend, bend_floor)
    failed = ~np.isfinite(claimed) | (trace & ~kink)
    # An error of the derivative that nothing in the table could have hidden.
    seen = np.min(
        np.where(np.isfinite(left), np.maximum(left, floor), np.inf) / steps[:, None], axis=0
    )
    decided = failed | (
        ~kink & ((seen <= RESOLUTION * size) | ((left == 0).all(axis=0) & (claimed == 0)))
    )
    verdict: Literal["pass", "fail", "inconclusive"] = (
        "fail" if failed.any() else "pass" if decided.mean() > 0.5 else "inconclusive"
    )
    at_last = last, np.arange(subject.y.size)
    expected, error = claimed + signed[at_last] / steps[last], floor[at_last] / steps[last]
    return Remainders(
        verdict, steps, left, floor, _orders(left, floor), failed, decided, expected, error
    )


def _orders(left: Matrix, floor: Matrix) -> Matrix:
    """log2 of neighbouring ratios; NaN where either is at the floor."""
    above = left > floor
    ratio = np.divide(
        left[:-1], left[1:], out=np.full_like(left[1:], np.nan), where=above[1:] & above[:-1]
    )
    return np.asarray(np.log2(ratio))


def _first_order(left: Matrix, floor: Matrix) -> tuple[Vector, Vector]:
    """Whether each column is of order 1 down to its floor, and the last row where it stands above
    the floor.

    A right derivative beside a kink leaves order 1 as well, but drops from far above the floor to
    below it once the kink is out of reach.
    """
    above = left > floor
    columns = np.arange(left.shape[1])
    last = np.where(above.any(axis=0), len(left) - 1 - np.argmax(above[::-1], axis=0), 0)
    run = np.maximum(last - RUN, 0)[:, None] + np.arange(RUN)
    first = (np.abs(_orders(left, floor)[run, columns[:, None]] - 1) < 0.5).all(axis=1)
    reached = (left[last, columns] <= 4 * floor[last, columns]) | (last == len(left) - 1)
    return first & reached & (last >= RUN), last
