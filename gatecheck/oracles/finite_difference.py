"""Derivatives by central differences, each with a bound on its own error.

Nine points x + j h (j = -4 … 4) give a difference of order 8, its neighbour of order 6, and the eighth difference. A smooth function
sampled finely has both high differences at rounding level; a kink, a jump or a step that is too wide shows in one of them, or in the slope
of two more points close to x. The bound adds

* truncation: how far the orders 8 and 6 are apart, and the eighth difference;
* rounding: the function's own noise, measured by differences at tiny spacings (Moré & Wild 2011, "Estimating computational noise"),
  and never less than one unit roundoff of its values; and the rounding of x + j h itself.

The step starts at about a hundredth of the input's size and is made narrower or wider by a factor of 8 as truncation or rounding dominates,
until the bound is good enough or no longer improves.
"""

from __future__ import annotations

from math import comb
from typing import Any, NamedTuple

import numpy as np

from gatecheck.oracles.functions import RESOLUTION, Function, Matrix, Subject, Vector

UNIT = 2.0**-53
REACH = np.arange(-4, 5)
# Fornberg 1988, table 1: central first differences of order 8 and 6.
ORDER_8 = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
ORDER_6 = np.array([0, -1 / 60, 3 / 20, -3 / 4, 0, 3 / 4, -3 / 20, 1 / 60, 0])
EIGHTH = np.array([(-1) ** k * comb(8, k) for k in range(9)])
# The largest that the error of order 8 can be, over all positions of a kink in the stencil: 16 |order 8 - order 6| + |eighth| / (32 h)
# bounds it (found by trying 4001 positions), except within the stencil's middle, where RESOLVED refuses the step altogether.
KINK_ODD, KINK_EVEN = 16, 1 / 32
# A step resolves the function where the eighth difference is a small part of the function's whole range over the stencil.
RESOLVED = 2.0**-6
SIGMAS = 8  # the same factor as in the rounding budget: largest error over spread there was 5.9 in ten million values
FIRST_STEP = 0.7390851 / 64  # no short binary fraction: a step of 1 or 1/2 would be blind to a period of 1
PROBE = 73.1  # a pair of samples this much closer to x; no whole number
FACTOR = 8.0
MOST_STEPS = 16  # 8^16 is wider than from the unit roundoff to one
GOAL = RESOLUTION / 10


class Column(NamedTuple):
    """One derivative of every output and the bound on its error, in two parts; ``still`` where no sample moved a bit."""

    value: Vector
    truncation: Vector
    rounding: Vector
    still: Vector

    @property
    def error(self) -> Vector:
        """The bound on the error of `value`; infinite where the step does not resolve the function."""
        return self.truncation + self.rounding


def noise_level(subject: Subject, rng: np.random.Generator) -> Vector:
    """The standard deviation of the rounding noise in every output, 0 where none was seen.

    Differences of order 6, 7 and 8 along random directions, at spacings from 2^-12 of every input down: once narrowing the spacing
    no longer shrinks them, they are noise.
    """
    scale = np.where(subject.x == 0, subject.scales(), np.abs(subject.x))
    noise = np.full(subject.y.size, np.nan)
    wider = noise
    for exponent in (-12, -20, -28, -36):
        estimates = []
        for _ in range(3):
            v = scale * rng.choice([-1.0, 1.0], scale.size) * rng.uniform(0.5, 1, scale.size) * 2.0**exponent
            samples = np.array([subject(subject.x + j * v) if j else subject.y for j in REACH])
            orders = [np.mean(np.diff(samples, k, axis=0) ** 2, axis=0) / comb(2 * k, k) for k in (6, 7, 8)]
            estimates.append(np.sqrt(np.mean(orders, axis=0)))
        here = np.max(estimates, axis=0)
        # Smooth parts shrink by 256^6 or more from one spacing to the next, noise does not.
        settled = np.isnan(noise) & (wider <= 16 * here)
        noise[settled] = np.maximum(wider, here)[settled]
        if not np.isnan(noise).any():
            return noise
        wider = here
    return np.where(np.isnan(noise), wider, noise)


def column(subject: Subject, direction: Vector, h: float, noise: Vector) -> Column:
    """The derivative of every output along `direction` from one stencil of spacing `h`."""
    samples = np.array([subject(subject.x + (j * h) * direction) if j else subject.y for j in REACH])
    pair = np.array([subject(subject.x + j * direction) for j in (-h / PROBE, h / PROBE)])
    finite = np.isfinite(samples).all(axis=0) & np.isfinite(pair).all(axis=0)
    samples, pair = np.where(finite, samples, 0), np.where(finite, pair, 0)
    value = ORDER_8 @ samples / h
    eighth = np.abs(EIGHTH @ samples)
    noise = np.maximum(noise, UNIT * np.abs(samples).max(axis=0))
    span = samples.max(axis=0) - samples.min(axis=0)
    resolved = finite & (eighth <= np.maximum(RESOLVED * span, SIGMAS * np.linalg.norm(EIGHTH) * noise))
    truncation = KINK_ODD * np.abs(value - ORDER_6 @ samples / h) + KINK_EVEN * eighth / h
    moved = direction != 0
    argument = UNIT * np.max(np.abs(subject.x[moved] / direction[moved]) / h + REACH[-1], initial=0.0)
    rounding = SIGMAS * np.linalg.norm(ORDER_8) * noise / h + 2 * argument * np.abs(value)
    # A wiggle between the samples, or a kink next to x, shows as another slope close to x.
    slope, wide = (pair[1] - pair[0]) * PROBE / (2 * h), (samples[5] - samples[3]) / (2 * h)
    allowed = truncation + PROBE * (rounding + SIGMAS * noise / h) + 4 * np.abs(wide - value) / PROBE**2
    resolved &= np.abs(slope - value) <= allowed
    still = finite & (samples == samples[4]).all(axis=0)
    return Column(value, np.where(resolved, truncation, np.inf), rounding, still)


def search(subject: Subject, direction: Vector, h: float, noise: Vector, peak: Vector) -> tuple[Column, float]:
    """The best of several steps for every output, and the step that served most of them.

    `peak` is what is known of the largest derivative in every block of outputs; it is brought up to date.
    """
    starts = subject.outputs.starts
    lengths = np.diff(starts, append=subject.y.size)
    here = best = column(subject, direction, h, noise)
    step, last = h, 0
    for _ in range(MOST_STEPS):
        sure = np.where(np.isfinite(best.error), np.abs(best.value), 0)
        np.maximum(peak, np.maximum.reduceat(sure, starts), out=peak)
        poor = ~(best.error <= GOAL * np.repeat(peak, lengths)) & ~best.still
        if not poor.any():
            break
        turn = -1 if np.mean(here.truncation[poor] > here.rounding[poor]) >= 0.5 else 1
        if turn == -last:
            break
        last, h = turn, h * FACTOR**turn
        here = column(subject, direction, h, noise)
        better = poor & (here.error < best.error)
        if not better.any() and np.isfinite(here.error[poor]).any():
            break
        if 2 * np.count_nonzero(better) >= np.count_nonzero(poor):
            step = h
        best = Column(*(np.where(better, new, old) for new, old in zip(here, best, strict=True)))
    return best, step


def measure(subject: Subject, noise: Vector) -> tuple[Matrix, Matrix, Matrix]:
    """The whole Jacobian, the bound on every entry's error, and where the output did not move at all; each ``(outputs, inputs)``."""
    shape = subject.y.size, subject.x.size
    value, error, still = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    blocks = set(subject.inputs.starts.tolist())
    scales = subject.scales()
    for part in subject.inputs.slices:
        # An array's entries are alike: where one found its step, the next begins.
        step = FIRST_STEP * scales[part][0] if part.stop > part.start else 0.0
        for i in range(part.start, part.stop):
            if i in blocks:
                peak = np.zeros(subject.outputs.starts.size)
            unit = np.zeros(subject.x.size)
            unit[i] = 1
            best, step = search(subject, unit, step, noise, peak)
            value[:, i], error[:, i], still[:, i] = best.value, best.error, best.still
    return value, error, still


def jacobian(fn: Function, inputs: Any, *, seed: int = 0) -> tuple[Matrix, Matrix]:
    """Every derivative of `fn` by central differences of order 8, and a bound on the error of each.

    Parameters
    ----------
    fn
        ``fn(x)`` for a lone array, ``fn(*inputs)`` for a sequence, ``fn(**inputs)`` for a mapping; returns an array or a number,
        a sequence or a mapping of them.
    inputs
        Finite float64 arrays.
    seed
        For the directions along which the function's noise is measured.

    Returns
    -------
    J, error : ndarray
        Float64, ``(outputs, inputs)``: rows and columns are all entries in order, arrays one after another, each in C order.
        The error is infinite where no step resolves the function (a kink within reach, a jump, NaN nearby).

    Raises
    ------
    InputError
        If the inputs or the function's result are not what they should be.

    Notes
    -----
    Costs 10 calls of `fn` for every input entry where the first step serves, more where it must be searched for, and 48 to 96 calls to
    measure the noise.

    Examples
    --------
    >>> import numpy as np
    >>> J, error = jacobian(np.sin, np.array([0.5, 1.0]))
    >>> bool((abs(J - np.diag(np.cos([0.5, 1.0]))) <= error).all())
    True
    """
    subject = Subject(fn, inputs)
    value, error, _ = measure(subject, noise_level(subject, np.random.default_rng(seed)))
    return value, error


def directional(fn: Function, inputs: Any, direction: Any, *, seed: int = 0) -> tuple[Any, Any]:
    """The derivative of `fn` along `direction`, laid out like the inputs, and a bound on its error, both laid out like fn's result.

    Parameters, errors and method are those of :func:`jacobian`; some 10 to 40 calls of `fn`, and those for the noise.
    """
    subject = Subject(fn, inputs)
    v = subject.inputs.pack(direction, "direction")
    best, _ = along(subject, v, noise_level(subject, np.random.default_rng(seed)))
    return subject.outputs.unpack(best.value), subject.outputs.unpack(best.error)


def along(subject: Subject, v: Vector, noise: Vector) -> tuple[Column, float]:
    """The derivative of every output along the flat direction `v`, and its step."""
    # The widest step that moves no input by more than FIRST_STEP of its size.
    pace = np.max(np.abs(v) / subject.scales(), initial=0.0)
    return search(subject, v, FIRST_STEP / (pace or 1.0), noise, np.zeros(subject.outputs.starts.size))
