"""Taylor test: the remainder of a derivative must vanish with the next order.

The plain remainder |f(x + εv) - f(x) - ε f'(x)v| must be of order 2. It shows an error of relative
size δ only where ε < δ, and there rounding soon hides it. In the remainder of a central difference,
of order 5, the even orders and the cubic one cancel, so the first-order trace of a wrong derivative
stands alone over decades of ε. The order is the only threshold: with a wrong derivative it is 1
down to the rounding floor.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck.oracles.finite_difference import NOISE_MULTIPLE, UNIT, estimate_noise
from gatecheck.oracles.flat_function import RESOLUTION, FlatFunction, ignore_overflow
from gatecheck.oracles.flattening import Function, Matrix, Vector

# Number of points -> offsets in steps and their weights; the remainder is of order 2, 3 and 5.
STENCILS: dict[int, dict[int, float]] = {
    1: {1: 1.0, 0: -1.0},
    2: {1: 1 / 2, -1: -1 / 2},
    4: {2: -1 / 12, 1: 2 / 3, -1: -2 / 3, -2: 1 / 12},
}
# From an eighth of every input down to about the square root of the unit roundoff.
WIDEST_STEP, HALVINGS = 2.0**-3, 26
RUN_LENGTH = 3  # consecutive orders that must agree for a first-order trace


class Remainders(NamedTuple):
    """Table of a Taylor test; rows are steps, columns outputs.

    Attributes
    ----------
    verdict
        ``"fail"`` if an output failed, ``"pass"`` if most are decided, else ``"inconclusive"``.
    steps : ndarray
        ε, ``(steps,)``, halved from row to row.
    remainder, floor : ndarray
        The size of the remainder, and of the rounding in it, ``(steps, outputs)``.
    order : ndarray
        log2 of the ratio of neighboring remainders, ``(steps - 1, outputs)``; NaN where one is at
        the floor.
    failed, decided : ndarray of bool
        ``(outputs,)``: of order 1 down to the floor; resolved well enough to decide.
    expected, error : ndarray
        ``(outputs,)``: the derivative implied by the remainder at its smallest step above the
        floor, and the rounding in it.
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


@ignore_overflow
def taylor_test(
    fn: Function, inputs: Any, direction: Any, derivative: Any, *, points: int = 4, seed: int = 0
) -> Remainders:
    """Apply the Taylor test to a directional derivative.

    Parameters
    ----------
    fn, inputs
        See :func:`gatecheck.oracles.finite_difference.jacobian`.
    direction
        The direction v, laid out like the inputs.
    derivative
        The derivative f'(x)v to test, laid out like fn's result: ``jvp(direction, *inputs)``. To
        test a vjp, let fn return the number <u, f(x)>, and pass the sum of
        ``vjp(u, *inputs) * direction``.
    points
        1 for the plain remainder of order 2, 2 for order 3, 4 for order 5, which detects an error
        of 1e-9.
    seed
        Seed of the directions along which the function's noise is measured.

    Raises
    ------
    InputError
        If the inputs, the direction, the derivative or fn's result are invalid.

    Notes
    -----
    Costs 54 calls of `fn` if points is at most 2, 56 if it is 4, and 48 to 96 to measure the noise.
    """
    subject = FlatFunction(fn, inputs)
    v = subject.inputs.pack(direction, "direction")
    claimed = subject.outputs.pack(derivative, "derivative")
    noise = estimate_noise(subject, np.random.default_rng(seed))
    return compute_remainders(subject, v, claimed, np.abs(claimed), noise, points)


def compute_remainders(
    subject: FlatFunction,
    v: Vector,
    derivative: Vector,
    size: Vector,
    noise: Vector,
    points: int = 4,
) -> Remainders:
    """Apply :func:`taylor_test` to flat vectors.

    The error of each derivative is relative to `size`, the size of its largest term.
    """
    weights = STENCILS[points]
    pace = np.max(np.abs(v) / subject.input_scales(), initial=0.0) or 1.0
    steps = WIDEST_STEP / pace * 2.0 ** -np.arange(HALVINGS + 1)
    signed, floor, bend, bend_floor = (np.zeros((steps.size, subject.y.size)) for _ in range(4))
    samples: dict[float, Vector] = {0.0: subject.y}
    for k, step in enumerate(steps):
        # Two steps are bitwise equal to one of the row before.
        places = {j: j * step for j in {*weights, 1, -1}}
        at = {
            j: samples[offset] if offset in samples else subject(subject.x + offset * v)
            for j, offset in places.items()
        }
        samples |= {offset: at[j] for j, offset in places.items()}
        signed[k] = sum(w * at[j] for j, w in weights.items()) - step * derivative
        level = np.maximum(noise, UNIT * np.max([np.abs(y) for y in at.values()], axis=0))
        floor[k] = NOISE_MULTIPLE * (
            level * np.linalg.norm([*weights.values()]) + UNIT * step * np.abs(derivative)
        )
        bend[k] = np.abs(at[1] + at[-1] - 2 * subject.y)
        bend_floor[k] = (
            NOISE_MULTIPLE * np.sqrt(6) * level
        )  # √6 is the norm of the weights 1, 1, -2
    left = np.abs(signed)
    trace, last = _find_first_order(left, floor)
    # At a kink no derivative is correct: the even part f(x + εv) + f(x - εv) - 2 f(x) is of order
    # 1 as well.
    kink, _ = _find_first_order(bend, bend_floor)
    failed = ~np.isfinite(derivative) | (trace & ~kink)
    # The smallest error of the derivative that the table would show.
    smallest = np.min(
        np.where(np.isfinite(left), np.maximum(left, floor), np.inf) / steps[:, None], axis=0
    )
    decided = failed | (
        ~kink & ((smallest <= RESOLUTION * size) | ((left == 0).all(axis=0) & (derivative == 0)))
    )
    verdict: Literal["pass", "fail", "inconclusive"] = (
        "fail" if failed.any() else "pass" if decided.mean() > 0.5 else "inconclusive"
    )
    at_last = last, np.arange(subject.y.size)
    expected, error = derivative + signed[at_last] / steps[last], floor[at_last] / steps[last]
    return Remainders(
        verdict, steps, left, floor, _orders(left, floor), failed, decided, expected, error
    )


def _orders(left: Matrix, floor: Matrix) -> Matrix:
    """Return log2 of ratios of neighboring rows; NaN where either is at the floor."""
    above = left > floor
    ratio = np.divide(
        left[:-1], left[1:], out=np.full_like(left[1:], np.nan), where=above[1:] & above[:-1]
    )
    return np.asarray(np.log2(ratio))


def _find_first_order(left: Matrix, floor: Matrix) -> tuple[Vector, Vector]:
    """Find columns of order 1 down to the floor, and each one's last row above it.

    The remainder of a correct derivative near a kink is of order 1 too, but drops from far above
    the floor to below it once the kink is out of reach.
    """
    above = left > floor
    columns = np.arange(left.shape[1])
    last = np.where(above.any(axis=0), len(left) - 1 - np.argmax(above[::-1], axis=0), 0)
    run = np.maximum(last - RUN_LENGTH, 0)[:, None] + np.arange(RUN_LENGTH)
    first = (np.abs(_orders(left, floor)[run, columns[:, None]] - 1) < 0.5).all(axis=1)
    reached = (left[last, columns] <= 4 * floor[last, columns]) | (last == len(left) - 1)
    return first & reached & (last >= RUN_LENGTH), last
