"""Derivatives by central differences, each with a bound on its error.

Nine points x + j h (j = -4 … 4) give differences of orders 8 and 6, and the eighth difference. For
a smooth, finely sampled function the eighth difference and the discrepancy of the two orders are at
rounding level; a kink, a jump or too wide a step shows in one of them, or in the slope between two
more points close to x. The bound adds

* truncation: the discrepancy of orders 8 and 6, and the eighth difference;
* rounding: the function's noise, measured by differences at tiny spacings (Moré & Wild 2011,
  "Estimating computational noise"), at least one unit roundoff of its values; and the rounding of
  x + j h.

The step starts at about a hundredth of the input's size and is divided or multiplied by 8 as
truncation or rounding dominates, until the bound is good enough or no longer improves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatecheck.oracles.flat_function import RESOLUTION, FlatFunction
from gatecheck.oracles.flattening import Function, Matrix, Vector

UNIT = 2.0**-53
OFFSETS = np.arange(-4, 5)
# Fornberg 1988, table 1: central first differences of order 8 and 6.
ORDER_8 = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
ORDER_6 = np.array([0, -1 / 60, 3 / 20, -3 / 4, 0, 3 / 4, -3 / 20, 1 / 60, 0])
DIFFERENCE_8 = np.array([(-1) ** k * comb(8, k) for k in range(9)])
# 16 |order 8 - order 6| + |eighth| / (32 h) bounds the error of order 8 wherever a kink lies in the
# stencil (4001 positions were tried), except in its middle, where RESOLVED rejects the step.
KINK_ODD, KINK_EVEN = 16, 1 / 32
# A step resolves the function where the eighth difference is a small part of the function's range
# over the stencil.
RESOLVED_RATIO = 2.0**-6
# The factor of the rounding budget, where the largest error over spread was 5.9 in ten million
# values.
NOISE_MULTIPLE = 8
# Not a short binary fraction: a step of 1 or 1/2 would miss a period of 1.
FIRST_STEP = 0.7390851 / 64
PROBE_RATIO = 73.1  # two more samples are this many times closer to x; not an integer
STEP_FACTOR = 8.0
MAX_STEPS = 16  # 8^16 spans more than from the unit roundoff to one
RTOL_GOAL = RESOLUTION / 10


# Truncation and rounding of a plain central difference are about equal at this step.
FAST_STEP = UNIT ** (1 / 3)
BLOCK_SIZE = 2**17  # derivatives computed at a time; each takes some 300 bytes

Sampler = Callable[[Vector, Matrix], NDArray[Any]]
"""Sampler of a function at offsets ``(k, n)`` along n directions.

It takes the indices of the directions and returns values ``(k, n, outputs)``.
"""


class DerivativeEstimates(NamedTuple):
    """Derivatives of every output along n directions, with bounds on their errors.

    The bounds are in two parts. ``unchanged`` is true where all samples are bitwise equal. Each
    array is ``(n, outputs)``.
    """

    value: Matrix
    truncation: Matrix
    rounding: Matrix
    unchanged: Matrix

    @property
    def error(self) -> Matrix:
        """Bound on the error of `value`; infinite where the step is not resolved."""
        return self.truncation + self.rounding


def estimate_noise(subject: FlatFunction, rng: np.random.Generator) -> Vector:
    """Estimate the standard deviation of rounding noise in every output; 0 if none.

    Differences of order 6, 7 and 8 are taken along random directions, at spacings from 2^-12 of
    every input down: once a narrower spacing no longer shrinks them, they are noise.
    """
    scale = np.where(subject.x == 0, subject.input_scales(), np.abs(subject.x))
    noise = np.full(subject.y.size, np.nan)
    previous = noise
    for exponent in (-12, -20, -28, -36):
        estimates = []
        for _ in range(3):
            v = (
                scale
                * rng.choice([-1.0, 1.0], scale.size)
                * rng.uniform(0.5, 1, scale.size)
                * 2.0**exponent
            )
            samples = np.array([subject(subject.x + j * v) if j else subject.y for j in OFFSETS])
            orders = [
                np.mean(np.diff(samples, k, axis=0) ** 2, axis=0) / comb(2 * k, k)
                for k in (6, 7, 8)
            ]
            estimates.append(np.sqrt(np.mean(orders, axis=0)))
        estimate = np.max(estimates, axis=0)
        # Smooth parts shrink by 256^6 or more from one spacing to the next, noise does not.
        converged = np.isnan(noise) & (previous <= 16 * estimate)
        noise[converged] = np.maximum(previous, estimate)[converged]
        if not np.isnan(noise).any():
            return noise
        previous = estimate
    return np.where(np.isnan(noise), previous, noise)


def stencil_derivatives(
    subject: FlatFunction,
    sample: Sampler,
    directions: Vector,
    h: Vector,
    reach: Vector,
    noise: Vector,
) -> DerivativeEstimates:
    """Compute derivatives along the given directions from one stencil each.

    Parameters
    ----------
    subject, sample, directions
        The function, its sampler, and the indices of the directions, ``(n,)``.
    h
        The spacings, ``(n,)``.
    reach
        The largest ratio of an input to its component of the direction, ``(n,)``.
    noise
        The noise of every output.
    """
    values = sample(
        directions, np.outer([*(j for j in OFFSETS if j), -1 / PROBE_RATIO, 1 / PROBE_RATIO], h)
    )
    samples, pair = np.insert(values[:-2], 4, subject.y, axis=0), values[-2:]
    finite = np.isfinite(values).all(axis=0)
    if not finite.all():
        samples, pair = np.where(finite, samples, 0), np.where(finite, pair, 0)
    h, reach = h[:, None], reach[:, None]
    value = np.tensordot(ORDER_8, samples, 1) / h
    eighth = np.abs(np.tensordot(DIFFERENCE_8, samples, 1))
    noise = np.maximum(noise, UNIT * np.abs(samples).max(axis=0))
    span = samples.max(axis=0) - samples.min(axis=0)
    resolved = finite & (
        eighth
        <= np.maximum(RESOLVED_RATIO * span, NOISE_MULTIPLE * np.linalg.norm(DIFFERENCE_8) * noise)
    )
    truncation = (
        KINK_ODD * np.abs(value - np.tensordot(ORDER_6, samples, 1) / h) + KINK_EVEN * eighth / h
    )
    rounding = NOISE_MULTIPLE * np.linalg.norm(ORDER_8) * noise / h + 2 * UNIT * (
        reach / h + OFFSETS[-1]
    ) * np.abs(value)
    # A wiggle between the samples, or a kink next to x, changes the slope close to x.
    slope, wide = (pair[1] - pair[0]) * PROBE_RATIO / (2 * h), (samples[5] - samples[3]) / (2 * h)
    allowed = (
        truncation
        + PROBE_RATIO * (rounding + NOISE_MULTIPLE * noise / h)
        + 4 * np.abs(wide - value) / PROBE_RATIO**2
    )
    resolved &= np.abs(slope - value) <= allowed
    still = finite & (span == 0)
    return DerivativeEstimates(value, np.where(resolved, truncation, np.inf), rounding, still)


def search_steps(
    subject: FlatFunction,
    sample: Sampler,
    h: Vector,
    reach: Vector,
    noise: Vector,
    peaks: Matrix,
    blocks: Vector,
) -> tuple[DerivativeEstimates, Vector]:
    """Search the best step for every output along every direction.

    Also return the step of each direction that served most outputs. `peaks` holds the largest known
    derivative in every block of inputs and outputs, and is updated in place. Direction k belongs to
    the block ``blocks[k]`` of inputs; `h` holds the first steps.
    """
    starts = subject.outputs.starts
    lengths = np.diff(starts, append=subject.y.size)
    h, step, last, active = h.copy(), h.copy(), np.zeros(len(h), int), np.ones(len(h), bool)
    best = stencil_derivatives(subject, sample, np.arange(len(h)), h, reach, noise)
    latest = DerivativeEstimates(*(part.copy() for part in best))
    for _ in range(MAX_STEPS):
        sure = np.where(np.isfinite(best.error), np.abs(best.value), 0)
        np.maximum.at(peaks, blocks, np.maximum.reduceat(sure, starts, axis=1))
        poor = (
            ~(best.error <= RTOL_GOAL * np.repeat(peaks[blocks], lengths, axis=1)) & ~best.unchanged
        )
        active &= poor.any(axis=1)
        too_wide = np.count_nonzero((latest.truncation > latest.rounding) & poor, axis=1)
        turn = np.where(2 * too_wide >= np.count_nonzero(poor, axis=1), -1, 1)
        active &= turn != -last
        k = np.flatnonzero(active)
        if not k.size:
            break
        last[k] = turn[k]
        h[k] *= STEP_FACTOR ** turn[k]
        new, poor = stencil_derivatives(subject, sample, k, h[k], reach[k], noise), poor[k]
        better = poor & (new.error < best.error[k])
        active[k] &= better.any(axis=1) | ~(np.isfinite(new.error) & poor).any(axis=1)
        serves = better.any(axis=1) & (
            2 * np.count_nonzero(better, axis=1) >= np.count_nonzero(poor, axis=1)
        )
        step[k] = np.where(serves, h[k], step[k])
        for old, current, part in zip(best, latest, new, strict=True):
            old[k], current[k] = np.where(better, part, old[k]), part
    return best, step


def measure_jacobian(subject: FlatFunction, noise: Vector) -> tuple[Matrix, Matrix, Matrix]:
    """Return the Jacobian, error bounds and a mask of outputs that never changed.

    Each is ``(outputs, inputs)``.
    """
    shape = subject.x.size, subject.y.size
    value, error, still = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    scales, block = (
        subject.input_scales(),
        np.searchsorted(subject.inputs.starts, np.arange(subject.x.size), side="right") - 1,
    )
    peaks = np.zeros((subject.inputs.starts.size, subject.outputs.starts.size))
    for part in subject.inputs.slices:
        step = FIRST_STEP * scales[part][0] if part.stop > part.start else 0.0
        for columns in _column_blocks(part, subject.y.size):
            h, reach = np.full(len(columns), step), np.abs(subject.x[columns])
            best, steps = search_steps(
                subject, _entry_sampler(subject, columns), h, reach, noise, peaks, block[columns]
            )
            # An array's entries are alike: the next portion starts with this one's median step.
            step = float(np.sort(steps)[len(steps) // 2])
            value[columns], error[columns], still[columns] = best.value, best.error, best.unchanged
    return value.T.copy(), error.T.copy(), still.T.copy()


def plain_jacobian(subject: FlatFunction) -> tuple[Matrix, Matrix]:
    """Return the Jacobian by one central difference an entry, and its rounding.

    Each is ``(outputs, inputs)``. The differences are of order 2 and their truncation is not
    bounded: for smooth functions of inputs of their own size it is some 1e-10 of the largest
    derivatives.
    """
    value, error = (
        np.empty((subject.x.size, subject.y.size)),
        np.empty((subject.x.size, subject.y.size)),
    )
    scales = subject.input_scales()
    for part in subject.inputs.slices:
        for columns in _column_blocks(part, subject.y.size):
            h = FAST_STEP * scales[columns]
            x = subject.x[columns]
            low, high = subject.call_replaced(
                np.tile(columns, 2), np.concatenate([x - h, x + h])
            ).reshape(2, len(columns), -1)
            step = ((x + h) - (x - h))[:, None]  # x ± h may have been rounded
            value[columns] = (high - low) / step
            error[columns] = NOISE_MULTIPLE * UNIT * np.abs(subject.y) / step
    return value.T.copy(), error.T.copy()


def _column_blocks(part: slice, outputs: int) -> Iterator[Vector]:
    """Yield the inputs of an array, the first alone to find a step for the rest."""
    first, most = part.start, 1
    while first < part.stop:
        yield np.arange(first, min(first + most, part.stop))
        first, most = first + most, max(1, BLOCK_SIZE // outputs)


def _entry_sampler(subject: FlatFunction, columns: Vector) -> Sampler:
    """Return a sampler of the function along single inputs."""

    def sample(which: Vector, offsets: Matrix) -> NDArray[Any]:
        at = columns[which]
        values = subject.x[at] + offsets
        return subject.call_replaced(np.tile(at, len(offsets)), values.ravel()).reshape(
            *values.shape, -1
        )

    return sample


def jacobian(fn: Function, inputs: Any, *, seed: int = 0) -> tuple[Matrix, Matrix]:
    """Return every derivative of `fn` by central differences, with an error bound.

    The differences are of order 8.

    Parameters
    ----------
    fn
        ``fn(x)`` for a lone array, ``fn(*inputs)`` for a sequence, ``fn(**inputs)`` for a mapping;
        returns an array or a number, or a sequence or mapping of them.
    inputs
        Finite float64 arrays.
    seed
        Seed of the directions along which the function's noise is measured.

    Returns
    -------
    J, error : ndarray
        Float64, ``(outputs, inputs)``: rows and columns are all entries in order, arrays one after
        another, each in C order. The error is infinite where no step resolves the function (a kink
        within reach, a jump, NaN nearby).

    Raises
    ------
    InputError
        If the inputs or the function's result are invalid.

    Notes
    -----
    Costs 10 calls of `fn` for every input entry if the first step serves, more if a step must be
    searched for, and 48 to 96 calls to measure the noise.

    Examples
    --------
    >>> import numpy as np
    >>> J, error = jacobian(np.sin, np.array([0.5, 1.0]))
    >>> bool((abs(J - np.diag(np.cos([0.5, 1.0]))) <= error).all())
    True
    """
    subject = FlatFunction(fn, inputs)
    value, error, _ = measure_jacobian(
        subject, estimate_noise(subject, np.random.default_rng(seed))
    )
    return value, error


def directional(fn: Function, inputs: Any, direction: Any, *, seed: int = 0) -> tuple[Any, Any]:
    """Return the derivative of `fn` along `direction` and a bound on its error.

    `direction` is laid out like the inputs, the results like fn's result. Parameters, errors and
    method are those of :func:`jacobian`; costs some 10 to 40 calls of `fn`, and those for the
    noise.
    """
    subject = FlatFunction(fn, inputs)
    v = subject.inputs.pack(direction, "direction")
    best = derivative_along(subject, v, estimate_noise(subject, np.random.default_rng(seed)))
    return subject.outputs.unpack(best.value[0]), subject.outputs.unpack(best.error[0])


def derivative_along(subject: FlatFunction, v: Vector, noise: Vector) -> DerivativeEstimates:
    """Return the derivative of every output along the flat direction `v`."""
    # The widest step that moves no input by more than FIRST_STEP of its size.
    pace = np.max(np.abs(v) / subject.input_scales(), initial=0.0)
    moved = v != 0
    reach = np.max(np.abs(subject.x[moved] / v[moved]), initial=0.0)
    peaks = np.zeros((1, subject.outputs.starts.size))

    def sample(which: Vector, offsets: Matrix) -> NDArray[Any]:
        return np.array([[subject(subject.x + offset * v)] for (offset,) in offsets])

    h = np.array([FIRST_STEP / (pace or 1.0)])
    return search_steps(subject, sample, h, np.array([reach]), noise, peaks, np.zeros(1, int))[0]
