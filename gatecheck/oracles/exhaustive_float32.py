"""Exhaustive tests of a function of one number on all float32 values.

The function is compared with the same function in float64, and float64 functions with balls. There
are 4,278,190,082 numbers and infinities and 16,777,214 NaN, so a statement is proven by trying them
all. They are visited in rising order, in blocks, which shows whether a function is monotone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatecheck._util.typing import Array

Function = Callable[[Array], Array]
TickCallback = Callable[[int, int], None]

ONE_SIGN_COUNT = 0x7F800001
"""Number of float32 values of one sign, zero and infinity included."""

NUMBER_COUNT = 2 * ONE_SIGN_COUNT
NAN_COUNT = 2 * (2**23 - 1)

BLOCK_SIZE = 2**14
"""Numbers tried at a time; they fit into a processor's cache, in float64 too."""


@dataclass(frozen=True)
class Sweep:
    """Behavior of a function on float32.

    Attributes
    ----------
    n_tried
        The number of arguments tried; all of them if it is :data:`NUMBER_COUNT`.
    max_ulps, max_ulps_at
        The largest error in units in the last place of the exact value, and its argument; infinity
        where the function returns NaN for a number.
    minimum, maximum
        The smallest and the largest value.
    n_falls, max_fall_ulps, max_fall_at
        The number of arguments at which the value is larger than at the next float32, or at the
        next one tried; the largest such fall in ulps, and its argument.
    not_odd_at
        The first x at which f(-x) is not bitwise -f(x), or None.
    n_lost_nans
        The number of NaN arguments tried whose value is not NaN.
    """

    n_tried: int
    max_ulps: float
    max_ulps_at: float
    minimum: float
    maximum: float
    n_falls: int
    max_fall_ulps: float
    max_fall_at: float | None
    not_odd_at: float | None
    n_lost_nans: int


def sweep(
    function: Function, exact: Function, *, stride: int = 1, tick: TickCallback | None = None
) -> Sweep:
    """Try a float32 function on every float32, or on one in `stride`.

    Parameters
    ----------
    function
        Maps float32 arrays to float32 arrays, entry by entry.
    exact
        The same function in float64.
    stride
        1 tries every float32; otherwise one number in `stride`, from minus infinity on, and
        infinity; likewise one NaN in `stride`.
    tick
        Called with the number of arguments tried and the total.
    """
    total = -(-(NUMBER_COUNT - 1) // stride) + 1
    worst, at, low, high = -1.0, np.nan, np.inf, -np.inf
    falls, fall, falls_at, not_odd_at = 0, 0.0, None, None
    with np.errstate(all="ignore"):
        for start in range(0, total, BLOCK_SIZE):
            places = np.arange(start, min(start + BLOCK_SIZE, total), dtype=np.int64) * stride
            x = _floats_at(places)
            y = function(x)
            errors = _ulp_errors(y, exact(x.astype(np.float64)))
            k = int(errors.argmax())
            if errors[k] > worst:
                worst, at = float(errors[k]), float(x[k])
            low, high = min(low, float(np.fmin.reduce(y))), max(high, float(np.fmax.reduce(y)))
            following = np.fmin(
                function(_floats_at(places + 1)),
                function(_floats_at(places + stride)) if stride > 1 else np.inf,
            )
            if (lower := following < y).any():
                falls += int(lower.sum())
                drops = ((y - following) / np.spacing(np.abs(following)))[lower]
                k = int(drops.argmax())
                if drops[k] > fall:
                    fall, falls_at = float(drops[k]), float(x[lower][k])
            if (
                not_odd_at is None
                and (other := function(-x).view(np.uint32) != (-y).view(np.uint32)).any()
            ):
                not_odd_at = float(x[other.argmax()])
            if tick:
                tick(start + len(x), total)
        lost = sum(int((~np.isnan(function(x))).sum()) for x in _nan_blocks(stride))
    return Sweep(total, worst, at, low, high, falls, fall, falls_at, not_odd_at, lost)


def _ulp_errors(values: Array, exact: Array) -> Array:
    """Return errors in units in the last place of float32, and infinity for NaN."""
    errors: Array = np.abs(values - exact)
    errors /= np.spacing(np.abs(exact.astype(np.float32)))
    errors[np.isnan(errors)] = np.inf
    return errors


def _floats_at(ranks: Array) -> Array:
    """Return the k-th float32 values in order from -inf to inf, both zeros included."""
    ranks = np.minimum(ranks, NUMBER_COUNT - 1)
    bits = np.where(ranks < ONE_SIGN_COUNT, 0xFF800000 - ranks, ranks - ONE_SIGN_COUNT)
    return bits.astype(np.uint32).view(np.float32)


def _nan_blocks(stride: int) -> Any:
    for start in range(0, -(-NAN_COUNT // stride), BLOCK_SIZE):
        k = (
            np.arange(start, min(start + BLOCK_SIZE, -(-NAN_COUNT // stride)), dtype=np.int64)
            * stride
        )
        half = NAN_COUNT // 2
        yield (
            np.where(k < half, 0x7F800001 + k, 0xFF800001 + k - half)
            .astype(np.uint32)
            .view(np.float32)
        )


def ulp_errors_by_balls(
    function: Function, ball: Callable[[Any], Any], x: Array, bits: int = 256
) -> Array:
    """Return the errors of a float64 function in units in the last place, by balls.

    Parameters
    ----------
    function
        Maps float64 arrays to float64 arrays.
    ball
        The same function of one ball.
    x
        Finite float64 numbers.
    bits
        The working precision.

    Raises
    ------
    MissingExtraError
        If python-flint is not installed.
    """
    from gatecheck.oracles.ball_arithmetic import arb, ctx

    errors = []
    with ctx.workprec(bits), np.errstate(all="ignore"):
        for number, value in zip(x.tolist(), function(x).tolist(), strict=True):
            exact = ball(arb(number))
            errors.append(
                float(abs(arb(value) - exact).mid()) / float(np.spacing(abs(float(exact.mid()))))
            )
    return np.array(errors)


def draw_float64(count: int, seed: int = 0) -> Array:
    """Draw finite float64 numbers of both signs.

    Half are of any magnitude, subnormal ones included, half lie between -40 and 40.
    """
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 0x7FF0000000000000, count - count // 2, dtype=np.uint64)
    anywhere = bits.view(np.float64) * rng.choice([-1.0, 1.0], len(bits))
    return np.concatenate([anywhere, rng.uniform(-40, 40, count // 2)])
